"""The folder of the sandbox's data. It has a lock, a format and the upstream's key."""

import fcntl
import os
import secrets
import sys
from pathlib import Path
from typing import IO

# Increase the format when older data must not be used. Format 1, which had no format file, may hold
# functions that a foreign web page put into the emulator.
FORMAT = "2"
_FORMAT_FILE = "format"
_LOCK = "lock"
_KEY = "api-key"
_DATA = {"dynamodb", "logs", "upstream"}
_OURS = _DATA | {_KEY, _LOCK, _FORMAT_FILE, "tmp", ".DS_Store"}


def open_folder(folder: Path) -> IO[str]:
    """Lock the folder for this process and return the lock, or exit with a message.

    Data of an older version is moved to another folder and never deleted.
    """
    if folder.exists() and not is_current(folder) and (others := _foreign_files(folder)):
        sys.exit(
            f"{folder} has files that are not the sandbox's, such as {others[0]}."
            " Choose another folder: SANDBOX_DIR=..."
        )
    lock = _lock(folder)
    if not is_current(folder) and _has_data(folder):
        elsewhere = _free_name(folder)
        folder.rename(elsewhere)
        elsewhere.chmod(0o700)
        print(f"The data of an older version was moved to {elsewhere}", flush=True)
        lock.close()
        lock = _lock(folder)
    folder.chmod(0o700)
    _write_format(folder)
    (folder / "tmp").mkdir(exist_ok=True)
    return lock


def is_current(folder: Path) -> bool:
    """Whether the folder has this version's format."""
    try:
        return (folder / _FORMAT_FILE).read_text().strip() == FORMAT
    except OSError:
        return False


def prepare(folder: Path) -> None:
    """Create the folder for a part that runs without `make run`, which can use it later."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _has_data(folder):
        _write_format(folder)


def api_key(folder: Path) -> str:
    """Return the folder's key for the upstream, which the first call creates.

    Raises:
        OSError: The file can't be read or written.
        ValueError: The file is empty.
    """
    path = folder / _KEY
    if not path.exists():
        _create(path, f"sandbox-{secrets.token_hex(16)}\n")
    path.chmod(0o600)
    key = path.read_text().strip()
    if not key:
        raise ValueError(f"{path} is empty. Delete it to get a new key.")
    return key


def _create(path: Path, text: str) -> None:
    """Create a private file atomically, unless another process has created it."""
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


def _write_format(folder: Path) -> None:
    (folder / _FORMAT_FILE).write_text(f"{FORMAT}\n")


def _has_data(folder: Path) -> bool:
    return any((folder / name).exists() for name in (*_DATA, _FORMAT_FILE))


def _foreign_files(folder: Path) -> list[str]:
    return sorted({path.name for path in folder.iterdir()} - _OURS)


def _free_name(folder: Path) -> Path:
    number = 1
    while (found := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    return found
