"""The open mode, which takes no tokens, and its guard against other sites' pages. Pure.

Any page that the developer opens can reach this machine. A browser sends some requests without
asking (a form, an image, a POST of plain text), and all requests if the page's own host name
resolves to this machine (DNS rebinding).
"""

import re
from collections.abc import Collection, Mapping

from chalicelib.auth.caller import Caller, CallerId
from chalicelib.core import errors
from chalicelib.quotas.limits import Limits

_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
# https://www.w3.org/TR/fetch-metadata/: programs, the address bar, and pages of this origin.
_OWN_SITES = (None, "none", "same-origin")


def refuse_foreign(headers: Mapping[str, str], allowed: Collection[str]) -> None:
    """Refuse a request that another site's page may have sent.

    Args:
        headers: The request's headers, with their names in lower case.
        allowed: The origins whose pages may call.

    Raises:
        ForbiddenOrigin: Its host is not a loopback name, or its origin is not allowed.
    """
    if not _LOOPBACK.fullmatch(headers.get("host", "")):
        raise errors.ForbiddenOrigin("Use 127.0.0.1 or localhost; no other name is served here.")
    origin = headers.get("origin")
    # Browsers send no `Origin` when they load an image or follow a link.
    is_own = headers.get("sec-fetch-site") in _OWN_SITES if origin is None else origin in allowed
    if not is_own:
        raise errors.ForbiddenOrigin("The page's origin is not in ALLOWED_ORIGINS.")


class Everybody:
    """One caller for all requests, with a token or without. It is for the sandbox only."""

    def __init__(self, limits: Limits, caller_id: CallerId) -> None:
        self._limits = limits
        self._caller_id = caller_id

    def prepare(self) -> None:
        """Do nothing: there are no keys."""

    def caller(self, authorization: str | None) -> Caller:  # noqa: ARG002 - as in Authenticator
        """Return the one caller."""
        return Caller(self._caller_id("", "everybody"), self._limits)
