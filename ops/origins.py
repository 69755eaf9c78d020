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
    found = [_as_origin(one) for one in parts]
    right = ", ".join(one for one in found if one)
    if not all(found) or not right:
        right = f"an origin such as {_EXAMPLE}"
    return f"Write {right} in place of {item!r}."


def _is_origin(text: str) -> bool:
    try:
        return urls.exact_origins(text) == (text,)
    except ValueError:
        return False


def _as_origin(text: str) -> str | None:
    """Return the origin that somebody probably means by a text; None if it is not clear."""
    scheme, rest = "https", text
    if begins := re.match(r"(?:(https?)[:/\\]+)+", text, re.IGNORECASE):
        scheme, rest = begins[1].lower(), text[begins.end() :]
    elif "://" in text:  # such as an extension's origin, which can't be allowed
        return None
    try:
        parts = urlsplit(urls.normalized(f"{scheme}://{rest}"))
        # Browsers write a name with other letters in its ASCII form.
        found = f"{parts.scheme}://{parts.netloc.encode('idna').decode()}"
    except ValueError:
        return None
    return found if _is_origin(found) else None
