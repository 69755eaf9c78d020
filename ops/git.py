"""Ask git about files of the project."""

import subprocess
from pathlib import Path

from ops.terminal import Problem


def untracked(folder: Path, *names: str) -> list[str]:
    """Return the files with these names, or in these folders, that git does not track.

    Raises:
        Problem: Git can't be asked.
    """
    return _ask(folder, "ls-files", "--others", "-z", "--", *names)


def is_committed(folder: Path, name: str) -> bool:
    """Whether the last commit has a file as it is now.

    Raises:
        Problem: Git can't be asked.
    """
    return not _ask(folder, "status", "--porcelain", "--ignored", "-z", "--", name)


def _ask(folder: Path, *arguments: str) -> list[str]:
    try:
        done = subprocess.run(  # noqa: S603 - git, with no input of others
            ["git", *arguments],  # noqa: S607 - the git that the operator uses
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise Problem(f"git can't be asked ({error.strerror})") from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason"])[0]
        raise Problem(f"git can't list your files: {reason}")
    return [line for line in done.stdout.split("\0") if line]
