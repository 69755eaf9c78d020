"""The limits of a caller. Pure."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.core import media_types

_MOST = 10**18  # DynamoDB's numbers have 38 digits; no limit is as large as this


@dataclass(frozen=True)
class Limits:
    """The limits of one caller's uploads.

    Attributes:
        max_upload_bytes: Largest file, in bytes.
        content_types: Accepted types, each exact or with a wildcard (`video/*`).
        project_ids: Projects that the caller may name.
        max_open_uploads: Uploads that may be open at once.
        uploads_per_day: Uploads that may be begun in a day (UTC).
        bytes_per_day: Bytes that may be uploaded in a day (UTC), or None for any number.
    """

    max_upload_bytes: int
    content_types: tuple[str, ...]
    project_ids: frozenset[str]
    max_open_uploads: int
    uploads_per_day: int
    bytes_per_day: int | None

    def accepts(self, content_type: str) -> bool:
        """Whether a content type, as `media_types.resolve` returns it, is accepted."""
        return any(_covers(accepted, content_type) for accepted in self.content_types)

    def accepts_some(self, family: str) -> bool:
        """Whether any content type of a family, such as video, is accepted."""
        return any(accepted.partition("/")[0] in {family, "*"} for accepted in self.content_types)

    def narrowed(self, claim: object) -> "Limits":
        """Return the limits, narrowed by a claim of the caller's token.

        A claim can't widen a limit. Projects are the exception: only the claim knows a caller's
        own projects, so it replaces those of the settings.

        Args:
            claim: The claim as it was decoded from the token.

        Raises:
            ValueError: The claim is malformed; the text names what would be right. An unknown field
                is refused too: it may be a limit with a typing error.
        """
        if not isinstance(claim, Mapping):
            raise ValueError("it must be an object")  # noqa: TRY004 - what is wrong is the data
        unknown = set(claim) - set(_FIELDS)
        if unknown:
            raise ValueError("its fields must be among " + ", ".join(_FIELDS))
        read = {name: _FIELDS[name](name, value) for name, value in claim.items()}
        per_day = (self.bytes_per_day, read.get("bytesPerDay"))
        return replace(
            self,
            max_upload_bytes=min(
                self.max_upload_bytes, read.get("maxBytes", self.max_upload_bytes)
            ),
            content_types=_both(self.content_types, read.get("contentTypes", ("*/*",))),
            project_ids=read.get("projectId", self.project_ids),
            max_open_uploads=min(self.max_open_uploads, read.get("maxOpen", self.max_open_uploads)),
            uploads_per_day=min(self.uploads_per_day, read.get("perDay", self.uploads_per_day)),
            bytes_per_day=min((value for value in per_day if value is not None), default=None),
        )


def _covers(wide: str, narrow: str) -> bool:
    """Whether `wide` includes every type that `narrow` includes."""
    family = narrow.partition("/")[0] + "/*"
    return wide in (narrow, family, "*/*")


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Return the types that both include, without those that another one of them includes."""
    inner = [
        b if _covers(a, b) else a for a in one for b in other if _covers(a, b) or _covers(b, a)
    ]
    found = list(dict.fromkeys(inner))
    return tuple(a for a in found if not any(_covers(b, a) for b in found if b != a))


def _whole(name: str, value: Any) -> int:
    # To Python, true is a number too.
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be a whole number, 0 or more")
    return min(value, _MOST)


def _types(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        with suppress(ValueError):
            return tuple(dict.fromkeys(media_types.accepted(one) for one in value))
    raise ValueError(f"{name} must be a list of content types such as video/* and audio/mpeg")


def _projects(name: str, value: Any) -> frozenset[str]:
    ids = [value] if isinstance(value, str) else value
    if not isinstance(ids, list) or not all(isinstance(one, str) and one for one in ids):
        raise ValueError(f"{name} must be the id of a project, or a list of them")
    return frozenset(ids)


_FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "maxBytes": _whole,
    "contentTypes": _types,
    "projectId": _projects,
    "maxOpen": _whole,
    "perDay": _whole,
    "bytesPerDay": _whole,
}
