"""The one SQLite database: what must be found again after a restart, or after kill -9."""

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
    -- The columns below are filled when bytes have landed: `file` names them on disk.
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
    """Another process works with the same data folder."""


class Database:
    """A thin door to SQLite. Each statement is its own transaction.

    It is used from the event loop's thread alone, so statements are kept to a few rows each.

    Args:
        path: The database's file, made when missing.

    Raises:
        DatabaseBusyError: Another process has it.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        try:
            # Two processes on one folder would tidy away each other's files.
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            # The write-ahead log keeps committed rows over kill -9 with no sync for each statement.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("BEGIN EXCLUSIVE")
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise DatabaseBusyError(
                f"{path} is in use by another process; set SANDBOX_DIR to another folder"
            ) from error
        self._connection.execute("PRAGMA synchronous = NORMAL")
        # SQLite's own lower() knows only ASCII.
        self._connection.create_function("fold", 1, str.casefold, deterministic=True)
        self._connection.executescript(_SCHEMA)

    def one(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """Give the first row, or None."""
        row: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Give all rows."""
        return self._connection.execute(sql, values).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Change something, and give the number of rows that were changed."""
        return self._connection.execute(sql, values).rowcount

    def secret(self) -> str:
        """Give the key that signs URLs, made at first use: URLs survive a restart."""
        self.run("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_urlsafe(32),))
        row = self.one("SELECT value FROM meta WHERE name = 'secret'")
        return str(row["value"]) if row else ""

    def clear(self) -> None:
        """Forget everything, the signing key too."""
        for table in ("meta", "objects", "assets", "generations", "voices"):
            self.run(f"DELETE FROM {table}")  # noqa: S608 - the names are constants

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
