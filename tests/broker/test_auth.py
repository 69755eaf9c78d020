"""Who may call: only who brings a token that the app's backend signed."""

import base64
import json
import time

import jwt
import pytest
import requests
from running_broker import SECRET, Api, RunningBroker, check, token
from upstream_process import RunningUpstream


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


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic YTpi", "nonsense"])
def test_no_token(broker: RunningBroker, authorization: str | None) -> None:
    """Absent, empty and malformed are one case."""
    answer = call(broker, authorization)
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sync upload broker"'


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(unsigned(), id="alg none"),
        pytest.param("a.b.c", id="garbage"),
        pytest.param("x" * 8000, id="long garbage"),
        pytest.param(token(exp=int(time.time()) - 60), id="expired"),
        pytest.param(token(nbf=int(time.time()) + 60), id="not yet valid"),
        pytest.param(token(sub=""), id="empty sub"),
        pytest.param(token(aud="somebody else"), id="for somebody else"),
        pytest.param(jwt.encode({"sub": "a", "exp": 2**40}, "x" * 40), id="another secret"),
        pytest.param(jwt.encode({"sub": "a", "exp": 2**40}, SECRET * 2, "HS512"), id="HS512"),
        pytest.param(jwt.encode({"sub": "a"}, SECRET), id="no exp"),
        pytest.param(jwt.encode({"exp": 2**40}, SECRET), id="no sub"),
        pytest.param(token()[:-1], id="cut"),
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
