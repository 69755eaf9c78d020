"""How to write the allowed origins that the broker rejects."""

import re
from urllib.parse import urlsplit

from chalicelib.core import urls

_EXAMPLE = "https://app.example.com"


def advice(value: str) -> str:
    """Return how to write a value of ALLOWED_ORIGINS; empty if each of its items is right."""
    found = urls.items(value)
    wrong = [item for item in found if item != "*" and not _is_origin(item)]
    advised = [_item_advice(item) for item in wrong]
    if "*" in found and found != ("*",):
        advised.append("`*` allows every origin, so write it alone or leave it out.")
    return " ".join(advised)


def _item_advice(item: str) -> str:
    if item.lower() == "null":
        return (
            "'null' can't be allowed: every file and every sandboxed frame sends it. Serve the page"
            " from a web server, and write its origin."
        )
    parts = [one for one in re.split(r"[;\s]+", item) if one]
    if any("*" in one for one in parts):
        return f"Write each origin out, since a `*` inside of one stands for nothing: {item!r}."
    right = ", ".join(_as_origin(one) for one in parts)
    return f"Write {right or 'an origin'} in place of {item!r}."


def _is_origin(text: str) -> bool:
    try:
        return urls.exact_origins(text) == (text,)
    except ValueError:
        return False


def _as_origin(text: str) -> str:
    """Return the origin that somebody probably means by a text; an example if it is not clear."""
    parts = urlsplit(urls.normalized(text if "://" in text else f"https://{text}"))
    try:
        # Browsers write a name with other letters in its ASCII form.
        host = parts.netloc.encode("idna").decode()
    except UnicodeError:
        return _EXAMPLE
    found = f"{parts.scheme}://{host}"
    return found if _is_origin(found) else _EXAMPLE
