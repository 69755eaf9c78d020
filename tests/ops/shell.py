"""An operator's shell: runs the commands, in this process or as a program at a terminal."""

import io
import json
import os
import pty
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ops import __main__ as ops
from ops.account import Account
from tests.support.upstream_process import ROOT

KEY = "sk-marked-KEY-00112233"  # searched for in all that comes out
TOKENS = "marked-SECRET-of-the-tokens-0123456789abcdef"
SECRETS = f"SYNC_API_KEY={KEY}\nJWT_SECRET={TOKENS}\n"


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Read its JSON, which is all that is on standard output."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    def outcomes(self) -> dict[str, list[str]]:
        """Sort the details of the steps by what came of them."""
        found: dict[str, list[str]] = {}
        for step in self.document["steps"]:
            found.setdefault(step["outcome"], []).append(step["detail"])
        return found


@cache
def _account(*_: str | None) -> Account:
    return Account()


def known(_: str | None = None) -> Account:
    """Take the same account for the same environment: making clients takes most of the time."""
    names = sorted(name for name in os.environ if name.startswith("AWS_"))
    return _account(*(os.environ[name] for name in names))


def run(folder: Path, *arguments: str, stdin: str = "") -> Said:
    """Run a command in this process, whose environment is the shell's; stdin is a pipe."""
    out, err = io.StringIO(), io.StringIO()
    where = ["--project-dir", str(folder)]
    try:
        code = ops.main([arguments[0], *where, *arguments[1:]], out, err, io.StringIO(stdin), known)
    except SystemExit as end:  # argparse's own
        code = int(end.code or 0)
    said = Said(code, out.getvalue(), err.getvalue())
    for text in (said.out, said.err):
        assert KEY not in text
        assert TOKENS not in text
    return said


@dataclass(frozen=True)
class Typed:
    """What was seen at a terminal, and the exit code."""

    code: int
    screen: str


def at_terminal(folder: Path, *arguments: str, keys: list[tuple[str, str]]) -> Typed:
    """Run a command as a program at a terminal of its own, and type; `typed` says how."""
    command = [sys.executable, "-m", "ops", arguments[0], "--project-dir", str(folder)]
    return typed([*command, *arguments[1:]], ROOT, keys)


def typed(
    command: list[str],
    folder: Path,
    keys: list[tuple[str, str]],
    environment: dict[str, str] | None = None,
) -> Typed:
    """Run a program at a terminal of its own, and type.

    Args:
        command: The program.
        folder: Where.
        keys: What to type, each after a text that is waited for.
        environment: Its environment, if not the shell's.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        # A terminal of its own, as a login has: the question goes there, not to stderr.
        ["setsid", "--ctty", "--wait", *command],
        cwd=folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    screen = ""
    for prompt, answer in keys:
        screen = _until(ours, screen, prompt)
        time.sleep(0.05)  # the question is there before the echo is off
        os.write(ours, answer.encode())
    screen = _until(ours, screen, None)
    code = process.wait(timeout=20)
    os.close(ours)
    return Typed(code, screen)


def _until(terminal: int, screen: str, wanted: str | None) -> str:
    """Read until a text stands on the screen for the first time, or to the end."""
    seen = len(screen)
    while wanted is None or wanted not in screen[seen:]:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that nobody has the other end open any more
            chunk = b""
        if not chunk:
            assert wanted is None, f"{wanted!r} never came: {screen}"
            break
        screen += chunk.decode()
    return screen
