"""Lists in pages."""

from collections.abc import Mapping
from urllib.parse import urlencode

from chalicelib.core.errors import InvalidInput

MAX_PAGE = 100
DEFAULT_PAGE = 20


def page_of(query: Mapping[str, str]) -> tuple[int, str | None]:
    """Return the size of the page that a list's parameters ask for, and its cursor.

    Raises:
        InvalidInput: `limit` is not a whole number from 1 to 100.
    """
    raw = query.get("limit", str(DEFAULT_PAGE))
    is_whole = raw.isascii() and raw.isdigit() and len(raw) <= len(str(MAX_PAGE))
    if not is_whole or not 1 <= int(raw) <= MAX_PAGE:
        detail = f"must be a whole number from 1 to {MAX_PAGE}"
        raise InvalidInput(f"limit {detail}.", errors=({"parameter": "limit", "detail": detail},))
    return int(raw), query.get("cursor")


def next_link(limit: int, cursor: str) -> dict[str, str]:
    """Return the header with the link to the next page (RFC 8288).

    The link is relative to the list's URL, so it is right behind the gateway's stage too.
    """
    query = urlencode({"limit": limit, "cursor": cursor})
    return {"Link": f'<?{query}>; rel="next"'}
