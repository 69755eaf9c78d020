"""Authentication with a shared secret, the open mode, and the claim that narrows limits."""

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
    """Request the list with any `Authorization` header."""
    headers = {"Authorization": authorization} if authorization is not None else {}
    response = requests.get(broker.url + "/uploads", headers=headers, timeout=9)
    check("GET", "/uploads", response)
    return response


def unsigned() -> str:
    """Return a token with `alg: none`."""
    parts = ({"alg": "none", "typ": "JWT"}, {"sub": "alice", "exp": int(time.time()) + 600})
    encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return ".".join([*encoded, ""])


def raw(claims: Any, header: dict[str, Any] | None = None) -> str:
    """Return a token with any claims and any header, signed with the secret of the tests."""
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
def test_request_without_token_is_refused(
    broker: RunningBroker, authorization: str | None, detail: str
) -> None:
    """Without a token, the detail explains how to send one, and the challenge has no error."""
    response = call(broker, authorization)
    assert response.status_code == 401
    assert response.json()["code"] == "unauthorized"
    assert detail in response.json()["detail"]
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="sync upload broker"'


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
def test_bad_token_is_refused(broker: RunningBroker, made: str) -> None:
    """A token that is not valid is refused, with `invalid_token` in the challenge."""
    response = call(broker, f"Bearer {made}")
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    assert made not in response.text


def test_clock_may_differ_by_seconds(broker: RunningBroker) -> None:
    """A token is accepted if clocks differ by a few seconds. The scheme may be in lower case."""
    assert call(broker, f"bearer {token(exp=int(time.time()) - 5)}").status_code == 200
    assert call(broker, f"bearer {token(nbf=int(time.time()) + 5)}").status_code == 200


@pytest.mark.parametrize("claim", [{"exp": -30}, {"nbf": 30}, {"iat": 30}], ids=str)
def test_clock_may_not_differ_by_half_a_minute(
    broker: RunningBroker, claim: dict[str, int]
) -> None:
    """A token is refused if it is half a minute too late or too early."""
    assert LEEWAY_SECONDS == 10
    [(name, seconds)] = claim.items()
    made = token(**{name: int(time.time()) + seconds})
    assert call(broker, f"Bearer {made}").status_code == 401


def test_token_length_is_limited(broker: RunningBroker) -> None:
    """A token of 8 KiB is accepted, and a longer one is refused even if its signature is valid."""
    rest = MAX_TOKEN_BYTES - len(token(more=""))
    long = token(more="x" * (rest * 3 // 4 - 4))
    assert MAX_TOKEN_BYTES - 16 < len(long) <= MAX_TOKEN_BYTES
    assert call(broker, f"Bearer {long}").status_code == 200
    longer = token(more="x" * rest)
    assert MAX_TOKEN_BYTES < len(longer) < 16_000
    response = call(broker, f"Bearer {longer}")
    assert response.status_code == 401
    assert response.json()["detail"] == "The token is longer than 8,192 bytes."


def test_issuer_and_audience_are_required(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """If the settings have an issuer and an audience, a token must have both."""
    broker.configure(upstream, JWT_ISSUER="https://app", JWT_AUDIENCE="uploads")
    right = {"iss": "https://app", "aud": ["uploads", "more"]}
    assert call(broker, f"Bearer {token(**right)}").status_code == 200
    for wrong in ({}, {"iss": "https://app"}, {**right, "iss": "x"}, {**right, "aud": "x"}):
        assert call(broker, f"Bearer {token(**wrong)}").status_code == 401


def test_same_subject_of_two_issuers_is_two_callers(broker: RunningBroker) -> None:
    """A subject of one issuer does not see the uploads of the same subject of another issuer."""
    one, other = Api(broker), Api(broker)
    one.token, other.token = token("alice", iss="a"), token("alice", iss="b")
    one.begin()
    assert len(one.call("GET", "/uploads").json()["items"]) == 1
    assert other.call("GET", "/uploads").json() == {"items": []}


def test_token_of_other_library_is_accepted(broker: RunningBroker) -> None:
    """Tokens of another library are accepted, and header fields without use are ignored."""
    jose = Jose()
    key = f"secret:{SECRET}"
    for header in ({}, {"typ": "JWT", "kid": "../../etc/passwd", "jku": "http://127.0.0.1:9/"}):
        made = jose.token(key, header, iss=None, aud=None)
        assert call(broker, f"Bearer {made}").status_code == 200
    forged = jose.token(f"{key}x", {}, iss=None, aud=None)
    assert call(broker, f"Bearer {forged}").status_code == 401
    jose.stop()


def test_tokens_of_both_secrets_are_accepted(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """With two secrets, tokens of both are accepted, so that one can be rotated."""
    other = "another-secret-that-is-long-enough-as-well"
    broker.configure(upstream, JWT_SECRET=f"{other}, {SECRET}")
    for secret in (SECRET, other):
        made = jwt.encode({"sub": "a", "exp": 2**33}, secret)
        assert call(broker, f"Bearer {made}").status_code == 200
    both = jwt.encode({"sub": "a", "exp": 2**33}, f"{other}, {SECRET}")
    assert call(broker, f"Bearer {both}").status_code == 401


def test_unusable_secret_does_not_lock_out_other() -> None:
    """If PyJWT refuses one secret, tokens of the other one are still accepted."""
    pair = "-----BEGIN PUBLIC KEY-----AAAA-----END PUBLIC KEY-----"
    limits = Limits(1, ("*/*",), frozenset(), 1, 1, None)
    for secrets in (f"{pair},{SECRET}", f"{SECRET},{pair}"):
        verifying = SharedSecret(fixed(secrets, Clock()))
        authenticator = Authenticator(
            verifying, Rules(), limits, lambda _, subject: subject, Clock()
        )
        assert authenticator.caller(f"Bearer {token('alice')}").id == "alice"


def test_audience_may_be_in_another_claim(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """With `JWT_AUDIENCE_CLAIM`, that claim must equal the audience, and `aud` is not accepted."""
    broker.configure(upstream, JWT_AUDIENCE="https://app", JWT_AUDIENCE_CLAIM="azp")
    assert call(broker, f"Bearer {token(azp='https://app')}").status_code == 200
    for wrong in ({}, {"azp": "https://other"}, {"aud": "https://app"}, {"azp": ["https://app"]}):
        assert call(broker, f"Bearer {token(**wrong)}").status_code == 401


def test_forged_token_gets_no_reason_about_claims(broker: RunningBroker) -> None:
    """The reason in the claims is returned for a signed token, and not for a forged one."""
    claims = {"sub": "a", "exp": 1}
    mine = call(broker, f"Bearer {jwt.encode(claims, SECRET)}").json()["detail"]
    forged = call(broker, f"Bearer {jwt.encode(claims, SECRET[::-1])}").json()["detail"]
    assert mine == "The token has expired."
    assert forged == "The token's signature is not valid here."


@pytest.mark.parametrize("authorization", [None, "", "Bearer x", "Basic YTpi"])
def test_open_mode_has_one_caller(
    broker: RunningBroker, upstream: RunningUpstream, authorization: str | None
) -> None:
    """In the open mode all requests have one caller, with a token or without."""
    broker.configure(upstream, AUTH_MODE="open", JWT_SECRET="")
    api = Api(broker)
    upload = api.begin()
    headers = {"Authorization": authorization}
    path = f"/uploads/{upload['id']}"
    assert api.call("GET", path, headers=headers).json()["id"] == upload["id"]


def test_limits_claim_narrows_limits(broker: RunningBroker) -> None:
    """A claim narrows the caller's limits, and `GET /limits` returns them."""
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
        response = api.call("POST", "/uploads", json=body | change)
        assert (response.status_code, response.json()["code"]) == (status, code)
    response = api.call("POST", "/uploads", json=body | {"projectId": "project-of-alice"})
    assert response.status_code == 201


def test_limits_claim_widens_nothing(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A claim that asks for more than the settings allow changes nothing."""
    broker.configure(upstream, MAX_UPLOAD_BYTES="10", ALLOWED_CONTENT_TYPES="image/png")
    plain, greedy = Api(broker), Api(broker)
    greedy.token = token(upload={"maxBytes": 2**60, "contentTypes": ["*/*"], "perDay": 2**60})
    limits_of = [api.call("GET", "/limits").json() for api in (plain, greedy)]
    for limits in limits_of:
        del limits["uploadsPerDay"]["resetsIn"]  # A second may pass between the two.
    assert limits_of[0] == limits_of[1]


@pytest.mark.parametrize("number", [2**63, 2**128, 10**60, 10**400])
@pytest.mark.parametrize("field", ["maxBytes", "maxOpen", "perDay", "bytesPerDay"])
def test_limits_claim_may_be_huge(broker: RunningBroker, field: str, number: int) -> None:
    """A limit may be larger than any number that DynamoDB can store."""
    api = Api(broker)
    api.token = token(upload={field: number})
    assert api.begin()["status"] == "pending"
    assert api.call("GET", "/limits").status_code == 200


@pytest.mark.parametrize("claim", [None, [], 5, {"maxSize": 1}, {"maxBytes": True}], ids=str)
def test_malformed_limits_claim_is_refused(broker: RunningBroker, claim: Any) -> None:
    """A malformed claim refuses the token, because ignoring the claim would allow too much."""
    response = call(broker, f"Bearer {token(upload=claim)}")
    assert response.status_code == 401
    assert "`upload` is malformed" in response.json()["detail"]
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


def test_limits_claim_may_have_another_name(
    broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """With `LIMITS_CLAIM` another claim has the limits, and `upload` is ignored."""
    name = "https://app.example.com/upload"
    broker.configure(upstream, LIMITS_CLAIM=name)
    api = Api(broker)
    api.token = token(upload=5, **{name: {"maxBytes": 7}})
    assert api.call("GET", "/limits").json()["maxUploadBytes"] == 7


@pytest.mark.parametrize("command", [[sys.executable, "mint_token.py"], ["node", "mint_token.mjs"]])
def test_example_programs_make_accepted_tokens(broker: RunningBroker, command: list[str]) -> None:
    """The programs in the documentation make tokens that the broker accepts, with limits."""
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
