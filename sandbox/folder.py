"""The folder in which the sandbox keeps its data: one owner, one format, and a key of its own."""

import fcntl
import os
import secrets
import sys
from pathlib import Path
from typing import IO

# Raised whenever data of an older version must not be used: format 1, which had no mark, kept the
# functions that any web page could put into the emulator.
FORMAT = "2"
_MARK = "format"
_LOCK = "lock"
_KEY = "api-key"
_DATA = {"dynamodb", "logs", "upstream"}
_OURS = _DATA | {_KEY, _LOCK, _MARK, "tmp", ".DS_Store"}


def own(folder: Path) -> IO[str]:
    """Take the folder for this process alone, or end with a message.

    Data of an older version is moved out of the way, never deleted.
    """
    if folder.exists() and not is_current(folder) and (others := _strangers(folder)):
        sys.exit(
            f"{folder} holds other files than the sandbox's, such as {others[0]}."
            " Choose another folder: SANDBOX_DIR=..."
        )
    lock = _lock(folder)
    if not is_current(folder) and _has_data(folder):
        elsewhere = _free_name(folder)
        folder.rename(elsewhere)
        elsewhere.chmod(0o700)
        print(f"The data of an older version was set aside: {elsewhere}", flush=True)
        lock.close()
        lock = _lock(folder)
    folder.chmod(0o700)
    _mark(folder)
    (folder / "tmp").mkdir(exist_ok=True)
    return lock


def is_current(folder: Path) -> bool:
    """Whether this version's data is in the folder."""
    try:
        return (folder / _MARK).read_text().strip() == FORMAT
    except OSError:
        return False


def prepare(folder: Path) -> None:
    """Make the folder for a part that runs alone, so that `make run` takes it over later."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _has_data(folder):
        _mark(folder)


def api_key(folder: Path) -> str:
    """Return the folder's key for the upstream; it is made up when it is first asked for.

    Raises:
        OSError: The file can't be read or written.
        ValueError: The file holds no key.
    """
    path = folder / _KEY
    if not path.exists():
        _create(path, f"sandbox-{secrets.token_hex(16)}\n")
    path.chmod(0o600)
    key = path.read_text().strip()
    if not key:
        raise ValueError(f"{path} is empty. Delete it, and a new key is made up.")
    return key


def _create(path: Path, text: str) -> None:
    """Write a private file as one step; whoever comes second leaves the first one's alone."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return
    finally:
        draft.unlink()


def _lock(folder: Path) -> IO[str]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = (folder / _LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"Another sandbox runs in {folder}. Choose another folder: SANDBOX_DIR=...")
    return lock


def _mark(folder: Path) -> None:
    (folder / _MARK).write_text(f"{FORMAT}\n")


def _has_data(folder: Path) -> bool:
    return any((folder / name).exists() for name in (*_DATA, _MARK))


def _strangers(folder: Path) -> list[str]:
    return sorted({path.name for path in folder.iterdir()} - _OURS)


def _free_name(folder: Path) -> Path:
    number = 1
    while (found := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    return found
