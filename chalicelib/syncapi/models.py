"""The values in Sync's responses: presigned uploads and assets. Pure."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from chalicelib.core.types import Json

AssetType = Literal["VIDEO", "AUDIO", "IMAGE"]

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
)  # the documented fields, in Sync's order
_MAX_SIZE = 10**18  # bytes; a larger number is not a size


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


@dataclass(frozen=True)
class Asset:
    """An asset, as Sync returned it.

    Attributes:
        fields: All documented fields as JSON. A field is null if Sync did not return it as a plain
            value. `size` is a whole number of bytes or null.
    """

    fields: Json

    @classmethod
    def parse(cls, response: Json) -> "Asset":
        """Return the asset of a response."""
        fields = {name: _plain(response.get(name)) for name in ASSET_FIELDS}
        return cls({**fields, "size": _size(fields["size"])})

    @property
    def id(self) -> str:
        """Its id; empty if Sync returned none."""
        return self._text("id") or ""

    @property
    def type(self) -> str | None:
        """Its type: VIDEO, AUDIO or IMAGE."""
        return self._text("type")

    @property
    def url(self) -> str | None:
        """Its URL, which Sync may have rewritten."""
        return self._text("url")

    @property
    def name(self) -> str | None:
        """Its label."""
        return self._text("name")

    @property
    def project_id(self) -> str | None:
        """Its project."""
        return self._text("projectId")

    @property
    def size(self) -> int | None:
        """Its real size in bytes."""
        size: int | None = self.fields["size"]
        return size

    @property
    def created_at(self) -> int | None:
        """When Sync made it, in milliseconds since 1970; None if the time can't be read."""
        try:
            return int(datetime.fromisoformat(str(self.fields["createdAt"])).timestamp() * 1000)
        except ValueError:
            return None

    def replace(self, **fields: str | int | None) -> "Asset":
        """Return the asset with other values of some fields."""
        return Asset({**self.fields, **fields})

    def _text(self, name: str) -> str | None:
        value = self.fields[name]
        return value if isinstance(value, str) else None


def _plain(value: Any) -> Any:
    is_plain = isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if is_plain else None


def _size(value: Any) -> int | None:
    """Return a size in bytes. Sync documents a number, but a text of digits is accepted."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value) if len(value) < len(str(_MAX_SIZE)) else _MAX_SIZE
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # A negative size would add to the caller's quota.
    is_size = is_number and 0 <= value < _MAX_SIZE and value == int(value)
    return int(value) if is_size else None
