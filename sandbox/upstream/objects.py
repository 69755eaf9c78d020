"""Stored objects: bytes on disk, and the rows that say which bytes are an object's.

    write tmp/<random> ── rename ──► objects/<random> ── one UPDATE ──► the row names the file

Only the UPDATE makes an object: a process that dies before it leaves a file that no row names,
and the next start deletes it.
"""

import hashlib
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from sandbox.upstream.database import Database


@dataclass(frozen=True)
class Place:
    """What was handed out for an object.

    Attributes:
        key: Unguessable, chosen here.
        file_name: As in its URLs, not percent-encoded.
        content_type: As it was declared, byte for byte.
    """

    key: str
    file_name: str
    content_type: str


@dataclass(frozen=True)
class StoredObject(Place):
    """An object whose bytes have landed.

    Attributes:
        path: Its bytes.
        size: In bytes.
        etag: MD5 in hex, as S3's for a single PUT.
        sha256: In hex.
    """

    path: Path
    size: int
    etag: str
    sha256: str


class IncomingFile:
    """Bytes on their way in, counted and hashed. Leaving the context deletes what was not kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    def __enter__(self) -> Self:
        self._file = self.path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Append; blocks on the disk."""
        self._file.write(chunk)
        self._md5.update(chunk)
        self._sha256.update(chunk)
        self.size += len(chunk)

    def digests(self) -> tuple[str, str]:
        """Flush, and give MD5 and SHA-256 in hex."""
        self._file.flush()
        return self._md5.hexdigest(), self._sha256.hexdigest()


class ObjectStore:
    """All objects.

    Args:
        folder: Where the bytes live.
        database: Where the rows live.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self._database = database
        self._incoming = folder / "tmp"
        self._landed = folder / "objects"
        for path in (self._incoming, self._landed):
            path.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def reserve(self, file_name: str, content_type: str) -> Place:
        """Make a place for an object."""
        key = secrets.token_hex(16)
        self._database.run(
            "INSERT INTO objects (key, file_name, content_type) VALUES (?, ?, ?)",
            (key, file_name, content_type),
        )
        return Place(key, file_name, content_type)

    def find(self, key: str) -> Place | StoredObject | None:
        """Give an object, or its empty place, or None when the key was never handed out."""
        row = self._database.one("SELECT * FROM objects WHERE key = ?", (key,))
        if row is None:
            return None
        place = Place(row["key"], row["file_name"], row["content_type"])
        if row["file"] is None:
            return place
        path = self._landed / row["file"]
        return StoredObject(
            **asdict(place), path=path, size=row["size"], etag=row["etag"], sha256=row["sha256"]
        )

    def incoming(self) -> IncomingFile:
        """Begin to receive bytes."""
        return IncomingFile(self._incoming / secrets.token_hex(16))

    def land(self, key: str, incoming: IncomingFile) -> StoredObject | None:
        """Make the received bytes the object's; what was there before is replaced, as in S3.

        Returns:
            The object, or None when its place is gone (the sandbox was reset meanwhile).
        """
        before = self.find(key)
        if before is None:
            return None
        etag, sha256 = incoming.digests()
        path = self._landed / incoming.path.name
        incoming.path.rename(path)
        self._database.run(
            "UPDATE objects SET file = ?, size = ?, etag = ?, sha256 = ? WHERE key = ?",
            (path.name, incoming.size, etag, sha256, key),
        )
        if isinstance(before, StoredObject):
            # Whoever reads the old bytes right now keeps them: the file is open.
            before.path.unlink(missing_ok=True)
        return StoredObject(
            key,
            before.file_name,
            before.content_type,
            path=path,
            size=incoming.size,
            etag=etag,
            sha256=sha256,
        )

    def delete(self, key: str) -> None:
        """Delete an object and its place."""
        stored = self.find(key)
        self._database.run("DELETE FROM objects WHERE key = ?", (key,))
        if isinstance(stored, StoredObject):
            stored.path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete all bytes that no row names; called when the rows are gone."""
        self._sweep()

    def _sweep(self) -> None:
        named = {row["file"] for row in self._database.rows("SELECT file FROM objects")}
        for path in [*self._incoming.iterdir(), *self._landed.iterdir()]:
            if path.name not in named:
                path.unlink(missing_ok=True)
