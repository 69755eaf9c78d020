"""An identity provider's keys: which are accepted, how often they are fetched, and failures."""

import base64
import gzip
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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
    """Configure a broker so that it trusts the provider."""
    provider = {
        "JWT_SECRET": "",
        "JWT_JWKS_URL": server.url,
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
    }
    broker.configure(upstream, **{**provider, **settings})


def call(broker: RunningBroker, token: str) -> requests.Response:
    """Request the list with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    response = requests.get(broker.url + "/uploads", headers=headers, timeout=30)
    check("GET", "/uploads", response)
    return response


@pytest.mark.parametrize("key", ["rsa-1", "ec-1", "okp-1"])
def test_token_of_provider_is_accepted(
    trusting: RunningBroker, server: KeyServer, jose: Jose, key: str
) -> None:
    """Tokens with RS256, ES256 and EdDSA are accepted, and the keys are fetched once."""
    for _ in range(5):
        assert call(trusting, jose.token(key)).status_code == 200
    assert call(trusting, jose.token(key, aud=["x", AUDIENCE])).status_code == 200
    assert server.requests == ["/keys.json"]


@pytest.mark.parametrize("named", [{}, {"alg": "EdDSA"}, {"alg": "Ed25519"}], ids=str)
@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
def test_both_names_of_ed25519_are_accepted(
    trusting: RunningBroker, server: KeyServer, jose: Jose, alg: str, named: dict[str, str]
) -> None:
    """Tokens and key sets may have the old name of Ed25519's algorithm or the new one."""
    server.serve(jose.keys("okp-1", **named))
    assert call(trusting, jose.token("okp-1", alg=alg)).status_code == 200


@pytest.mark.parametrize(
    ("claims", "reason"),
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
def test_wrong_claim_is_named(
    trusting: RunningBroker, jose: Jose, claims: dict[str, Any], reason: str
) -> None:
    """If the signature is valid, the response names the claim that is wrong."""
    response = call(trusting, jose.token("rsa-1", **claims))
    assert response.status_code == 401
    assert reason in response.json()["detail"]


def b64(data: Any) -> str:
    """Encode a part of a token."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def attacks(jose: Jose) -> dict[str, str]:
    """Return forged tokens. Each has one trick, and everything else in it is right."""
    good = jose.token("rsa-1")
    head, body, signature = good.split(".")
    pem = "secret:" + jose.ask(pem="rsa-1")
    claims = json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": int(time.time()) + 600})
    own = jose.keys("rsa-mine")["keys"][0]
    mine = jose.token("rsa-mine")
    far = "http://127.0.0.1:9/keys.json"
    return {
        "alg none": f"{b64({'alg': 'none', 'kid': 'rsa-1'})}.{body}.",
        "alg None": f"{b64({'alg': 'None', 'kid': 'rsa-1'})}.{body}.{signature}",
        "no alg": f"{b64({'kid': 'rsa-1'})}.{body}.{signature}",
        "alg a list": f"{b64({'alg': ['RS256'], 'kid': 'rsa-1'})}.{body}.{signature}",
        "HS256 by the public key": jose.raw(pem, claims, alg="HS256", kid="rsa-1"),
        "RS256 by the public key": jose.raw(pem, claims, alg="RS256", kid="rsa-1"),
        "HS256 by an empty key": jose.raw("secret:", claims, alg="HS256", kid="rsa-1"),
        "ES256 by the RSA key": jose.raw("rsa-1", claims, alg="ES256", kid="rsa-1"),
        "RS256 named for the EC key": jose.raw("rsa-1", claims, alg="RS256", kid="ec-1"),
        "RS512": jose.raw("rsa-1", claims, alg="RS512", kid="rsa-1"),
        "EdDSA by another key": jose.raw("okp-mine", claims, alg="EdDSA", kid="okp-1"),
        "EdDSA named for the RSA key": jose.raw("okp-mine", claims, alg="EdDSA", kid="rsa-1"),
        "RS256 named for the Ed25519 key": jose.raw("rsa-1", claims, alg="RS256", kid="okp-1"),
        "Ed448": jose.raw("okp448", claims, alg="Ed448", kid="okp-1"),
        "PS256": jose.token("rsa-1", {"kid": "rsa-1"}, "PS256"),
        "another key": jose.raw("rsa-mine", claims, alg="RS256", kid="rsa-1"),
        "jwk": jose.raw("rsa-mine", claims, alg="RS256", kid="rsa-1", jwk=own),
        "jwk alone": jose.raw("rsa-mine", claims, alg="RS256", jwk=own),
        "jku": jose.raw("rsa-mine", claims, alg="RS256", kid="rsa-mine", jku=far),
        "x5u": jose.raw("rsa-mine", claims, alg="RS256", kid="rsa-mine", x5u=far),
        "x5c": jose.raw("rsa-mine", claims, alg="RS256", kid="rsa-1", x5c=["MIIB"]),
        "kid a path": jose.raw("secret:" + "\0" * 32, claims, alg="HS256", kid="../../dev/null"),
        "kid an address": jose.raw("rsa-mine", claims, alg="RS256", kid=far),
        "kid a number": jose.raw("rsa-1", claims, alg="RS256", kid=1),
        "kid a list": jose.raw("rsa-1", claims, alg="RS256", kid=["rsa-1"]),
        "kid an object": jose.raw("rsa-1", claims, alg="RS256", kid={"rsa-1": 1}),
        "no kid, two keys": jose.token("rsa-1", {}),
        "crit": jose.raw("rsa-1", claims, alg="RS256", kid="rsa-1", crit=["exp2"], exp2=1),
        "crit empty": jose.raw("rsa-1", claims, alg="RS256", kid="rsa-1", crit=[]),
        "crit b64": jose.raw("rsa-1", claims, alg="RS256", kid="rsa-1", crit=["b64"], b64=False),
        "b64 alone": jose.raw("rsa-1", claims, alg="RS256", kid="rsa-1", b64=False),
        "nested": jose.raw("rsa-1", good, alg="RS256", kid="rsa-1", cty="JWT"),
        "nested JSON": jose.raw("rsa-1", json.dumps(good), alg="RS256", kid="rsa-1"),
        "a list": jose.raw("rsa-1", f"[{claims}]", alg="RS256", kid="rsa-1"),
        "no JSON": jose.raw("rsa-1", "{", alg="RS256", kid="rsa-1"),
        "deep JSON": jose.raw("rsa-1", "[" * 5000, alg="RS256", kid="rsa-1"),
        "deep header": f"{b64(b'[' * 5000)}.{body}.{signature}",
        "sub a number": jose.raw("rsa-1", claims.replace('"a"', "1"), alg="RS256", kid="rsa-1"),
        "sub a list": jose.raw("rsa-1", claims.replace('"a"', '["a"]'), alg="RS256", kid="rsa-1"),
        "exp infinite": jose.raw("rsa-1", with_expiry(claims, "1e999"), alg="RS256", kid="rsa-1"),
        "exp NaN": jose.raw("rsa-1", with_expiry(claims, "NaN"), alg="RS256", kid="rsa-1"),
        "exp a string": jose.raw(
            "rsa-1", with_expiry(claims, '"9999999999"'), alg="RS256", kid="rsa-1"
        ),
        "exp true": jose.raw("rsa-1", with_expiry(claims, "true"), alg="RS256", kid="rsa-1"),
        "exp null": jose.raw("rsa-1", with_expiry(claims, "null"), alg="RS256", kid="rsa-1"),
        "exp negative": jose.raw("rsa-1", with_expiry(claims, "-1"), alg="RS256", kid="rsa-1"),
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


def with_expiry(claims: str, expiry: str) -> str:
    """Return claims whose `exp` is replaced by any text."""
    return claims.partition('"exp"')[0] + f'"exp": {expiry}}}'


def test_forged_tokens_are_refused(trusting: RunningBroker, server: KeyServer, jose: Jose) -> None:
    """Each forged or malformed token gets 401, and no response quotes it."""
    for name, token in attacks(jose).items():
        response = call(trusting, token)
        assert response.status_code == 401, f"{name}: {response.text}"
        assert response.headers["WWW-Authenticate"].startswith("Bearer"), name
        assert token not in response.text, name
    assert set(server.requests) == {"/keys.json"}
    assert call(trusting, jose.token("rsa-1")).status_code == 200


def test_expiry_may_be_huge(trusting: RunningBroker, jose: Jose) -> None:
    """A token may be valid for any time that its issuer chooses."""
    assert call(trusting, jose.token("rsa-1", exp=2**60)).status_code == 200


@pytest.mark.parametrize("claim", ["client_id", "azp"])
def test_audience_may_be_in_another_claim(
    broker: RunningBroker, upstream: RunningUpstream, server: KeyServer, jose: Jose, claim: str
) -> None:
    """With `JWT_AUDIENCE_CLAIM`, that claim must equal the audience."""
    trust(broker, upstream, server, JWT_AUDIENCE_CLAIM=claim)
    assert call(broker, jose.token("ec-1", aud=None, **{claim: AUDIENCE})).status_code == 200
    for wrong in ("x", [AUDIENCE], None):
        token = jose.token("ec-1", aud=AUDIENCE, **{claim: wrong})
        assert call(broker, token).status_code == 401


def test_unusable_keys_are_passed_over(jose: Jose, server: KeyServer) -> None:
    """Keys for other purposes, of other types, too short, or with a private part are not used."""
    good = jose.keys("rsa-1")["keys"][0]
    secret = {"kty": "oct", "k": b64(b"s" * 32), "kid": "oct", "alg": "HS256"}
    public = Ed25519PrivateKey.from_private_bytes(b"1" * 32).public_key().public_bytes_raw()
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
        *jose.keys("okp-d", d=b64(b"1" * 32), x=b64(public))["keys"],
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
    # A token without `kid` can only mean this one.
    assert keys.keys({}) == keys.keys({"kid": "rsa-1"})


def test_key_for_signatures_is_used(jose: Jose, server: KeyServer) -> None:
    """A key whose `use`, `alg` and `key_ops` are for signatures is used."""
    server.serve(jose.keys("rsa-1", use="sig", alg="RS256", key_ops=["verify"]))
    assert len(Jwks(server.url, Clock()).keys({"kid": "rsa-1"})) == 1


def test_keys_with_one_kid_are_both_used(
    jose: Jose, server: KeyServer, trusting: RunningBroker
) -> None:
    """Two keys with one `kid` are both tried, each with its own algorithm."""
    server.serve(jose.keys("rsa-1", "ec-1", kid="one"))
    assert call(trusting, jose.token("rsa-1", {"kid": "one"})).status_code == 200
    assert call(trusting, jose.token("ec-1", {"kid": "one"})).status_code == 200


def test_rotation_fails_no_request(trusting: RunningBroker, server: KeyServer, jose: Jose) -> None:
    """A new key is accepted with its first token, and then a withdrawn one is refused."""
    assert call(trusting, jose.token("rsa-1")).status_code == 200
    server.serve(jose.keys("rsa-1", "rsa-2"))
    assert call(trusting, jose.token("rsa-2")).status_code == 200
    assert call(trusting, jose.token("rsa-1")).status_code == 200
    assert len(server.requests) == 2
    server.serve(jose.keys("rsa-3"))
    assert call(trusting, jose.token("rsa-3")).status_code == 200
    assert call(trusting, jose.token("rsa-1")).status_code == 401


def test_flood_causes_few_fetches(trusting: RunningBroker, server: KeyServer, jose: Jose) -> None:
    """A flood of unknown `kid`s causes a few fetches, and other tokens are still accepted."""
    token = jose.token("rsa-1")
    body = token.split(".")[1]
    for number in range(100):
        header = b64({"alg": "RS256", "kid": f"made-up-{number}"})
        assert call(trusting, f"{header}.{body}.AAAA").status_code == 401
    assert call(trusting, token).status_code == 200
    assert len(server.requests) <= 1 + BURST + 1


def test_long_flood_causes_few_fetches(jose: Jose, server: KeyServer) -> None:
    """However long a flood lasts, it causes a fetch every ten seconds at most."""
    clock = ManualClock()
    keys = Jwks(server.url, clock)
    for number in range(1000):
        clock.advance(0.1)
        assert keys.keys({"kid": f"made-up-{number}"}) == []
    assert len(server.requests) <= 1 + BURST + 100 / REFRESH_SECONDS
    server.serve(jose.keys("rsa-2"))
    clock.advance(REFRESH_SECONDS)
    assert len(keys.keys({"kid": "rsa-2"})) == 1


def test_withdrawn_key_is_refused_after_minutes(jose: Jose, server: KeyServer) -> None:
    """A withdrawn key is refused after some minutes, even if no token names a new one."""
    clock = ManualClock()
    keys = Jwks(server.url, clock)
    assert len(keys.keys({"kid": "rsa-1"})) == 1
    server.serve(jose.keys("ec-1"))
    clock.advance(KEEP_SECONDS - 1)
    assert len(keys.keys({"kid": "rsa-1"})) == 1
    clock.advance(2)
    assert keys.keys({"kid": "rsa-1"}) == []


def test_empty_key_set_withdraws_all_keys(server: KeyServer) -> None:
    """If the provider serves an empty set, no key is accepted any longer."""
    clock = ManualClock()
    keys = Jwks(server.url, clock)
    assert len(keys.keys({"kid": "rsa-1"})) == 1
    server.serve({"keys": []})
    clock.advance(KEEP_SECONDS + 1)
    assert keys.keys({"kid": "rsa-1"}) == []


def test_request_for_keys_ignores_environment(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The request for keys uses neither the machine's proxies nor its .netrc."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert len(Jwks(server.url, Clock()).keys({"kid": "rsa-1"})) == 1
    [headers] = server.headers_seen
    assert "authorization" not in headers
    assert (headers["accept"], headers["accept-encoding"]) == ("application/json", "identity")


@pytest.mark.parametrize("kid", [None, 5, ["rsa-1"]])
def test_key_without_name(jose: Jose, server: KeyServer, kid: Any) -> None:
    """A key without a usable `kid` verifies tokens that name none, if it is the only one."""
    [key] = jose.keys("rsa-1")["keys"]
    rest = {name: value for name, value in key.items() if name != "kid"}
    server.serve({"keys": [rest if kid is None else {**rest, "kid": kid}]})
    keys = Jwks(server.url, ManualClock())
    assert [one.algorithms for one in keys.keys({})] == [("RS256",)]
    assert keys.keys({"kid": "rsa-1"}) == []


def down(server: KeyServer) -> None:
    """Respond with 500."""
    server.status = 500


def html(server: KeyServer) -> None:
    """Respond with an HTML page."""
    server.content, server.headers = b"<!doctype html>", {"Content-Type": "text/html"}


def other_json(server: KeyServer) -> None:
    """Respond with JSON that is not a key set."""
    server.content = b'{"keys": {"rsa-1": 1}}'


def huge(server: KeyServer) -> None:
    """Respond with a set of 300 kB."""
    server.content += b" " * 300_000


def bomb(server: KeyServer) -> None:
    """Respond with a small compressed body, which was not requested and becomes large."""
    server.content = gzip.compress(server.content + b" " * 10_000_000)
    server.headers = {"Content-Encoding": "gzip"}


def redirect(server: KeyServer) -> None:
    """Redirect to another URL that would serve the keys."""
    server.status, server.headers = 302, {"Location": "/elsewhere.json"}


def slow(server: KeyServer) -> None:
    """Respond too late."""
    server.delay = 3


def trickle(server: KeyServer) -> None:
    """Send the body in small pieces, each of them within the timeout."""
    server.piece, server.pause = 16, 0.2


def cut(server: KeyServer) -> None:
    """End the body too early."""
    server.headers = {"Content-Length": str(len(server.content) + 5)}


FAULTS = [down, html, other_json, huge, bomb, redirect, slow, trickle, cut]


class MovableTicks(Clock):
    """The real time, plus seconds that a test adds."""

    ahead = 0.0

    def monotonic(self) -> float:
        """Return the seconds."""
        return time.monotonic() + self.ahead


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_failing_provider_keeps_known_keys(jose: Jose, server: KeyServer, fault: Any) -> None:
    """While the provider fails, known keys are accepted, and it is asked again later."""
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


def test_unreachable_provider_is_503(
    broker: RunningBroker, upstream: RunningUpstream, jose: Jose
) -> None:
    """Until the keys are fetched for the first time, tokens get 503. Known keys are then kept."""
    server = KeyServer()
    try:
        server.serve(jose.keys("rsa-1"))
        trust(broker, upstream, server)
        server.status = 503
        response = call(broker, jose.token("rsa-1"))
        assert response.status_code == 503
        assert response.json()["code"] == "secrets_unavailable"
        assert response.json()["retryable"]
        assert broker.lines("jwks_not_read")
        server.status = 200
        assert call(broker, jose.token("rsa-1")).status_code == 200
    finally:
        server.stop()
    # The server is stopped now.
    assert call(broker, jose.token("rsa-1")).status_code == 200
    assert call(broker, jose.token("rsa-2")).status_code == 503


def test_known_keys_do_not_wait_for_fetch(server: KeyServer) -> None:
    """While one request waits for a slow provider, the others use the keys that are known."""
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


def test_waiting_requests_share_one_fetch(server: KeyServer) -> None:
    """Requests that wait for the first keys at the same time cause one fetch."""
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


def test_new_key_is_waited_for(jose: Jose, server: KeyServer) -> None:
    """Requests that name a new key while another one fetches it wait, and are accepted too."""
    keys = Jwks(server.url, Clock())
    assert len(keys.keys({"kid": "rsa-1"})) == 1
    server.serve(jose.keys("rsa-2"))
    server.delay = 0.5
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda _: len(keys.keys({"kid": "rsa-2"})), range(10)))
    assert found == [1] * 10
    assert len(server.requests) == 2


WITHOUT_CRYPTOGRAPHY = """
import sys
sys.modules["cryptography"] = None  # as if it were not installed
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


def test_key_set_needs_cryptography() -> None:
    """Without `cryptography` a shared secret works, and the error of a key set names it."""
    command = [sys.executable, "-c", WITHOUT_CRYPTOGRAPHY]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    first, problem, loaded = done.stdout.splitlines()
    assert first == "32"
    assert "cryptography must be in requirements.txt" in problem
    assert loaded == "['cryptography']"
