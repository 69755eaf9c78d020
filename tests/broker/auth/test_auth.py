"""Who may call: only who brings a token that the app's backend signed."""

import base64
import hmac
import json
import os
import subprocess
import sys
import time
from typing import Any

import jwt
import pytest
import requests

from chalicelib.auth.claims import LEEWAY_SECONDS, Rules
from chalicelib.auth.keys import SharedSecret
from chalicelib.auth.tokens import MAX_TOKEN_BYTES, Authenticator
from chalicelib.aws.secrets import fixed
from chalicelib.core.clock import Clock
from chalicelib.quotas.limits import Limits
from tests.support.provider import Jose
from tests.support.running_broker import SECRET, Api, RunningBroker, check, token
from tests.support.upstream_process import ROOT, RunningUpstream


def call(broker: RunningBroker, authorization: str | None) -> requests.Response:
    """Ask for the list with a header of one's own."""
    headers = {"Authorization": authorization} if authorization is not None else {}
    answer = requests.get(broker.url + "/uploads", headers=headers, timeout=9)
    check("GET", "/uploads", answer)
    return answer


def unsigned() -> str:
    """Make a token with `alg: none`."""
    parts = ({"alg": "none", "typ": "JWT"}, {"sub": "alice", "exp": int(time.time()) + 600})
    encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return ".".join([*encoded, ""])


def raw(claims: Any, header: dict[str, Any] | None = None) -> str:
    """Sign anything with the secret of the tests, under any header."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", **(header or {})}, claims)]
    text = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    signature = hmac.digest(SECRET.encode(), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


@pytest.mark.parametrize(
    ("authorization", "detail"),
    [
        (None, "Send a token"),
        ("", "Send a token"),
        ("Bearer", "is empty"),
        ("Bearer ", "is empty"),
        ("Basic YTpi", "with the scheme Bearer"),
        ("nonsense", "with the scheme Bearer"),
    ],
)
def test_no_token(broker: RunningBroker, authorization: str | None, detail: str) -> None:
    """Who brings no token is told how to send one, and the challenge names the scheme alone."""
    answer = call(broker, authorization)
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert detail in answer.json()["detail"]
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sync upload broker"'


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(unsigned(), id="alg none"),
        pytest.param("a.b.c", id="garbage"),
        pytest.param("x" * 8000, id="long garbage"),
        pytest.param(token(exp=int(time.time()) - 60), id="expired"),
        pytest.param(token(nbf=2**33), id="not yet valid"),
        pytest.param(token(sub=""), id="empty sub"),
        pytest.param(token(aud="somebody else"), id="for somebody else"),
        pytest.param(jwt.encode({"sub": "a", "exp": 2**40}, "x" * 40), id="another secret"),
        pytest.param(jwt.encode({"sub": "a", "exp": 2**40}, SECRET * 2, "HS512"), id="HS512"),
        pytest.param(jwt.encode({"sub": "a"}, SECRET), id="no exp"),
        pytest.param(jwt.encode({"exp": 2**40}, SECRET), id="no sub"),
        pytest.param(token()[:-1], id="cut"),
        pytest.param(token(exp=str(2**33)), id="exp a string"),
        pytest.param(token(exp=float("inf")), id="exp infinite"),
        pytest.param(token(nbf="now"), id="nbf a string"),
        pytest.param(token(nbf=True), id="nbf true"),
        pytest.param(raw({"sub": 5, "exp": 2**33}), id="sub a number"),
        pytest.param(raw({"sub": ["a"], "exp": 2**33}), id="sub a list"),
        pytest.param(raw({"sub": None, "exp": 2**33}), id="sub null"),
        pytest.param(raw([{"sub": "a", "exp": 2**33}]), id="a list"),
        pytest.param(raw({"sub": "a", "exp": 2**33}, {"crit": ["x"]}), id="crit"),
        pytest.param(raw({"sub": "a", "exp": 2**33}, {"crit": ["b64"], "b64": False}), id="b64"),
        pytest.param(raw({"sub": "a", "exp": 2**33}, {"kid": 7}), id="kid a number"),
        pytest.param(raw({"sub": "a", "exp": 2**33}, {"alg": "hs256"}), id="alg in lower case"),
        pytest.param(raw({"sub": "a", "exp": 2**33}, {"alg": "RS256"}), id="alg RS256"),
    ],
)
def test_bad_token(broker: RunningBroker, made: str) -> None:
    """A token that does not hold is refused, and the challenge says so."""
    answer = call(broker, f"Bearer {made}")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert made not in answer.text


def test_leeway(broker: RunningBroker) -> None:
    """A clock that is a few seconds off locks nobody out, and the scheme's case does not matter."""
    assert call(broker, f"bearer {token(exp=int(time.time()) - 5)}").status_code == 200
    assert call(broker, f"bearer {token(nbf=int(time.time()) + 5)}").status_code == 200


@pytest.mark.parametrize("claim", [{"exp": -30}, {"nbf": 30}, {"iat": 30}], ids=str)
def test_beyond_leeway(broker: RunningBroker, claim: dict[str, int]) -> None:
    """Half a minute is no clock that is a little off any more."""
    assert LEEWAY_SECONDS == 10
    [(name, seconds)] = claim.items()
    made = token(**{name: int(time.time()) + seconds})
    assert call(broker, f"Bearer {made}").status_code == 401


def test_longest(broker: RunningBroker) -> None:
    """A token of 8 KiB is read, and a longer one is not, however good its signature."""
    rest = MAX_TOKEN_BYTES - len(token(more=""))
    long = token(more="x" * (rest * 3 // 4 - 4))
    assert MAX_TOKEN_BYTES - 16 < len(long) <= MAX_TOKEN_BYTES
    assert call(broker, f"Bearer {long}").status_code == 200
    longer = token(more="x" * rest)
    assert MAX_TOKEN_BYTES < len(longer) < 16_000
    answer = call(broker, f"Bearer {longer}")
    assert answer.status_code == 401
    assert answer.json()["detail"] == "The token is longer than 8,192 bytes."


def test_issuer_and_audience(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """With an issuer and an audience set, a token must have both."""
    broker.configure(upstream, JWT_ISSUER="https://app", JWT_AUDIENCE="uploads")
    right = {"iss": "https://app", "aud": ["uploads", "more"]}
    assert call(broker, f"Bearer {token(**right)}").status_code == 200
    for wrong in ({}, {"iss": "https://app"}, {**right, "iss": "x"}, {**right, "aud": "x"}):
        assert call(broker, f"Bearer {token(**wrong)}").status_code == 401


def test_issuers_apart(broker: RunningBroker) -> None:
    """One subject of two issuers is two callers."""
    one, other = Api(broker), Api(broker)
    one.token, other.token = token("alice", iss="a"), token("alice", iss="b")
    one.begin()
    assert len(one.call("GET", "/uploads").json()["items"]) == 1
    assert other.call("GET", "/uploads").json() == {"items": []}


def test_other_library(broker: RunningBroker) -> None:
    """Tokens that another library made are accepted, and headers that nobody asked for ignored."""
    jose = Jose()
    key = f"secret:{SECRET}"
    for header in ({}, {"typ": "JWT", "kid": "../../etc/passwd", "jku": "http://127.0.0.1:9/"}):
        made = jose.token(key, header, iss=None, aud=None)
        assert call(broker, f"Bearer {made}").status_code == 200
    forged = jose.token(f"{key}x", {}, iss=None, aud=None)
    assert call(broker, f"Bearer {forged}").status_code == 401
    jose.stop()


def test_two_secrets(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Two secrets are accepted at once, so that one can be rotated."""
    other = "another-secret-that-is-long-enough-as-well"
    broker.configure(upstream, JWT_SECRET=f"{other}, {SECRET}")
    for secret in (SECRET, other):
        made = jwt.encode({"sub": "a", "exp": 2**33}, secret)
        assert call(broker, f"Bearer {made}").status_code == 200
    both = jwt.encode({"sub": "a", "exp": 2**33}, f"{other}, {SECRET}")
    assert call(broker, f"Bearer {both}").status_code == 401


def test_unusable_secret() -> None:
    """A secret that the library refuses does not lock out the other one."""
    pair = "-----BEGIN PUBLIC KEY-----AAAA-----END PUBLIC KEY-----"
    limits = Limits(1, ("*/*",), frozenset(), 1, 1, None)
    for secrets in (f"{pair},{SECRET}", f"{SECRET},{pair}"):
        verifying = SharedSecret(fixed(secrets, Clock()))
        authenticator = Authenticator(
            verifying, Rules(), limits, lambda _, subject: subject, Clock()
        )
        assert authenticator.caller(f"Bearer {token('alice')}").id == "alice"


def test_audience_elsewhere(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """The audience may be in another claim, also with a shared secret."""
    broker.configure(upstream, JWT_AUDIENCE="https://app", JWT_AUDIENCE_CLAIM="azp")
    assert call(broker, f"Bearer {token(azp='https://app')}").status_code == 200
    for wrong in ({}, {"azp": "https://other"}, {"aud": "https://app"}, {"azp": ["https://app"]}):
        assert call(broker, f"Bearer {token(**wrong)}").status_code == 401


def test_reason_only_if_signed(broker: RunningBroker) -> None:
    """Why a token is refused is told to whoever holds a signed one, and to nobody else."""
    claims = {"sub": "a", "exp": 1}
    mine = call(broker, f"Bearer {jwt.encode(claims, SECRET)}").json()["detail"]
    forged = call(broker, f"Bearer {jwt.encode(claims, SECRET[::-1])}").json()["detail"]
    assert mine == "The token has expired."
    assert forged == "The token's signature is not valid here."


@pytest.mark.parametrize("authorization", [None, "", "Bearer x", "Basic YTpi"])
def test_open(broker: RunningBroker, upstream: RunningUpstream, authorization: str | None) -> None:
    """In the sandbox's open mode everybody is one caller, with a token or without."""
    broker.configure(upstream, AUTH_MODE="open", JWT_SECRET="")
    api = Api(broker)
    upload = api.begin()
    headers = {"Authorization": authorization}
    path = f"/uploads/{upload['id']}"
    assert api.call("GET", path, headers=headers).json()["id"] == upload["id"]


def test_limits_claim(broker: RunningBroker) -> None:
    """A claim narrows what one caller may do, and `GET /limits` shows it."""
    api = Api(broker)
    claim = {
        "maxBytes": 10,
        "contentTypes": ["video/mp4", "audio/*", "text/html"],
        "projectId": "project-of-alice",
        "maxOpen": 3,
        "perDay": 4,
        "bytesPerDay": 20,
    }
    api.token = token(upload=claim)
    limits = api.call("GET", "/limits").json()
    assert limits["maxUploadBytes"] == 10
    assert limits["contentTypes"] == ["video/mp4", "audio/*"]
    assert limits["openUploads"]["limit"] == 3
    assert limits["uploadsPerDay"]["limit"] == 4
    assert limits["bytesPerDay"]["limit"] == 20
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
    refused = [
        ({"size": 11}, 413, "file_too_large"),
        ({"contentType": "video/webm"}, 422, "content_type_not_accepted"),
        ({"fileName": "a.html", "contentType": "text/html"}, 422, "content_type_not_accepted"),
        ({"projectId": "project-of-bob"}, 422, "invalid_input"),
    ]
    for change, status, code in refused:
        answer = api.call("POST", "/uploads", json=body | change)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    answer = api.call("POST", "/uploads", json=body | {"projectId": "project-of-alice"})
    assert answer.status_code == 201


def test_limits_claim_widens_nothing(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A claim that asks for more than the settings allow changes nothing."""
    broker.configure(upstream, MAX_UPLOAD_BYTES="10", ALLOWED_CONTENT_TYPES="image/png")
    plain, greedy = Api(broker), Api(broker)
    greedy.token = token(upload={"maxBytes": 2**60, "contentTypes": ["*/*"], "perDay": 2**60})
    told = [api.call("GET", "/limits").json() for api in (plain, greedy)]
    for limits in told:
        del limits["uploadsPerDay"]["resetsIn"]  # A second may pass between the two.
    assert told[0] == told[1]


@pytest.mark.parametrize("number", [2**63, 2**128, 10**60, 10**400])
@pytest.mark.parametrize("member", ["maxBytes", "maxOpen", "perDay", "bytesPerDay"])
def test_limits_claim_huge(broker: RunningBroker, member: str, number: int) -> None:
    """A limit of any size is one, though DynamoDB can't write all of them."""
    api = Api(broker)
    api.token = token(upload={member: number})
    assert api.begin()["status"] == "pending"
    assert api.call("GET", "/limits").status_code == 200


@pytest.mark.parametrize("claim", [None, [], 5, {"maxSize": 1}, {"maxBytes": True}], ids=str)
def test_limits_claim_malformed(broker: RunningBroker, claim: Any) -> None:
    """A claim that can't be read refuses the request: to pass over it would allow too much."""
    answer = call(broker, f"Bearer {token(upload=claim)}")
    assert answer.status_code == 401
    assert "`upload` is malformed" in answer.json()["detail"]
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_limits_claim_named(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """The claim may have another name, such as one in a namespace; `upload` is nothing then."""
    name = "https://app.example.com/upload"
    broker.configure(upstream, LIMITS_CLAIM=name)
    api = Api(broker)
    api.token = token(upload=5, **{name: {"maxBytes": 7}})
    assert api.call("GET", "/limits").json()["maxUploadBytes"] == 7


@pytest.mark.parametrize("command", [[sys.executable, "mint_token.py"], ["node", "mint_token.mjs"]])
def test_examples(broker: RunningBroker, command: list[str]) -> None:
    """The documented programs make tokens that the broker accepts, with their limits."""
    made = subprocess.run(
        [*command, "alice"],
        cwd=ROOT / "docs" / "examples",
        env={**os.environ, "JWT_SECRET": SECRET},
        capture_output=True,
        text=True,
        check=True,
    )
    api = Api(broker)
    api.token = made.stdout.strip()
    limits = api.call("GET", "/limits").json()
    assert limits["maxUploadBytes"] == 500_000_000
    assert limits["contentTypes"] == ["video/*"]
    assert limits["uploadsPerDay"]["limit"] == 20
