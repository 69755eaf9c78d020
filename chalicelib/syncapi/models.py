"""The values in Sync's responses: presigned URLs and assets. Pure."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeGuard

from chalicelib.core.types import Json

AssetType = Literal["VIDEO", "AUDIO", "IMAGE"]

# The documented fields of an asset, in Sync's order.
ASSET_FIELDS = (
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
)
_REQUIRED = ("id", "createdAt", "type")  # reconciliation can't do without them
_SIZE_DIGITS = 18


@dataclass(frozen=True)
class Presigned:
    """A presigned upload.

    Attributes:
        upload_url: The URL that the browser PUTs the bytes to. It is signed, so it is never logged.
        url: The object's URL, by which it is registered.
        expires_in: How many whole seconds `upload_url` is valid.
    """

    upload_url: str
    url: str
    expires_in: int


def asset_of(response: Json) -> Json:
    """Return the documented fields of an asset; one that is absent or not plain is None."""
    found = {
        name: value
        if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
        else None
        for name in ASSET_FIELDS
        for value in (response.get(name),)
    }
    return found | {"size": size_of(found)}


def are_assets(items: object) -> TypeGuard[list[Json]]:
    """Whether something is a list of assets with the required fields."""
    return isinstance(items, list) and all(
        isinstance(item, dict)
        and all(isinstance(item.get(name), str) and item[name] for name in _REQUIRED)
        for item in items
    )


def made_at(asset: Json) -> int | None:
    """Return when an asset was created, in milliseconds since 1970, or None if that is unknown."""
    try:
        return int(datetime.fromisoformat(str(asset["createdAt"])).timestamp() * 1000)
    except ValueError:
        return None


def size_of(asset: Json) -> int | None:
    """Return an asset's size in bytes, or None if Sync's value is absent or not a size."""
    size = asset["size"]
    if isinstance(size, str) and size.isascii() and size.isdigit() and len(size) < _SIZE_DIGITS:
        return int(size)
    is_number = isinstance(size, int | float) and not isinstance(size, bool)
    # A negative size would add to the caller's quota.
    is_size = is_number and 0 <= size < 10**_SIZE_DIGITS and size == int(size)
    return int(size) if is_size else None
