"""DynamoDB's typed values, the keys of items, and the cursors of lists. Pure."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from chalicelib.core import errors

Item = dict[str, Any]

MAX_CURSOR = 4096  # characters; one with a UUID has about 170
_PLAIN = {str: "S", bool: "BOOL", bytes: "B"}
_MAX_PK_BYTES = 2048  # DynamoDB's limit for a partition key
_ORDER = re.compile(r"[0-9]{15}#([0-9a-f]{32})")  # the `listOrder` of `list_keys`


def key(pk: str) -> Item:
    """Return an item's key."""
    return {"pk": {"S": pk}}


def values(fields: Mapping[str, Any]) -> Item:
    """Return plain values as DynamoDB's typed ones."""
    return {name: _typed(value) for name, value in fields.items()}


def plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return DynamoDB's typed values as plain ones."""
    return {name: _untyped(value) for name, value in item.items()}


def _typed(value: Any) -> dict[str, Any]:
    # boto3 has a serializer too, but its import takes a fifth of the cold start.
    if plain_kind := _PLAIN.get(type(value)):
        return {plain_kind: value}
    kind: str
    content: Any = value
    match value:
        case None:
            kind, content = "NULL", True
        case int():
            kind, content = "N", str(value)
        case str():  # a member of an enumeration
            kind = "S"
        case Mapping():
            kind, content = "M", values(value)
        case frozenset():
            kind, content = "SS", sorted(value)
        case list() | tuple():
            kind, content = "L", [_typed(one) for one in value]
        case _:
            raise TypeError(f"an item can't have a {type(value).__name__}")
    return {kind: content}


def _untyped(value: Mapping[str, Any]) -> Any:
    ((kind, content),) = value.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return int(content)
        case "M":
            return plain(content)
        case "L":
            return [_untyped(one) for one in content]
        case "SS":
            return frozenset(content)
    return content  # BOOL, S and B


def list_keys(list_key: str, when: int, upload_id: str) -> dict[str, str]:
    """Return the attributes that put an item in a list, in the order of time and then of id."""
    return {"listKey": list_key, "listOrder": f"{when:015d}#{upload_id}"}


def cursor(last: Mapping[str, Any]) -> str:
    """Return the cursor after the last item of a page."""
    return _cursor(last["listOrder"]["S"], last["pk"]["S"])


def _cursor(order: str, pk: str) -> str:
    text = json.dumps([order, pk])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def start_key(list_key: str, text: str) -> Item:
    """Return the key that a cursor leads to. It is always in the given list.

    Raises:
        InvalidInput: The text is not a cursor of this list.
    """
    try:
        order, pk = _read_cursor(text)
        if not _can_be_listed(list_key, order, pk) or _cursor(order, pk) != text:
            raise ValueError("not of this list")  # noqa: TRY301 - one response for all
    except (ValueError, TypeError, RecursionError) as error:
        raise errors.InvalidInput(
            "This broker did not give out the cursor.",
            errors=({"parameter": "cursor", "detail": "must be a nextCursor of an earlier page"},),
        ) from error
    return values({"listKey": list_key, "listOrder": order, "pk": pk})


def _read_cursor(text: str) -> tuple[str, str]:
    """Return the order and the key in a cursor, or raise ValueError or RecursionError."""
    if len(text) > MAX_CURSOR:
        raise ValueError("too long")
    raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    order, pk = json.loads(raw)
    if not (isinstance(order, str) and isinstance(pk, str)):
        raise ValueError("not two strings")  # noqa: TRY004 - the data is wrong
    return order, pk


def _can_be_listed(list_key: str, order: str, pk: str) -> bool:
    """Whether an item of the list can have this order and key. DynamoDB fails for other keys."""
    matched = _ORDER.fullmatch(order)
    if not matched:
        return False
    kind, _, owner = list_key.partition("#")
    if kind == "uploads":
        return pk == f"upload#{matched[1]}"
    # Sync's asset ids are opaque, so any text may be one.
    prefix = f"asset#{owner}#"
    return pk.startswith(prefix) and len(prefix) < len(pk) and len(pk.encode()) <= _MAX_PK_BYTES
