"""The identity providers in docs/security.md: the settings are valid, and their tokens accepted.

The tokens have the claims that the providers document. The tests can't reach the providers, so the
keys are served on loopback. All other settings are those in the table.
"""

import re
import time
from typing import Any

import pytest
import requests

from chalicelib.core import settings
from tests.support.provider import Jose, KeyServer
from tests.support.running_broker import RunningBroker
from tests.support.upstream_process import ROOT, RunningUpstream

NAMES = ("JWT_JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE", "JWT_AUDIENCE_CLAIM")
# Example values for the capital words in the table, and for its descriptions of an audience.
WORDS = {
    "REGION": "eu-west-1",
    "POOL_ID": "eu-west-1_AbCdEf123",
    "TENANT": "example.eu.auth0.com",
    "FRONTEND_API": "clerk.example.com",
    "PROJECT_ID": "example-1234",
    "PROJECT": "abcdefghijklmnop",
    "BASE_URL": "app.example.com",
}
AUDIENCES = {
    "the app client's id": "1h57kf5cpq17m0eml12EXAMPLE",
    "your API's identifier": "https://api.example.com/uploads",
    "your page's origin": "https://app.example.com",
    "the project's id": "example-1234",
}
# The key of each provider, and its claims besides `iss`, `sub`, `exp` and the audience.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "Cognito, access token": (
        "rsa-1",
        {"token_use": "access", "scope": "openid", "username": "alice", "version": 2}
        | {"event_id": "x", "jti": "y", "origin_jti": "z", "cognito:groups": ["a"]},
    ),
    "Cognito, ID token": (
        "rsa-1",
        {"token_use": "id", "cognito:username": "alice", "email": "a@example.com"}
        | {"email_verified": True, "at_hash": "x", "event_id": "y"},
    ),
    "Auth0": ("rsa-1", {"azp": "a-client", "scope": "openid profile", "gty": "password"}),
    "Clerk, session token": (
        "rsa-1",
        {"sid": "sess_1", "v": 2, "sts": "active", "fva": [1, -1], "nbf": 1_700_000_000},
    ),
    "Firebase": (
        "rsa-1",
        {"auth_time": 1_700_000_000, "user_id": "alice", "firebase": {"identities": {}}},
    ),
    "Supabase": (
        "ec-1",
        {"role": "authenticated", "aal": "aal1", "session_id": "x", "is_anonymous": False}
        | {"email": "", "phone": "", "app_metadata": {}, "user_metadata": {}},
    ),
    "Better Auth, `jwt` plugin": (
        "okp-1",
        {"id": "alice", "name": "Alice", "email": "a@example.com", "emailVerified": True}
        | {"image": None, "createdAt": "2026-11-28T10:00:00.000Z"},
    ),
}


def documented() -> dict[str, dict[str, str]]:
    """Return each provider's settings in the table, with example values."""
    page = (ROOT / "docs" / "security.md").read_text()
    table = page[page.index("| provider |") :].partition("\n\n")[0].splitlines()
    heading, _, *lines = [[cell.strip() for cell in one.strip("|").split("|")] for one in table]
    assert heading == ["provider", *(f"`{name}`" for name in NAMES)]
    found: dict[str, dict[str, str]] = {}
    above = [""] * len(NAMES)
    for provider, *cells in lines:
        above = [
            old if cell == "the same" else cell for old, cell in zip(above, cells, strict=True)
        ]
        found[provider] = dict(zip(NAMES, map(_filled, above), strict=True))
    return found


def _filled(cell: str) -> str:
    """Return a cell's setting with example values."""
    quoted = re.match(r"`([^`]+)`", cell)
    text = quoted[1] if quoted else AUDIENCES[cell]
    for word, value in WORDS.items():
        text = re.sub(rf"\b{word}\b", value, text)
    return text


def test_every_provider_has_a_shape() -> None:
    """The table has exactly the providers whose tokens are tested here."""
    rows = documented()
    assert set(rows) == set(SHAPES)
    assert not re.search(r"[A-Z]{3,}_", "".join(rows["Cognito, ID token"].values()))


@pytest.mark.parametrize("provider", SHAPES)
def test_provider_settings_are_valid(provider: str) -> None:
    """The broker starts in Lambda with the settings of a row."""
    row = documented()[provider]
    rest = {"AUTH_MODE": "jwt", "SYNC_API_KEY": "k", "UPLOADS_TABLE": "u"}
    chosen = settings.load({**rest, **row, "AWS_LAMBDA_FUNCTION_NAME": "api"})
    assert chosen.jwt_jwks_url == row["JWT_JWKS_URL"]
    assert chosen.jwt_issuer == row["JWT_ISSUER"]


@pytest.mark.parametrize("provider", SHAPES)
def test_provider_token_is_accepted(
    broker: RunningBroker, upstream: RunningUpstream, server: KeyServer, jose: Jose, provider: str
) -> None:
    """A provider's token is accepted, but not with another issuer or audience."""
    row = documented()[provider]
    broker.configure(upstream, **{**row, "JWT_SECRET": "", "JWT_JWKS_URL": server.url})
    key, more = SHAPES[provider]
    claim, audience = row["JWT_AUDIENCE_CLAIM"], row["JWT_AUDIENCE"]
    # If a profile was requested, Auth0 lists its own URL besides the API.
    listed = [audience, f"{row['JWT_ISSUER']}userinfo"] if provider == "Auth0" else audience
    right = {"aud": None, "iss": row["JWT_ISSUER"], "iat": int(time.time()), **more, claim: listed}

    def status(**changes: Any) -> int:
        token = jose.token(key, **{**right, **changes})
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(broker.url + "/uploads", headers=headers, timeout=30).status_code

    assert status() == 200
    assert status(iss=row["JWT_ISSUER"] + "x") == 401
    assert status(**{claim: "another"}) == 401
    assert status(**{claim: None}) == 401
