"""An identity provider's keys: what is believed, how often it is asked, and when it fails."""

import base64
import gzip
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from chalicelib.auth.jwks import FETCH_SECONDS, KEEP_SECONDS, RETRY_SECONDS, Jwks
from chalicelib.core.allowance import BURST, REFRESH_SECONDS
from chalicelib.core.clock import Clock
from chalicelib.core.errors import SecretsUnavailable
from tests.support.clocks import ManualClock
from tests.support.provider import AUDIENCE, ISSUER, Jose, KeyServer
from tests.support.running_broker import RunningBroker, check
from tests.support.upstream_process import ROOT, RunningUpstream


@pytest.fixture
def trusting(broker: RunningBroker, upstream: RunningUpstream, server: KeyServer) -> RunningBroker:
    """A broker that trusts the provider."""
    trust(broker, upstream, server)
    return broker


def trust(
    broker: RunningBroker, upstream: RunningUpstream, server: KeyServer, **settings: str
) -> None:
    """Put a broker in place that trusts the provider."""
    provider = {
        "JWT_SECRET": "",
        "JWT_JWKS_URL": server.url,
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
    }
    broker.configure(upstream, **{**provider, **settings})


def call(broker: RunningBroker, token: str) -> requests.Response:
    """Ask for the list with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    answer = requests.get(broker.url + "/uploads", headers=headers, timeout=30)
    check("GET", "/uploads", answer)
    return answer


@pytest.mark.parametrize("key", ["rsa-1", "ec-1", "okp-1"])
def test_accepted(trusting: RunningBroker, server: KeyServer, jose: Jose, key: str) -> None:
    """Tokens of another library, RS256, ES256 and EdDSA, are accepted; keys are fetched once."""
    for _ in range(5):
        assert call(trusting, jose.token(key)).status_code == 200
    assert call(trusting, jose.token(key, aud=["x", AUDIENCE])).status_code == 200
    assert server.requests == ["/keys.json"]


@pytest.mark.parametrize("named", [{}, {"alg": "EdDSA"}, {"alg": "Ed25519"}], ids=str)
@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
def test_ed25519_names(
    trusting: RunningBroker, server: KeyServer, jose: Jose, alg: str, named: dict[str, str]
) -> None:
    """The algorithm of Ed25519 keys has an old and a new name, in tokens and in key sets."""
    server.serve(jose.keys("okp-1", **named))
    assert call(trusting, jose.token("okp-1", alg=alg)).status_code == 200


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"exp": 1}, "expired"),
        ({"nbf": 2**33}, "not valid yet"),
        ({"iat": 2**33}, "not valid yet"),
        ({"aud": "somebody else"}, "another audience"),
        ({"aud": None}, "lacks the claim `aud`"),
        ({"iss": "https://login.example.com"}, "another issuer"),
        ({"iss": None}, "lacks the claim `iss`"),
        ({"sub": None}, "lacks the claim `sub`"),
        ({"exp": None}, "lacks the claim `exp`"),
        ({"sub": ""}, "`sub` is empty"),
    ],
    ids=str,
)
def test_wrong_claims(
    trusting: RunningBroker, jose: Jose, claims: dict[str, Any], told: str
) -> None:
    """Where the signature holds, the owner of a token is told what is wrong with it."""
    answer = call(trusting, jose.token("rsa-1", **claims))
    assert answer.status_code == 401
    assert told in answer.json()["detail"]


def b64(data: Any) -> str:
    """Encode a part of a token."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def attacks(jose: Jose) -> dict[str, str]:
    """Forge tokens, each by another trick; all but the trick is as it should be."""
    good = jose.token("rsa-1")
    head, body, signature = good.split(".")
    pem = "secret:" + jose.ask(pem="rsa-1")
    said = json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": int(time.time()) + 600})
    own = jose.keys("rsa-mine")["keys"][0]
    mine = jose.token("rsa-mine")
    far = "http://127.0.0.1:9/keys.json"
    return {
        "alg none": f"{b64({'alg': 'none', 'kid': 'rsa-1'})}.{body}.",
        "alg None": f"{b64({'alg': 'None', 'kid': 'rsa-1'})}.{body}.{signature}",
        "no alg": f"{b64({'kid': 'rsa-1'})}.{body}.{signature}",
        "alg a list": f"{b64({'alg': ['RS256'], 'kid': 'rsa-1'})}.{body}.{signature}",
        "HS256 by the public key": jose.raw(pem, said, alg="HS256", kid="rsa-1"),
        "RS256 by the public key": jose.raw(pem, said, alg="RS256", kid="rsa-1"),
        "HS256 by an empty key": jose.raw("secret:", said, alg="HS256", kid="rsa-1"),
        "ES256 by the RSA key": jose.raw("rsa-1", said, alg="ES256", kid="rsa-1"),
        "RS256 named for the EC key": jose.raw("rsa-1", said, alg="RS256", kid="ec-1"),
        "RS512": jose.raw("rsa-1", said, alg="RS512", kid="rsa-1"),
        "EdDSA by another key": jose.raw("okp-mine", said, alg="EdDSA", kid="okp-1"),
        "EdDSA named for the RSA key": jose.raw("okp-mine", said, alg="EdDSA", kid="rsa-1"),
        "RS256 named for the Ed25519 key": jose.raw("rsa-1", said, alg="RS256", kid="okp-1"),
        "Ed448": jose.raw("okp448", said, alg="Ed448", kid="okp-1"),
        "PS256": jose.token("rsa-1", {"kid": "rsa-1"}, "PS256"),
        "another key": jose.raw("rsa-mine", said, alg="RS256", kid="rsa-1"),
        "jwk": jose.raw("rsa-mine", said, alg="RS256", kid="rsa-1", jwk=own),
        "jwk alone": jose.raw("rsa-mine", said, alg="RS256", jwk=own),
        "jku": jose.raw("rsa-mine", said, alg="RS256", kid="rsa-mine", jku=far),
        "x5u": jose.raw("rsa-mine", said, alg="RS256", kid="rsa-mine", x5u=far),
        "x5c": jose.raw("rsa-mine", said, alg="RS256", kid="rsa-1", x5c=["MIIB"]),
        "kid a path": jose.raw("secret:" + "\0" * 32, said, alg="HS256", kid="../../dev/null"),
        "kid an address": jose.raw("rsa-mine", said, alg="RS256", kid=far),
        "kid a number": jose.raw("rsa-1", said, alg="RS256", kid=1),
        "kid a list": jose.raw("rsa-1", said, alg="RS256", kid=["rsa-1"]),
        "kid an object": jose.raw("rsa-1", said, alg="RS256", kid={"rsa-1": 1}),
        "no kid, two keys": jose.token("rsa-1", {}),
        "crit": jose.raw("rsa-1", said, alg="RS256", kid="rsa-1", crit=["exp2"], exp2=1),
        "crit empty": jose.raw("rsa-1", said, alg="RS256", kid="rsa-1", crit=[]),
        "crit b64": jose.raw("rsa-1", said, alg="RS256", kid="rsa-1", crit=["b64"], b64=False),
        "b64 alone": jose.raw("rsa-1", said, alg="RS256", kid="rsa-1", b64=False),
        "nested": jose.raw("rsa-1", good, alg="RS256", kid="rsa-1", cty="JWT"),
        "nested JSON": jose.raw("rsa-1", json.dumps(good), alg="RS256", kid="rsa-1"),
        "a list": jose.raw("rsa-1", f"[{said}]", alg="RS256", kid="rsa-1"),
        "no JSON": jose.raw("rsa-1", "{", alg="RS256", kid="rsa-1"),
        "deep JSON": jose.raw("rsa-1", "[" * 5000, alg="RS256", kid="rsa-1"),
        "deep header": f"{b64(b'[' * 5000)}.{body}.{signature}",
        "sub a number": jose.raw("rsa-1", said.replace('"a"', "1"), alg="RS256", kid="rsa-1"),
        "sub a list": jose.raw("rsa-1", said.replace('"a"', '["a"]'), alg="RS256", kid="rsa-1"),
        "exp infinite": jose.raw("rsa-1", changed(said, "1e999"), alg="RS256", kid="rsa-1"),
        "exp NaN": jose.raw("rsa-1", changed(said, "NaN"), alg="RS256", kid="rsa-1"),
        "exp a string": jose.raw("rsa-1", changed(said, '"9999999999"'), alg="RS256", kid="rsa-1"),
        "exp true": jose.raw("rsa-1", changed(said, "true"), alg="RS256", kid="rsa-1"),
        "exp null": jose.raw("rsa-1", changed(said, "null"), alg="RS256", kid="rsa-1"),
        "exp negative": jose.raw("rsa-1", changed(said, "-1"), alg="RS256", kid="rsa-1"),
        "swapped body": f"{head}.{mine.split('.')[1]}.{signature}",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "four parts": f"{good}.{signature}",
        "five parts": f"{head}..{body}.{signature}.{signature}",
        "padded": f"{head}.{body}.{signature}!!",
        "two tokens": f"{good}, {good}",
        "garbage": "x" * 8192,
        "too long": good + "A" * 8192,
        "dots": "." * 8000,
    }


def changed(said: str, expiry: str) -> str:
    """Replace `exp` by any text."""
    return said.partition('"exp"')[0] + f'"exp": {expiry}}}'


def test_attacks(trusting: RunningBroker, server: KeyServer, jose: Jose) -> None:
    """No forged or crooked token is accepted, none breaks the broker, none is echoed."""
    for name, token in attacks(jose).items():
        answer = call(trusting, token)
        assert answer.status_code == 401, f"{name}: {answer.text}"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer"), name
        assert token not in answer.text, name
    assert set(server.requests) == {"/keys.json"}
    assert call(trusting, jose.token("rsa-1")).status_code == 200


def test_huge_expiry(trusting: RunningBroker, jose: Jose) -> None:
    """How long a token lives is its issuer's business, if only it is a time."""
    assert call(trusting, jose.token("rsa-1", exp=2**60)).status_code == 200


@pytest.mark.parametrize("claim", ["client_id", "azp"])
def test_audience_elsewhere(
    broker: RunningBroker, upstream: RunningUpstream, server: KeyServer, jose: Jose, claim: str
) -> None:
    """The audience may be in a claim of another name, which then must be exactly it."""
    trust(broker, upstream, server, JWT_AUDIENCE_CLAIM=claim)
    assert call(broker, jose.token("ec-1", aud=None, **{claim: AUDIENCE})).status_code == 200
    for wrong in ("x", [AUDIENCE], None):
        token = jose.token("ec-1", aud=AUDIENCE, **{claim: wrong})
        assert call(broker, token).status_code == 401


def test_unusable_keys(jose: Jose, server: KeyServer) -> None:
    """Keys for other purposes, of other kinds, too short, or no longer secret are passed over."""
    good = jose.keys("rsa-1")["keys"][0]
    secret = {"kty": "oct", "k": b64(b"s" * 32), "kid": "oct", "alg": "HS256"}
    rest: list[Any] = [
        *jose.keys("small", "p384")["keys"],
        *jose.keys("rsa-enc", use="enc")["keys"],
        *jose.keys("rsa-ps", alg="PS256")["keys"],
        *jose.keys("rsa-ops", key_ops=["encrypt"])["keys"],
        *jose.keys("rsa-d", d="AQAB")["keys"],
        *jose.keys("ec-off", x=b64(b"1" * 32))["keys"],
        *jose.keys("ec-cut", x="AA")["keys"],
        *jose.keys("rsa-n", n=5)["keys"],
        *jose.keys("rsa-e", e="!")["keys"],
        *jose.keys("ec-crv", crv=["P-256"])["keys"],
        *jose.keys("okp448")["keys"],
        *jose.keys("okp-alg", alg="ES256")["keys"],
        *jose.keys("okp-d", d=b64(b"1" * 32))["keys"],
        *jose.keys("okp-cut", x="AAAA")["keys"],
        *jose.keys("okp-odd", x="ä")["keys"],
        *jose.keys("okp-exchange", crv="X25519")["keys"],
        {"kty": ["RSA"], "kid": "odd"},
        secret,
        {},
        None,
        "key",
    ]
    server.serve({"keys": [*rest, good]})
    keys = Jwks(server.url, ManualClock())
    assert [key.algorithms for key in keys.keys({"kid": "rsa-1"})] == [("RS256",)]
    for entry in rest:
        if isinstance(entry, dict) and "kid" in entry:
            assert keys.keys({"kid": entry["kid"]}) == [], entry["kid"]
    # It is the only one that can be meant by a token that names none.
    assert keys.keys({}) == keys.keys({"kid": "rsa-1"})


def test_use_and_alg_respected(jose: Jose, server: KeyServer) -> None:
    """A key that says what it is for is used for that."""
    server.serve(jose.keys("rsa-1", use="sig", alg="RS256", key_ops=["verify"]))
    assert len(Jwks(server.url, Clock()).keys({"kid": "rsa-1"})) == 1


def test_one_name_twice(jose: Jose, server: KeyServer, trusting: RunningBroker) -> None:
    """Two keys of one name are both tried, each with its own algorithm."""
    server.serve(jose.keys("rsa-1", "ec-1", kid="one"))
    assert call(trusting, jose.token("rsa-1", {"kid": "one"})).status_code == 200
    assert call(trusting, jose.token("ec-1", {"kid": "one"})).status_code == 200


def test_rotation(trusting: RunningBroker, server: KeyServer, jose: Jose) -> None:
    """A new key is accepted with its first token, and a withdrawn one no longer then."""
    assert call(trusting, jose.token("rsa-1")).status_code == 200
    server.serve(jose.keys("rsa-1", "rsa-2"))
    assert call(trusting, jose.token("rsa-2")).status_code == 200
    assert call(trusting, jose.token("rsa-1")).status_code == 200
    assert len(server.requests) == 2
    server.serve(jose.keys("rsa-3"))
    assert call(trusting, jose.token("rsa-3")).status_code == 200
    assert call(trusting, jose.token("rsa-1")).status_code == 401


def test_flood(trusting: RunningBroker, server: KeyServer, jose: Jose) -> None:
    """A flood of made-up key names reaches the provider a few times, and disturbs nobody."""
    token = jose.token("rsa-1")
    body = token.split(".")[1]
    for number in range(100):
        header = b64({"alg": "RS256", "kid": f"made-up-{number}"})
        assert call(trusting, f"{header}.{body}.AAAA").status_code == 401
    assert call(trusting, token).status_code == 200
    assert len(server.requests) <= 1 + BURST + 1


def test_flood_over_time(jose: Jose, server: KeyServer) -> None:
    """However long the flood lasts, the provider is asked once in ten seconds at most."""
    clock = ManualClock()
    keys = Jwks(server.url, clock)
    for number in range(1000):
        clock.advance(0.1)
        assert keys.keys({"kid": f"made-up-{number}"}) == []
    assert len(server.requests) <= 1 + BURST + 100 / REFRESH_SECONDS
    server.serve(jose.keys("rsa-2"))
    clock.advance(REFRESH_SECONDS)
    assert len(keys.keys({"kid": "rsa-2"})) == 1


def test_refreshed_by_age(jose: Jose, server: KeyServer) -> None:
    """A withdrawn key is no longer accepted after some minutes, though nobody names a new one."""
    clock = ManualClock()
    keys = Jwks(server.url, clock)
    assert len(keys.keys({"kid": "rsa-1"})) == 1
    server.serve(jose.keys("ec-1"))
    clock.advance(KEEP_SECONDS - 1)
    assert len(keys.keys({"kid": "rsa-1"})) == 1
    clock.advance(2)
    assert keys.keys({"kid": "rsa-1"}) == []


def test_all_withdrawn(server: KeyServer) -> None:
    """A set without keys is believed: the provider has withdrawn them all."""
    clock = ManualClock()
    keys = Jwks(server.url, clock)
    assert len(keys.keys({"kid": "rsa-1"})) == 1
    server.serve({"keys": []})
    clock.advance(KEEP_SECONDS + 1)
    assert keys.keys({"kid": "rsa-1"}) == []


def test_environment_has_no_part(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither the proxies of the machine nor its .netrc have a part in the request for keys."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert len(Jwks(server.url, Clock()).keys({"kid": "rsa-1"})) == 1
    assert server.authorizations == [None]


def down(server: KeyServer) -> None:
    """Answer 500."""
    server.status = 500


def html(server: KeyServer) -> None:
    """Answer a page."""
    server.content, server.headers = b"<!doctype html>", {"Content-Type": "text/html"}


def other_json(server: KeyServer) -> None:
    """Answer JSON that is no key set."""
    server.content = b'{"keys": {"rsa-1": 1}}'


def huge(server: KeyServer) -> None:
    """Answer a set of 300 kB."""
    server.content += b" " * 300_000


def bomb(server: KeyServer) -> None:
    """Answer something small, compressed though nobody asked for it, that becomes large."""
    server.content = gzip.compress(server.content + b" " * 10_000_000)
    server.headers = {"Content-Encoding": "gzip"}


def redirect(server: KeyServer) -> None:
    """Point elsewhere, where the right answer would be."""
    server.status, server.headers = 302, {"Location": "/elsewhere.json"}


def slow(server: KeyServer) -> None:
    """Say nothing for too long."""
    server.delay = 3


def trickle(server: KeyServer) -> None:
    """Send a few bytes, again and again, each before any time-out."""
    server.piece, server.pause = 16, 0.2


def cut(server: KeyServer) -> None:
    """Break off in the middle."""
    server.headers = {"Content-Length": str(len(server.content) + 5)}


FAULTS = [down, html, other_json, huge, bomb, redirect, slow, trickle, cut]


class MovableTicks(Clock):
    """Real seconds, moved when a test says so."""

    ahead = 0.0

    def monotonic(self) -> float:
        """Return the seconds."""
        return time.monotonic() + self.ahead


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_provider_fails(jose: Jose, server: KeyServer, fault: Any) -> None:
    """A provider that fails locks nobody out whose key is known, and is asked again later."""
    clock = MovableTicks()
    keys = Jwks(server.url, clock, seconds=0.6)
    (known,) = keys.keys({"kid": "rsa-1"})
    fault(server)
    clock.ahead += KEEP_SECONDS + 1
    started = time.monotonic()
    assert keys.keys({"kid": "rsa-1"}) == [known]
    assert time.monotonic() - started < 2
    with pytest.raises(SecretsUnavailable):
        keys.keys({"kid": "rsa-2"})
    assert "/elsewhere.json" not in server.requests
    asked = len(server.requests)
    assert keys.keys({"kid": "rsa-1"}) == [known]
    assert len(server.requests) == asked
    server.serve(jose.keys("rsa-2"))
    clock.ahead += RETRY_SECONDS
    assert len(keys.keys({"kid": "rsa-2"})) == 1
    assert keys.keys({"kid": "rsa-1"}) == []


def test_never_reached(broker: RunningBroker, upstream: RunningUpstream, jose: Jose) -> None:
    """A provider that was never reached is 503 for tokens, and heals by itself."""
    server = KeyServer()
    try:
        server.serve(jose.keys("rsa-1"))
        trust(broker, upstream, server)
        server.status = 503
        answer = call(broker, jose.token("rsa-1"))
        assert answer.status_code == 503
        assert answer.json()["code"] == "secrets_unavailable"
        assert answer.json()["retryable"]
        assert broker.lines("jwks_not_read")
        server.status = 200
        assert call(broker, jose.token("rsa-1")).status_code == 200
    finally:
        server.stop()
    # Now nobody listens there any more.
    assert call(broker, jose.token("rsa-1")).status_code == 200
    assert call(broker, jose.token("rsa-2")).status_code == 503


def test_known_keys_do_not_wait(server: KeyServer) -> None:
    """While one request waits for a slow provider, the others go on with the keys they have."""
    keys = Jwks(server.url, Clock(), seconds=3)
    assert len(keys.keys({"kid": "rsa-1"})) == 1
    server.delay = 1.5
    waiting = threading.Thread(target=keys.keys, args=({"kid": "rsa-2"},))
    waiting.start()
    started = time.monotonic()
    for _ in range(100):
        assert len(keys.keys({"kid": "rsa-1"})) == 1
    assert time.monotonic() - started < 1
    waiting.join()


def test_one_fetch_for_many(server: KeyServer) -> None:
    """Requests that wait for the first keys at once fetch them once."""
    server.delay = 0.5
    keys = Jwks(server.url, Clock())
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(len(keys.keys({"kid": "rsa-1"}))))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 20
    assert len(server.requests) == 1
    assert FETCH_SECONDS < 29


WITHOUT_CRYPTOGRAPHY = """
import sys
sys.modules["cryptography"] = None  # As where it is not installed.
from chalicelib.auth import claims, jwks, keys, tokens
from chalicelib.aws import secrets
from chalicelib.core import errors
from chalicelib.core.clock import Clock
from chalicelib.quotas.limits import Limits
import jwt
limits = Limits(1, ("*/*",), frozenset(), 1, 1, None)
secret = "s" * 32
shared = keys.SharedSecret(secrets.fixed(secret, Clock()))
caller_id = lambda issuer, subject: "0" * 32
made = tokens.Authenticator(shared, claims.Rules(), limits, caller_id, Clock())
token = jwt.encode({"sub": "a", "exp": 2**33}, secret)
print(len(made.caller("Bearer " + token).id))
try:
    jwks.Jwks("https://login.example.com/keys.json", Clock())
except errors.Misconfigured as error:
    print(error.detail)
print(sorted(name for name in sys.modules if name.startswith("cryptography")))
"""


def test_without_cryptography() -> None:
    """A shared secret needs no `cryptography`; a key set without it is told to the operator."""
    command = [sys.executable, "-c", WITHOUT_CRYPTOGRAPHY]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    first, told, loaded = done.stdout.splitlines()
    assert first == "32"
    assert "cryptography must be in requirements.txt" in told
    assert loaded == "['cryptography']"
