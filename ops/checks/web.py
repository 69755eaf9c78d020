"""Plain HTTP requests of the checks, and what a browser's preflight needs to hear."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import requests

from ops.terminal import UNREACHABLE, Problem

SECONDS = 20


def ask(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
) -> requests.Response:
    """Send one request; a redirect is an answer.

    Raises:
        Problem: There is no answer.
    """
    host = url.partition("://")[2].partition("/")[0]
    try:
        with requests.Session() as session:
            # Else requests looks for a password of the host's in the operator's .netrc.
            session.auth = lambda prepared: prepared
            return session.request(
                method,
                url,
                headers=dict(headers),
                data=body,
                timeout=SECONDS,
                allow_redirects=False,
            )
    except requests.RequestException as error:
        # Its text may hold the whole address, which may be signed.
        message = f"{host} can't be reached ({type(error).__name__})."
        raise Problem(message, "Look at the network, and at the address.", UNREACHABLE) from None


def preflight(url: str, origin: str, method: str, header: str) -> str:
    """Ask what a browser asks before it sends a request to another origin.

    Returns:
        Why a browser would not send it; nothing if it would.

    Raises:
        Problem: There is no answer.
    """
    answer = ask(
        "OPTIONS",
        url,
        {
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": header,
        },
    )
    if not HTTPStatus.OK <= answer.status_code < HTTPStatus.MULTIPLE_CHOICES:  # as browsers do
        return f"it answers {answer.status_code}"
    allowed = answer.headers.get("Access-Control-Allow-Origin")
    if allowed not in {origin, "*"}:
        return f"it allows {allowed or 'no origin'}"
    if not _lists(answer, "Methods", method):
        return f"it does not allow {method}"
    if not _lists(answer, "Headers", header):
        return f"it does not allow the header {header}"
    return ""


def _lists(answer: requests.Response, what: str, wanted: str) -> bool:
    named = answer.headers.get(f"Access-Control-Allow-{what}", "")
    return bool({wanted.lower(), "*"} & {one.strip().lower() for one in named.split(",")})


def ahead(date: str | None, now: float) -> float | None:
    """Say by how many seconds a `Date` header is ahead of this machine's clock; None if unknown."""
    try:
        # The header leaves out what is less than a second: half of one on the average.
        return parsedate_to_datetime(date or "").timestamp() + 0.5 - now
    except ValueError:
        return None
