"""Checks of the API, with the requests of callers and browsers."""

import base64
import json
import secrets
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import jwt
import requests

from chalicelib.core import settings
from ops.checks import web
from ops.checks.findings import Finding, Target, make_finding

_OTHER_ORIGIN = "https://stranger.invalid"  # RFC 2606: nobody owns this name


def responses(target: Target) -> Iterator[Finding]:
    """Check the API's health, its response to a forged token, and its preflights."""
    url = target.api_url
    if not url:
        return
    health = web.send("GET", f"{url}/health", {})
    is_up = health.status_code == HTTPStatus.OK and _field(health, "status") == "ok"
    yield make_finding(
        "api",
        f"{url}/health",
        is_right=is_up,
        detail="ok" if is_up else _describe(health),
        advice=_advice(target, health),
    )
    bearer = {"Authorization": f"Bearer {_forged(target)}"}
    refusal = web.send("GET", f"{url}/limits", bearer)
    yield make_finding(
        "api",
        "a forged token",
        is_right=refusal.status_code == HTTPStatus.UNAUTHORIZED,
        detail="is refused"
        if refusal.status_code == HTTPStatus.UNAUTHORIZED
        else _describe(refusal),
        advice=_advice(target, refusal),
    )
    yield from _cors(target, url)


def _forged(target: Target) -> str:
    """Return a forged token of the kind that the stage accepts.

    The broker has to read the secret, or the identity provider's keys, before it can refuse the
    token. A refusal therefore proves that the broker can read them.
    """
    claims = {"sub": "doctor", "exp": int(time.time()) + 60}
    if not target.environment.get("JWT_JWKS_URL"):
        return jwt.encode(claims, secrets.token_hex(32), algorithm="HS256")
    head = {"alg": "RS256", "typ": "JWT", "kid": secrets.token_hex(8)}
    parts = [json.dumps(head).encode(), json.dumps(claims).encode(), secrets.token_bytes(256)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _cors(target: Target, url: str) -> Iterator[Finding]:
    other = f"another ALLOWED_ORIGINS is deployed there. Deploy again: {target.deploy_command}."
    advice = f"Check that {url} is this stage's URL. If it is, {other}"
    allowed = settings.origins(target.environment)
    for origin in sample_origins(allowed):
        reason = web.preflight(f"{url}/uploads", origin, "POST", "authorization")
        yield make_finding(
            "api",
            f"preflight from {origin}",
            is_right=not reason,
            detail=reason or "is allowed",
            advice=advice,
        )
    if "*" not in allowed:
        reason = web.preflight(f"{url}/uploads", _OTHER_ORIGIN, "POST", "authorization")
        yield make_finding(
            "api",
            "preflight from another origin",
            is_right=bool(reason),
            detail="is refused" if reason else "is allowed too",
            advice=advice,
        )


def sample_origins(allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Return origins to test: the allowed ones, or an example if every origin is allowed."""
    return ("https://app.example.com",) if "*" in allowed else allowed


def _describe(response: requests.Response) -> str:
    code = _field(response, "code")
    return f"it returns {response.status_code}" + (f", {code}" if isinstance(code, str) else "")


def _field(response: requests.Response, name: str) -> Any:
    try:
        body = response.json()
    except ValueError:
        return None
    return body.get(name) if isinstance(body, dict) else None


def _advice(target: Target, response: requests.Response) -> str:
    group = target.deployment.log_groups["api_handler"] if target.deployment else "the API's log"
    match _field(response, "code"):
        case "misconfigured":
            return f"See the event `misconfigured` or `secret_not_valid` in {group}."
        case "secrets_unavailable":
            return f"See the event `secret_not_read` in {group}. The role may lack permission."
    return (
        f"Check that this is the broker's URL. See {group}, or deploy again:"
        f" {target.deploy_command}."
    )
