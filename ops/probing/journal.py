"""What the probe is about to make, on disk before each call, so that a later run can delete it.

    begin(url, digest) ── POST /v2/assets ──► made(id) ── DELETE ──► end
                              │ refused: end
                              └ killed or no response: the next run searches, and ends it when old

The file has one JSON object on each line. A line is on disk before its call is sent. A last line
that was cut off is ignored: its call was never sent.
"""

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from ops.terminal import USAGE, Problem

FOLDER = "sync-probe"  # the default, in the project's folder
FILE = "journal.jsonl"
_HEAD = {"event": "journal", "of": "python -m ops probe", "format": 1}


@dataclass(frozen=True)
class Intent:
    """A registration that was sent or was about to be sent.

    Attributes:
        id: Identifies it in the file.
        base_url: The Sync that it was sent to.
        run: The random mark of its run, which is in the names of its file and asset.
        at: Milliseconds since 1970.
        sha256: The digest of the uploaded bytes, in hex; empty without any.
        asset_id: The asset that it made, if that is known.
    """

    id: str
    base_url: str
    run: str
    at: int
    sha256: str
    asset_id: str | None = None


class Journal:
    """The journal of a folder, which one process uses at a time.

    Args:
        folder: The folder, which is created.

    Raises:
        Problem: The folder has foreign files, or another probe uses it.
    """

    def __init__(self, folder: Path, outputs: tuple[str, ...]) -> None:
        self.folder = folder
        self._outputs = outputs
        self._written: dict[str, set[str]] = {}
        self._open: dict[str, Intent] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._check_ours()
            self._file: IO[str] = (folder / FILE).open("a+", encoding="utf-8")
        except OSError as error:
            message = f"{folder} can't be used ({error.strerror})."
            raise Problem(message, "Choose another folder with --out.", USAGE) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            message = f"Another probe uses {folder}."
            raise Problem(message, "Wait for it, or choose another --out.", USAGE) from error
        (folder / FILE).chmod(0o600)
        self._read()
        self._append(_HEAD)

    def _check_ours(self) -> None:
        """Refuse a folder whose files are not those that an earlier run has written."""
        for event in _events(self.folder / FILE):
            if event["event"] == "wrote":
                self._written.setdefault(event["file"], set()).add(event["sha256"])
        foreign = [] if _is_journal(self.folder / FILE) else [FILE]
        for name in self._outputs:
            path = self.folder / name
            if path.exists() and _digest(path.read_bytes()) not in self._written.get(name, ()):
                foreign.append(name)
        if foreign:
            message = f"{self.folder / foreign[0]} is not the output of an earlier probe."
            raise Problem(message, "Move it away, or choose another folder with --out.", USAGE)

    def _read(self) -> None:
        for event in _events(self.folder / FILE):
            if event["event"] == "begin":
                fields = {name: value for name, value in event.items() if name != "event"}
                self._open[event["id"]] = Intent(**fields)
            elif event["event"] == "made" and event["id"] in self._open:
                intent = self._open[event["id"]]
                self._open[event["id"]] = replace(intent, asset_id=event["asset"])
            elif event["event"] == "end":
                self._open.pop(event["id"], None)
        if self._file.tell() and not _ends_a_line(self.folder / FILE):
            self._file.write("\n")

    @property
    def open_intents(self) -> list[Intent]:
        """The registrations whose assets may exist, oldest first."""
        return list(self._open.values())

    def begin(self, *, base_url: str, run: str, at: int, sha256: str) -> Intent:
        """Record that a registration is about to be sent."""
        intent = Intent(secrets.token_hex(8), base_url, run, at, sha256)
        fields = {name: value for name, value in vars(intent).items() if name != "asset_id"}
        self._append({"event": "begin", **fields})
        self._open[intent.id] = intent
        return intent

    def made(self, intent: Intent, asset_id: str) -> None:
        """Record the asset that a registration has made."""
        self._append({"event": "made", "id": intent.id, "asset": asset_id})
        self._open[intent.id] = replace(intent, asset_id=asset_id)

    def end(self, intent: Intent) -> None:
        """Record that a registration made nothing, or that its asset is deleted."""
        self._append({"event": "end", "id": intent.id})
        self._open.pop(intent.id, None)

    def write(self, name: str, text: str) -> None:
        """Write one of the outputs, which the next run may replace."""
        content = text.encode()
        # First the journal: if the process is killed in between, the old file is still ours.
        self._append({"event": "wrote", "file": name, "sha256": _digest(content)})
        draft = self.folder / f"{name}.tmp"
        draft.write_bytes(content)
        draft.replace(self.folder / name)

    def close(self) -> None:
        """Let another process use the folder."""
        self._file.close()

    def _append(self, event: dict[str, Any]) -> None:
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _is_journal(path: Path) -> bool:
    """Whether a file is a journal, maybe one that was cut off, or does not exist."""
    if not path.exists():
        return True
    first = next(_events(path), None)
    if first is not None:
        return first == _HEAD
    return json.dumps(_HEAD).startswith(path.read_text(encoding="utf-8", errors="replace"))


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a journal, without lines that were cut off."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


def _ends_a_line(path: Path) -> bool:
    return path.read_bytes().endswith(b"\n")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
