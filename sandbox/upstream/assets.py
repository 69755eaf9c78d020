"""The library of assets: its rows, and the JSON of an asset."""

import sqlite3
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from yarl import URL

from sandbox.upstream.behavior import Behavior
from sandbox.upstream.database import Database
from sandbox.upstream.media import MediaFacts

TYPES = ("AUDIO", "VIDEO", "IMAGE")
VISIBILITIES = ("USER", "ORGANIZATION")
_REQUIRED_FIELDS = ("id", "createdAt", "updatedAt", "type", "visibility")


@dataclass(frozen=True)
class NewAsset:
    """The values of an asset when it is registered."""

    type: str
    visibility: str
    name: str | None
    url: str
    object_key: str
    size: int
    sha256: str | None
    input_type: str
    project_id: str | None
    facts: MediaFacts


def timestamp(seconds: float) -> str:
    """Return Unix seconds in the vendor's format: ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


class Assets:
    """All assets of the organisation.

    Args:
        database: Stores the rows.
        origin: Scheme, host and port of the URLs.
    """

    def __init__(self, database: Database, origin: str) -> None:
        self._database = database
        self._origin = origin

    def add(self, asset_id: str, new: NewAsset, *, now: float, registered_at: float) -> sqlite3.Row:
        """Add an asset, and return its row.

        Args:
            asset_id: From `new_id`; its thumbnail may already be on disk.
            new: Its values.
            now: Unix seconds by the upstream's clock, which may be skewed.
            registered_at: Unix seconds by the real clock; the listing's lag begins then.
        """
        columns = {
            "id": asset_id,
            "created_at": now,
            "updated_at": now,
            "registered_at": registered_at,
            "type": new.type,
            "visibility": new.visibility,
            "name": new.name,
            "url": new.url,
            "object_key": new.object_key,
            "size": new.size,
            "sha256": new.sha256,
            "input_type": new.input_type,
            "project_id": new.project_id,
            **asdict(new.facts),
        }
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        self._database.run(
            f"INSERT INTO assets ({names}) VALUES ({marks})",  # noqa: S608 - the names are constants
            tuple(columns.values()),
        )
        row = self.find(asset_id)
        if row is None:
            raise LookupError(asset_id)
        return row

    def find(self, asset_id: str) -> sqlite3.Row | None:
        """Return the asset with an id, or None."""
        return self._database.one("SELECT * FROM assets WHERE id = ?", (asset_id,))

    def find_by_url(self, url: str) -> sqlite3.Row | None:
        """Return the oldest asset that was registered from a URL, or None."""
        return self._database.one("SELECT * FROM assets WHERE url = ? ORDER BY seq", (url,))

    def find_by_digest(self, sha256: str, asset_type: str) -> sqlite3.Row | None:
        """Return the newest asset with a digest and a type, or None."""
        return self._database.one(
            "SELECT * FROM assets WHERE sha256 = ? AND type = ? ORDER BY seq DESC",
            (sha256, asset_type),
        )

    def change(self, asset_id: str, *, name: str | None, visibility: str, now: float) -> None:
        """Change an asset's name and visibility."""
        self._database.run(
            "UPDATE assets SET name = ?, visibility = ?, updated_at = ? WHERE id = ?",
            (name, visibility, now, asset_id),
        )

    def delete(self, asset_id: str) -> None:
        """Delete an asset."""
        self._database.run("DELETE FROM assets WHERE id = ?", (asset_id,))

    def uses(self, object_key: str) -> bool:
        """Whether any asset uses an object."""
        return (
            self._database.one("SELECT 1 FROM assets WHERE object_key = ?", (object_key,))
            is not None
        )

    def to_json(self, row: sqlite3.Row, behavior: Behavior) -> dict[str, Any]:
        """Return an asset as JSON, in the shape that the behaviours select."""
        url = {
            "same": row["url"],
            "absent": None,
            "rewritten": f"{self._origin}/media/{row['id']}",
            "normalized": str(URL(row["url"])),
        }[behavior.asset_url]
        is_labelled = behavior.asset_labels != "absent"
        name = row["name"] if is_labelled else None
        if behavior.asset_labels == "trimmed" and name is not None:
            name = name.strip()
        thumbnail = f"{self._origin}/thumbnails/{row['id']}.jpg" if row["has_thumbnail"] else None
        shown = {
            "id": row["id"],
            "createdAt": timestamp(row["created_at"]),
            "updatedAt": timestamp(row["updated_at"]),
            "type": row["type"],
            "visibility": row["visibility"],
            "name": name,
            "url": url,
            "size": row["size"],
            "format": row["format"],
            "inputType": row["input_type"],
            "durationSeconds": row["duration"],
            "thumbnailUrl": thumbnail,
            "width": row["width"],
            "height": row["height"],
            "projectId": row["project_id"] if is_labelled else None,
        }
        if behavior.optional_fields == "null":
            return shown
        return {
            name: value
            for name, value in shown.items()
            if name in _REQUIRED_FIELDS or value is not None
        }


def new_id() -> str:
    """Return a new id. The vendor's reference shows UUIDs."""
    return str(uuid.uuid4())
