"""The API as callers and browsers meet it."""

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
from ops.checks.findings import Finding, Patient, judged

_STRANGER = "https://stranger.invalid"  # RFC 2606: nobody's


def answers(patient: Patient) -> Iterator[Finding]:
    """Ask the API as a caller, as a stranger with a forged token, and as browsers."""
    url = patient.api
    if url is None:
        return
    health = web.ask("GET", f"{url}/health", {})
    is_up = health.status_code == HTTPStatus.OK and _member(health, "status") == "ok"
    yield judged(
        "api",
        f"{url}/health",
        is_right=is_up,
        detail="ok" if is_up else _said(health),
        advice=_advice(patient, health),
    )
    bearer = {"Authorization": f"Bearer {_forged(patient)}"}
    refusal = web.ask("GET", f"{url}/limits", bearer)
    yield judged(
        "api",
        "a forged token",
        is_right=refusal.status_code == HTTPStatus.UNAUTHORIZED,
        detail="is refused" if refusal.status_code == HTTPStatus.UNAUTHORIZED else _said(refusal),
        advice=_advice(patient, refusal),
    )
    yield from _cors(patient, url)


def _forged(patient: Patient) -> str:
    """Forge a token of the kind that the stage takes.

    To refuse it the broker has to read the secret, or the provider's keys: so it shows whether
    they can be read.
    """
    claims = {"sub": "doctor", "exp": int(time.time()) + 60}
    if not patient.environment.get("JWT_JWKS_URL"):
        return jwt.encode(claims, secrets.token_hex(32), algorithm="HS256")
    head = {"alg": "RS256", "typ": "JWT", "kid": secrets.token_hex(8)}
    parts = [json.dumps(head).encode(), json.dumps(claims).encode(), secrets.token_bytes(256)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _cors(patient: Patient, url: str) -> Iterator[Finding]:
    again = f"Is it in ALLOWED_ORIGINS of what was deployed? Deploy again: {patient.deploy}."
    allowed = settings.origins(patient.environment)
    for origin in samples(allowed):
        reason = web.preflight(f"{url}/uploads", origin, "POST", "authorization")
        yield judged(
            "api",
            f"preflight from {origin}",
            is_right=not reason,
            detail=reason or "is allowed",
            advice=again,
        )
    if "*" not in allowed:
        is_refused = bool(web.preflight(f"{url}/uploads", _STRANGER, "POST", "authorization"))
        yield judged(
            "api",
            "preflight from elsewhere",
            is_right=is_refused,
            detail="is refused" if is_refused else "is allowed too",
            advice=f"Another ALLOWED_ORIGINS is deployed. Deploy again: {patient.deploy}.",
        )


def samples(allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Name origins to try: those that are allowed, or any one where all are."""
    return ("https://app.example.com",) if "*" in allowed else allowed


def _said(answer: requests.Response) -> str:
    code = _member(answer, "code")
    return f"it answers {answer.status_code}" + (f", {code}" if isinstance(code, str) else "")


def _member(answer: requests.Response, name: str) -> Any:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body.get(name) if isinstance(body, dict) else None


def _advice(patient: Patient, answer: requests.Response) -> str:
    group = patient.deployment.log_groups["api_handler"] if patient.deployment else "the API's log"
    match _member(answer, "code"):
        case "misconfigured":
            return f"The event `misconfigured` or `secret_not_valid` in {group} says what is wrong."
        case "secrets_unavailable":
            return f"The event `secret_not_read` in {group} says why. May the role read it?"
    return f"Is this the broker's address? Look at {group}, or deploy again: {patient.deploy}."
