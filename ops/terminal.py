"""What the commands say: results on standard output, progress on standard error, no secret."""

import json
from collections.abc import Mapping
from typing import Any, TextIO

FINE = 0
WRONG = 1
USAGE = 2
UNREACHABLE = 3
_SHORTEST = 6  # a shorter text is no secret, and would blot out words


class Problem(Exception):  # noqa: N818 - what an operator is told, not a defect
    """Why a command ends early.

    Args:
        message: What is wrong.
        advice: What to do about it.
        code: The exit code.
    """

    def __init__(self, message: str, advice: str = "", code: int = WRONG) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.code = code


class Terminal:
    """Where a command writes. Whatever was given to `hide` comes out as `***`.

    Args:
        out: Results.
        err: Progress, questions and failures.
        as_json: Whether the results are one JSON document instead of words.
    """

    def __init__(self, out: TextIO, err: TextIO, *, as_json: bool) -> None:
        self._out = out
        self._err = err
        self._as_json = as_json
        self._hidden: set[str] = set()

    def hide(self, secret: str) -> None:
        """Let a secret never come out, whoever says it back: AWS, sync. or an exception."""
        for part in {secret, *(one.strip() for one in secret.split(","))}:
            if len(part) >= _SHORTEST:
                # As it is, and as it stands in JSON and in Python's own quotes.
                self._hidden |= {part, json.dumps(part)[1:-1], repr(part)[1:-1]}

    def masked(self, text: str) -> str:
        """Return a text without the secrets."""
        for secret in sorted(self._hidden, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def progress(self, text: str) -> None:
        """Say what is being done."""
        print(self.masked(text), file=self._err, flush=True)

    def result(self, lines: list[str], document: Mapping[str, Any]) -> None:
        """Say what came out of it, in words or as JSON."""
        text = json.dumps(document, indent=2) if self._as_json else "\n".join(lines)
        print(self.masked(text), file=self._out, flush=True)

    def failed(self, command: str, problem: Problem) -> None:
        """Say why the command ended early; as JSON too, where that was asked for."""
        said = [f"{command}: {problem.message}", *([problem.advice] if problem.advice else [])]
        if self._as_json:
            error = {"message": problem.message, "advice": problem.advice}
            self.result([], {"command": command, "exitCode": problem.code, "error": error})
        self.progress("\n".join(said))
