"""Requests of other sites' pages, which the open mode must not serve. Pure.

Everywhere else a page needs a token. In the open mode nobody does, and every page that the
developer looks at reaches this machine: some requests without asking (a form, an image, a POST of
plain text), and all of them under a foreign name that was made to point here.
"""

import re
from collections.abc import Collection, Mapping

from chalicelib.auth.caller import Caller, CallerId
from chalicelib.core import errors
from chalicelib.quotas.limits import Limits

_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
# https://www.w3.org/TR/fetch-metadata/: what an address bar, a program or this very origin sends.
_OWN_SITES = (None, "none", "same-origin")


def refuse_foreign(headers: Mapping[str, str], allowed: Collection[str]) -> None:
    """Refuse a request that another site's page may have sent.

    Args:
        headers: By their names in lower case.
        allowed: The origins that may call.

    Raises:
        ForbiddenOrigin: Its host is no loopback name, or its origin is not an allowed one.
    """
    if not _LOOPBACK.fullmatch(headers.get("host", "")):
        raise errors.ForbiddenOrigin("Use 127.0.0.1 or localhost; no other name is served here.")
    origin = headers.get("origin")
    # Only loading an image or following a link comes without an origin.
    is_own = headers.get("sec-fetch-site") in _OWN_SITES if origin is None else origin in allowed
    if not is_own:
        raise errors.ForbiddenOrigin("The page's origin is not in ALLOWED_ORIGINS.")


class Everybody:
    """Takes everybody for one caller, with a token or without: for the sandbox alone."""

    def __init__(self, limits: Limits, caller_id: CallerId) -> None:
        self._limits = limits
        self._caller_id = caller_id

    def caller(self, authorization: str | None) -> Caller:  # noqa: ARG002 - it does not matter
        """Return the one caller."""
        return Caller(self._caller_id("", "everybody"), self._limits)
