"""What Sync answers: presigned uploads and assets. Pure."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeGuard

from chalicelib.core.types import Json

AssetType = Literal["VIDEO", "AUDIO", "IMAGE"]


@dataclass(frozen=True)
class Presigned:
    """What sync. answers to a presign.

    Attributes:
        upload_url: Where the browser PUTs the bytes; signed, so never logged.
        url: The object's address, by which it is registered.
        expires_in: Life of `upload_url` in whole seconds. Read it, never assume it.
    """

    upload_url: str
    url: str
    expires_in: int


ASSET_MEMBERS = (
    "id",
    "createdAt",
    "updatedAt",
    "type",
    "visibility",
    "name",
    "url",
    "size",
    "format",
    "inputType",
    "durationSeconds",
    "thumbnailUrl",
    "width",
    "height",
    "projectId",
)  # sync.'s documented members, in its order
_SIZE_DIGITS = 18
_ALWAYS = ("id", "createdAt", "type")  # those that no asset is without, as far as a look needs them


def asset_of(answer: Json) -> Json:
    """Keep an asset's documented members; one that is missing, or no plain value, is null."""
    found = {
        name: value
        if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
        else None
        for name in ASSET_MEMBERS
        for value in (answer.get(name),)
    }
    return found | {"size": size_of(found)}


def are_assets(items: object) -> TypeGuard[list[Json]]:
    """Say whether something is a list of assets, by the members that each of them has."""
    return isinstance(items, list) and all(
        isinstance(item, dict)
        and all(isinstance(item.get(name), str) and item[name] for name in _ALWAYS)
        for item in items
    )


def made_at(asset: Json) -> int | None:
    """Read when an asset was made, in milliseconds since 1970; None where that is not told."""
    try:
        return int(datetime.fromisoformat(str(asset["createdAt"])).timestamp() * 1000)
    except ValueError:
        return None


def size_of(asset: Json) -> int | None:
    """Read an asset's real size in bytes; None where sync. does not tell it, or tells nonsense."""
    size = asset["size"]
    if isinstance(size, str) and size.isascii() and size.isdigit() and len(size) < _SIZE_DIGITS:
        return int(size)
    is_number = isinstance(size, int | float) and not isinstance(size, bool)
    # What is no size must be none: a negative one would give quota back.
    is_size = is_number and 0 <= size < 10**_SIZE_DIGITS and size == int(size)
    return int(size) if is_size else None
