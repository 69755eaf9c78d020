"""The reasons of refused tokens, in the operator's log and in the caller's response."""

import json
import re
import time
from typing import Any

import pytest
import requests

from chalicelib.auth.claims import MAX_SHOWN, Rules, TokenRefusedError, shown
from tests.support.provider import AUDIENCE, ISSUER, Jose, KeyServer
from tests.support.running_broker import SECRET, RunningBroker, token
from tests.support.upstream_process import ROOT, RunningUpstream

SUBJECT = "alice@example.com"
KEY = f"secret:{SECRET}"
NOT_ACCEPTED = "signed with an algorithm that this broker does not accept"


def refusal(broker: RunningBroker, authorization: str | None) -> tuple[str, dict[str, Any]]:
    """Send a header that must be refused. Return the response's detail and the line in the log."""
    before = len(broker.lines("token_refused"))
    headers = {} if authorization is None else {"Authorization": authorization}
    response = requests.get(broker.url + "/uploads", headers=headers, timeout=30)
    assert response.status_code == 401, response.text
    [line] = broker.lines("token_refused")[before:]
    assert line["requestId"] == response.headers["X-Request-Id"]
    # A stranger must not be able to cause an alarm.
    assert line["level"] == "INFO"
    written = broker.log.getvalue() + response.text
    assert SUBJECT not in written
    assert SECRET not in written
    for part in (authorization or "").rpartition(" ")[2].split("."):
        assert len(part) < 20 or part not in written
    return response.json()["detail"], line


@pytest.mark.parametrize(
    ("authorization", "reason", "detail"),
    [
        (None, "no_token", "Send a token"),
        ("", "no_token", "Send a token"),
        ("Bearer", "no_token", "empty"),
        ("Basic YWxpY2U6c2VjcmV0", "other_scheme", "scheme Bearer"),
        (token(), "other_scheme", "scheme Bearer"),
        (f"Bearer Bearer {token()}", "bearer_twice", "twice"),
        (f"Bearer bearer {token()}", "bearer_twice", "twice"),
        (f"Bearer {token()}, Bearer {token()}", "several_headers", "several"),
        ("Bearer " + "x" * 8193, "too_long", "The token is longer than 8,192 bytes."),
        ("Bearer " + '"' * 8193, "too_long", "The token is longer than 8,192 bytes."),
        (f'Bearer "{token()}"', "malformed_token", "characters"),
        ("Bearer [object Object]", "malformed_token", "characters"),
        ("Bearer ä", "malformed_token", "characters"),
        ("Bearer undefined", "malformed_token", "not a JWT"),
        ("Bearer a.b.c", "malformed_token", "not a JWT"),
        ("Bearer " + ".".join(token().split(".")[:2]), "malformed_token", "not a JWT"),
    ],
)
def test_refused_header_has_reason(
    broker: RunningBroker, authorization: str | None, reason: str, detail: str
) -> None:
    """The reason of a wrong header or a malformed token is returned to everybody."""
    returned, line = refusal(broker, authorization)
    assert detail in returned
    assert line["reason"] == reason


def test_long_token_is_measured(broker: RunningBroker) -> None:
    """The log has the length of a token that is too long."""
    _, line = refusal(broker, "Bearer " + "x" * 9000)
    assert (line["reason"], line["length"]) == ("too_long", 9000)


@pytest.mark.parametrize(
    ("header", "reason", "detail", "fields"),
    [
        ({"alg": "HS512"}, "algorithm_not_accepted", NOT_ACCEPTED, {"alg": "HS512"}),
        ({"alg": "RS256"}, "algorithm_not_accepted", NOT_ACCEPTED, {"expected": "HS256"}),
        ({"alg": "hs256"}, "algorithm_not_accepted", NOT_ACCEPTED, {"alg": "hs256"}),
        ({"alg": "none"}, "algorithm_not_accepted", "is not signed", {"alg": "none"}),
        ({"alg": "NONE"}, "algorithm_not_accepted", "is not signed", {"alg": "NONE"}),
        ({}, "algorithm_not_accepted", "does not name the algorithm", {"alg": "(absent)"}),
        ({"alg": None}, "algorithm_not_accepted", "does not name", {"alg": "(absent)"}),
        ({"alg": ["HS256"]}, "algorithm_not_accepted", NOT_ACCEPTED, {"alg": "(not text)"}),
        (
            {"alg": "HS256", "kid": 7},
            "malformed_header",
            "`kid`, `crit` or `b64`",
            {"problem": "Key ID header parameter must be a string"},
        ),
        (
            {"alg": "HS256", "crit": ["x"]},
            "malformed_header",
            "`kid`, `crit` or `b64`",
            {"problem": "Unsupported critical extension: x"},
        ),
        ({"alg": "HS256\n\u202e"}, "algorithm_not_accepted", NOT_ACCEPTED, {"alg": "HS256??"}),
    ],
    ids=str,
)
def test_refused_algorithm_is_logged(
    broker: RunningBroker,
    jose: Jose,
    header: dict[str, Any],
    reason: str,
    detail: str,
    fields: dict[str, str],
) -> None:
    """The log has the algorithm that was refused, even if its name is malformed."""
    claims = json.dumps({"sub": SUBJECT, "exp": time.time() + 600})
    returned, line = refusal(broker, f"Bearer {jose.raw(KEY, claims, **header)}")
    assert detail in returned
    assert line["reason"] == reason
    assert fields.items() <= line.items()


@pytest.mark.parametrize(
    ("claims", "reason", "detail", "fields"),
    [
        ({"exp": None}, "missing_claim", "lacks the claim `exp`", {"claim": "exp"}),
        ({"sub": None}, "missing_claim", "lacks the claim `sub`", {"claim": "sub"}),
        ({"iss": None}, "missing_claim", "lacks the claim `iss`", {"claim": "iss"}),
        ({"aud": None}, "missing_claim", "lacks the claim `aud`", {"claim": "aud"}),
        ({"exp": 1}, "expired", "has expired", {"claim": "exp"}),
        ({"nbf": 2**33}, "not_yet_valid", "not valid yet", {"claim": "nbf"}),
        ({"iat": 2**33}, "not_yet_valid", "not valid yet", {"claim": "iat"}),
        ({"exp": str(2**33)}, "malformed_claim", "`exp` must be a number", {"claim": "exp"}),
        ({"nbf": "1"}, "malformed_claim", "`nbf` must be a number", {"claim": "nbf"}),
        ({"iat": "1"}, "malformed_claim", "`iat` must be a number", {"claim": "iat"}),
        ({"exp": True}, "malformed_claim", "`exp` must be a number", {"claim": "exp"}),
        ({"sub": 1234}, "malformed_claim", "`sub` must be text", {"claim": "sub"}),
        ({"sub": [SUBJECT]}, "malformed_claim", "`sub` must be text", {"claim": "sub"}),
        ({"iss": [ISSUER]}, "malformed_claim", "`iss` must be text", {"claim": "iss"}),
        ({"aud": [AUDIENCE, 1]}, "malformed_claim", "`aud` must be text", {"claim": "aud"}),
        ({"sub": ""}, "empty_claim", "`sub` is empty", {"claim": "sub"}),
        (
            {"iss": "https://other.example"},
            "wrong_issuer",
            "another issuer",
            {"expected": ISSUER, "seen": "https://other.example"},
        ),
        (
            {"aud": ["x", "y"]},
            "wrong_audience",
            "another audience",
            {"expected": f"{AUDIENCE}, more", "seen": "x, y", "claim": "aud"},
        ),
        (
            {"upload": 5},
            "malformed_limits",
            "`upload` is malformed",
            {"claim": "upload", "problem": "it must be an object"},
        ),
    ],
    ids=str,
)
def test_refused_claim_is_named(
    broker: RunningBroker,
    upstream: RunningUpstream,
    jose: Jose,
    claims: dict[str, Any],
    reason: str,
    detail: str,
    fields: dict[str, str],
) -> None:
    """The log and the response name the claim that is wrong, if the signature is valid."""
    broker.configure(upstream, JWT_ISSUER=ISSUER, JWT_AUDIENCE=f"{AUDIENCE},more")
    changed = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "exp": time.time() + 600, **claims}
    kept = {name: value for name, value in changed.items() if value is not None}
    made = jose.raw(KEY, json.dumps(kept), alg="HS256")
    returned, line = refusal(broker, f"Bearer {made}")
    assert detail in returned
    assert line["reason"] == reason
    assert fields.items() <= line.items()
    # Without the secret nobody learns anything about the claims.
    forged = jose.raw(f"{KEY}x", json.dumps(kept), alg="HS256")
    returned, line = refusal(broker, f"Bearer {forged}")
    assert returned == "The token's signature is not valid here."
    assert line["reason"] == "wrong_signature"


def test_refused_key_is_logged(
    broker: RunningBroker, upstream: RunningUpstream, server: KeyServer, jose: Jose
) -> None:
    """The log has the key that the provider does not have, or has for another algorithm."""
    trusted = {"JWT_JWKS_URL": server.url, "JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}
    broker.configure(upstream, JWT_SECRET="", **trusted)
    accepted = "ES256, Ed25519, EdDSA, RS256"
    for made, reason, detail, fields in (
        (jose.token("rsa-9"), "unknown_key", "a key that this", {"kid": "rsa-9", "alg": "RS256"}),
        (jose.token("rsa-1", {"kid": "k" * 999}), "unknown_key", "a key", {"alg": "RS256"}),
        (jose.token("rsa-1", {}), "missing_kid", "`kid`", {"alg": "RS256"}),
        (
            jose.token("rsa-1", {"kid": "ec-1"}),
            "algorithm_of_other_key",
            "another algorithm",
            {"kid": "ec-1", "alg": "RS256", "expected": "ES256"},
        ),
        (
            jose.token("rsa-1", {"kid": "rsa-1"}, "PS256"),
            "algorithm_not_accepted",
            NOT_ACCEPTED,
            {"alg": "PS256", "expected": accepted},
        ),
        (jose.token(KEY, {}), "algorithm_not_accepted", NOT_ACCEPTED, {"alg": "HS256"}),
        (
            jose.token("rsa-8", {"kid": "rsa-1"}),
            "wrong_signature",
            "signature is not valid",
            {"kid": "rsa-1"},
        ),
        (
            jose.raw("okp-1", "[]", alg="EdDSA", kid="okp-1"),
            "malformed_payload",
            "not a JSON object",
            {},
        ),
    ):
        returned, line = refusal(broker, f"Bearer {made}")
        assert detail in returned
        assert line["reason"] == reason
        assert fields.items() <= line.items()
        assert len(line.get("kid", "")) <= MAX_SHOWN + 3


@pytest.mark.parametrize("names", [("okp-1", "rsa-1"), ("rsa-1", "okp-1")])
def test_forged_token_for_two_keys_has_wrong_signature(
    broker: RunningBroker,
    upstream: RunningUpstream,
    server: KeyServer,
    jose: Jose,
    names: tuple[str, str],
) -> None:
    """If two keys have one `kid`, a forged token has a wrong signature, in either order."""
    keys = [jose.keys(name)["keys"][0] for name in names]
    server.serve({"keys": [{**key, "kid": "one"} for key in keys]})
    trusted = {"JWT_JWKS_URL": server.url, "JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}
    broker.configure(upstream, JWT_SECRET="", **trusted)
    made = jose.token("okp-2", {"kid": "one"})
    assert refusal(broker, f"Bearer {made}")[1]["reason"] == "wrong_signature"


def test_reasons_are_documented() -> None:
    """The operator's manual lists exactly the reasons in the code."""
    code = "".join(
        (ROOT / "chalicelib" / "auth" / f"{name}.py").read_text() for name in ("tokens", "claims")
    )
    written = set(re.findall(r"TokenRefusedError\(\s*\"(\w+)\"", code))
    page = (ROOT / "docs" / "operations.md").read_text()
    part = page.partition("### Why tokens are refused")[2].partition("\n### ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)) == written


@pytest.mark.parametrize(
    ("audiences", "claim", "value", "is_right"),
    [
        (("a", "b"), "aud", "a", True),
        (("a", "b"), "aud", "b", True),
        (("a", "b"), "aud", ["x", "b"], True),
        (("a", "b"), "aud", "a, b", False),
        (("a", "b"), "aud", "a,b", False),
        (("a", "b"), "aud", ["x", "y"], False),
        (("a", "b"), "aud", [], False),
        (("a", "b"), "aud", "", False),
        (("a", "b"), "azp", "b", True),
        (("a", "b"), "azp", ["b"], False),
        (("a", "b"), "azp", "x", False),
        ((), "aud", "a", False),
        ((), "aud", [], True),
    ],
)
def test_audience_is_one_of_several(
    audiences: tuple[str, ...], claim: str, value: object, *, is_right: bool
) -> None:
    """A token is accepted if its audience is an accepted one, or a list with one of them."""
    rules = Rules(audiences=audiences, audience_claim=claim)
    claims = {"sub": "a", "exp": 2**33, claim: value}
    if is_right:
        rules.check(claims, 0)
    else:
        with pytest.raises(TokenRefusedError):
            rules.check(claims, 0)


@pytest.mark.parametrize("value", [10**400, -(10**400), 2**63, 1e308, -1e308, 0.5, -0.0])
def test_time_may_have_any_size(value: float) -> None:
    """A token may expire at any number, however large, small or fractional."""
    claims = {"sub": "a", "exp": value}
    if value > 0.5:
        Rules().check(claims, 100)
    else:
        with pytest.raises(TokenRefusedError, match="expired"):
            Rules().check(claims, 100)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://a.example", "https://a.example"),
        ("a\x1b[31m\nb\u202e\x00é", "a?[31m?b???"),
        ("x" * 999, "x" * MAX_SHOWN + "..."),
        (None, "(absent)"),
        ({"a": "b"}, "(not text)"),
    ],
)
def test_shown_text_is_short_ascii(value: object, expected: str) -> None:
    """A token's text in the log is short, and has no characters that control a terminal."""
    assert shown(value) == expected
