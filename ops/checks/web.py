"""HTTP requests of the checks, preflights among them."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import requests

from ops.terminal import UNREACHABLE, Problem

TIMEOUT_SECONDS = 20


def send(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
) -> requests.Response:
    """Send a request, and return its response; redirects are not followed.

    Raises:
        Problem: There is no response.
    """
    host = url.partition("://")[2].partition("/")[0]
    try:
        with requests.Session() as session:
            # Without `auth`, requests would send the host's password from the operator's .netrc.
            session.auth = lambda prepared: prepared
            return session.request(
                method,
                url,
                headers=dict(headers),
                data=body,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
    except requests.RequestException as error:
        # The error's text may contain the whole URL, with its signature.
        message = f"{host} can't be reached ({type(error).__name__})."
        raise Problem(message, "Check the network and the URL.", UNREACHABLE) from None


def preflight(url: str, origin: str, method: str, header: str) -> str:
    """Send a preflight, and return why a browser would not send the request.

    Returns:
        The reason, or an empty string if a browser would send the request.

    Raises:
        Problem: There is no response.
    """
    response = send(
        "OPTIONS",
        url,
        {
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": header,
        },
    )
    # Browsers require a 2xx status (the Fetch standard's "ok status").
    if not HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES:
        return f"it returns {response.status_code}"
    allowed = response.headers.get("Access-Control-Allow-Origin")
    if allowed not in {origin, "*"}:
        return f"it allows {allowed or 'no origin'}"
    if not _lists(response, "Methods", method):
        return f"it does not allow {method}"
    if not _lists(response, "Headers", header):
        return f"it does not allow the header {header}"
    return ""


def _lists(response: requests.Response, kind: str, wanted: str) -> bool:
    named = response.headers.get(f"Access-Control-Allow-{kind}", "")
    return bool({wanted.lower(), "*"} & {one.strip().lower() for one in named.split(",")})


def seconds_ahead(date: str | None, now: float) -> float | None:
    """Return how many seconds a `Date` header is ahead of this machine's clock; None if unknown."""
    try:
        # The header has whole seconds, so on average it is half a second behind.
        return parsedate_to_datetime(date or "").timestamp() + 0.5 - now
    except ValueError:
        return None
