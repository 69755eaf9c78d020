"""Run the operator's commands: in this process, or as a program at a terminal."""

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

KEY = "sk-marked-KEY-00112233"  # the output of each command is searched for it
TOKENS = "marked-SECRET-of-the-tokens-0123456789abcdef"
SECRETS = f"SYNC_API_KEY={KEY}\nJWT_SECRET={TOKENS}\n"


@dataclass(frozen=True)
class Result:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on standard output."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    def outcomes(self) -> dict[str, list[str]]:
        """Return the details of the steps by their outcomes."""
        found: dict[str, list[str]] = {}
        for step in self.document["steps"]:
            found.setdefault(step["outcome"], []).append(step["detail"])
        return found


def not_ok(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the doctor's findings that are not OK, but for those that depend on the date."""
    dated = ("runtime", "Python")
    return [one for one in findings if one["state"] != "ok" and not one["subject"].endswith(dated)]


@cache
def _account(*_: str | None) -> Account:
    return Account()


def cached_account(_: str | None = None) -> Account:
    """Return the same account for the same environment, since creating clients is slow."""
    names = sorted(name for name in os.environ if name.startswith("AWS_"))
    return _account(*(os.environ[name] for name in names))


def run(folder: Path, *arguments: str, stdin: str = "") -> Result:
    """Run a command in this process, with the input in a pipe; its output must hold no secret."""
    out, err = io.StringIO(), io.StringIO()
    project = ["--project-dir", str(folder)]
    try:
        code = ops.main(
            [arguments[0], *project, *arguments[1:]], out, err, io.StringIO(stdin), cached_account
        )
    except SystemExit as end:  # from argparse
        code = int(end.code or 0)
    result = Result(code, out.getvalue(), err.getvalue())
    for text in (result.out, result.err):
        assert KEY not in text
        assert TOKENS not in text
    return result


def commit(folder: Path, *names: str) -> None:
    """Commit files of a repository."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for command in (["add", "--", *names], [*who, "commit", "--quiet", "--message=all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


@dataclass(frozen=True)
class TerminalResult:
    """The exit code of a program, and the content of its terminal."""

    code: int
    screen: str


def at_terminal(folder: Path, *arguments: str, keys: list[tuple[str, str]]) -> TerminalResult:
    """Run a command as a program at a terminal, and type, as `type_into` does."""
    command = [sys.executable, "-m", "ops", arguments[0], "--project-dir", str(folder)]
    return type_into([*command, *arguments[1:]], ROOT, keys)


def type_into(
    command: list[str],
    folder: Path,
    keys: list[tuple[str, str]],
    environment: dict[str, str] | None = None,
) -> TerminalResult:
    """Run a program at a terminal, and type.

    Args:
        command: The program and its arguments.
        folder: The working folder.
        keys: Pairs of a text to wait for, and the keys to type then.
        environment: The program's environment, if it is not this process's.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        # getpass writes its question to the controlling terminal, not to stderr.
        ["setsid", "--ctty", "--wait", *command],
        cwd=folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    screen = ""
    for prompt, text in keys:
        screen = _read_until(ours, screen, prompt)
        time.sleep(0.05)  # getpass writes the question before it turns the echo off
        os.write(ours, text.encode())
    screen = _read_until(ours, screen, None)
    code = process.wait(timeout=20)
    os.close(ours)
    return TerminalResult(code, screen)


def _read_until(terminal: int, screen: str, wanted: str | None) -> str:
    """Read until new output contains a text, or to the end; return the whole output."""
    seen = len(screen)
    while wanted is None or wanted not in screen[seen:]:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # on Linux, nobody has the other end open any more
            chunk = b""
        if not chunk:
            assert wanted is None, f"the output lacks {wanted!r}: {screen}"
            break
        screen += chunk.decode()
    return screen
