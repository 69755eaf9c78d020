"""Stored objects: files on disk, and the rows that refer to them.

    write tmp/<random> ── rename ──► objects/<random> ── one UPDATE ──► the row names the file

An object exists only after the UPDATE. If the process dies earlier, no row names the file, and
the next start deletes it.
"""

import hashlib
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from sandbox.upstream.database import Database


@dataclass(frozen=True)
class ReservedObject:
    """An object that has a URL, but maybe no bytes.

    Attributes:
        key: A random key.
        file_name: The name in its URLs, not percent-encoded.
        content_type: The declared content type, unchanged.
    """

    key: str
    file_name: str
    content_type: str


@dataclass(frozen=True)
class StoredObject(ReservedObject):
    """An object whose bytes are stored.

    Attributes:
        path: The file with its bytes.
        size: In bytes.
        etag: MD5 in hex, as S3 computes it for a single PUT.
        sha256: In hex.
    """

    path: Path
    size: int
    etag: str
    sha256: str


class IncomingFile:
    """A file that receives bytes, with their count and digests. If not stored, it is deleted."""

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
        """Append bytes. This blocks."""
        self._file.write(chunk)
        self._md5.update(chunk)
        self._sha256.update(chunk)
        self.size += len(chunk)

    def digests(self) -> tuple[str, str]:
        """Flush the file, and return MD5 and SHA-256 in hex."""
        self._file.flush()
        return self._md5.hexdigest(), self._sha256.hexdigest()


class ObjectStore:
    """All objects.

    Args:
        folder: The folder for the files.
        database: The database for the rows.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self._database = database
        self._incoming = folder / "tmp"
        self._stored = folder / "objects"
        for path in (self._incoming, self._stored):
            path.mkdir(parents=True, exist_ok=True)
        self._delete_unnamed_files()

    def reserve(self, file_name: str, content_type: str) -> ReservedObject:
        """Create an object without bytes, and return it."""
        key = secrets.token_hex(16)
        self._database.run(
            "INSERT INTO objects (key, file_name, content_type) VALUES (?, ?, ?)",
            (key, file_name, content_type),
        )
        return ReservedObject(key, file_name, content_type)

    def find(self, key: str) -> ReservedObject | StoredObject | None:
        """Return the object with a key, stored or only reserved, or None for an unknown key."""
        row = self._database.one("SELECT * FROM objects WHERE key = ?", (key,))
        if row is None:
            return None
        reserved = ReservedObject(row["key"], row["file_name"], row["content_type"])
        if row["file"] is None:
            return reserved
        path = self._stored / row["file"]
        return StoredObject(
            **asdict(reserved), path=path, size=row["size"], etag=row["etag"], sha256=row["sha256"]
        )

    def incoming(self) -> IncomingFile:
        """Return a new file to receive bytes."""
        return IncomingFile(self._incoming / secrets.token_hex(16))

    def store(self, key: str, incoming: IncomingFile) -> StoredObject | None:
        """Store the received bytes as an object. As in S3, they replace earlier bytes.

        Returns:
            The object, or None for an unknown key (the sandbox was reset during the request).
        """
        before = self.find(key)
        if before is None:
            return None
        etag, sha256 = incoming.digests()
        path = self._stored / incoming.path.name
        incoming.path.rename(path)
        self._database.run(
            "UPDATE objects SET file = ?, size = ?, etag = ?, sha256 = ? WHERE key = ?",
            (path.name, incoming.size, etag, sha256, key),
        )
        if isinstance(before, StoredObject):
            # A reader that has the old file open can still read it.
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
        """Delete an object and its row."""
        stored = self.find(key)
        self._database.run("DELETE FROM objects WHERE key = ?", (key,))
        if isinstance(stored, StoredObject):
            stored.path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete all files, after the rows were deleted."""
        self._delete_unnamed_files()

    def _delete_unnamed_files(self) -> None:
        named = {row["file"] for row in self._database.rows("SELECT file FROM objects")}
        for path in [*self._incoming.iterdir(), *self._stored.iterdir()]:
            if path.name not in named:
                path.unlink(missing_ok=True)
