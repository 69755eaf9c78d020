"""The SQLite database. Its data survives a restart and kill -9."""

import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    key TEXT PRIMARY KEY,
    file_name TEXT NOT NULL,
    content_type TEXT NOT NULL,
    -- These columns are null until the bytes are stored; `file` is their name on disk.
    file TEXT, size INTEGER, etag TEXT, sha256 TEXT
);
CREATE TABLE IF NOT EXISTS assets (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL, updated_at REAL NOT NULL,
    registered_at REAL NOT NULL,
    type TEXT NOT NULL, visibility TEXT NOT NULL, name TEXT, url TEXT NOT NULL,
    object_key TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT,
    format TEXT, input_type TEXT NOT NULL, duration REAL, width INTEGER, height INTEGER,
    has_thumbnail INTEGER NOT NULL, project_id TEXT
);
CREATE INDEX IF NOT EXISTS assets_by_url ON assets (url);
CREATE TABLE IF NOT EXISTS generations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL, ready_at REAL NOT NULL,
    request TEXT NOT NULL, outcome TEXT NOT NULL, source_key TEXT, duration REAL,
    idempotency_key TEXT UNIQUE, notified INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS voices (
    id TEXT PRIMARY KEY, created_at REAL NOT NULL, name TEXT NOT NULL UNIQUE
);
"""


class DatabaseBusyError(Exception):
    """Another process uses the same data folder."""


class Database:
    """A small wrapper of SQLite. Each statement is a transaction.

    Only the event loop's thread uses it, so each statement handles a few rows at most.

    Args:
        path: The database's file, which is created if it is missing.

    Raises:
        DatabaseBusyError: Another process has opened it.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        try:
            # Two processes with one folder would delete each other's files.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            # With a write-ahead log, committed rows survive kill -9 without an fsync for each.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("BEGIN EXCLUSIVE")
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise DatabaseBusyError(
                f"{path} is in use by another process; set SANDBOX_DIR to another folder"
            ) from error
        self._connection.execute("PRAGMA synchronous = NORMAL")
        # SQLite's lower() supports only ASCII.
        self._connection.create_function("fold", 1, str.casefold, deterministic=True)
        self._connection.executescript(_SCHEMA)

    def one(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """Return the first row, or None."""
        row: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return all rows."""
        return self._connection.execute(sql, values).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement, and return the number of rows that it changed."""
        return self._connection.execute(sql, values).rowcount

    def secret(self) -> str:
        """Return the key that signs URLs. It is created once, so URLs survive a restart."""
        self.run("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_urlsafe(32),))
        row = self.one("SELECT value FROM meta WHERE name = 'secret'")
        return str(row["value"]) if row else ""

    def clear(self) -> None:
        """Delete everything, including the signing key."""
        for table in ("meta", "objects", "assets", "generations", "voices"):
            self.run(f"DELETE FROM {table}")  # noqa: S608 - the names are constants

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
