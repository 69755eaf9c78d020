"""The commands' output: results on standard output, progress on standard error, and no secrets.

Everybody who has a key of the organisation can name assets. In a terminal, an escape sequence in a
name could hide lines, and a bidirectional control character could reverse an id.
"""

import json
from collections.abc import Mapping
from typing import Any, TextIO

FINE = 0
WRONG = 1
USAGE = 2
UNREACHABLE = 3
_SHORTEST = 6  # masking a shorter text would mask parts of ordinary words


class Problem(Exception):  # noqa: N818 - a message to the operator, not a defect
    """The reason why a command ends early.

    Args:
        message: What is wrong.
        advice: How to fix it.
        code: The exit code.
    """

    def __init__(self, message: str, advice: str = "", code: int = WRONG) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.code = code


def printable(text: str) -> str:
    """Return a text in which each character that is not printable is replaced by an escape."""
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


class Terminal:
    """The output of a command. It masks secrets as `***`, and escapes unprintable characters.

    Args:
        out: The stream for results.
        err: The stream for progress, questions and failures.
        as_json: Whether the result is a JSON document instead of text.
    """

    def __init__(self, out: TextIO, err: TextIO, *, as_json: bool) -> None:
        self._out = out
        self._err = err
        self._as_json = as_json
        self._hidden: set[str] = set()

    def hide(self, secret: str) -> None:
        """Mask a secret in all further output; AWS, Sync or an exception may quote it."""
        for part in {secret, *(one.strip() for one in secret.split(","))}:
            if len(part) >= _SHORTEST:
                # The secret may also occur as JSON and Python escape it.
                self._hidden |= {part, json.dumps(part)[1:-1], repr(part)[1:-1]}

    def masked(self, text: str) -> str:
        """Return a text with its secrets masked."""
        for secret in sorted(self._hidden, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def progress(self, text: str) -> None:
        """Show progress. Line breaks in the text are kept."""
        shown = "\n".join(map(printable, self.masked(text).split("\n")))
        print(shown, file=self._err, flush=True)

    def result(self, lines: list[str], document: Mapping[str, Any]) -> None:
        """Write the result, as text or as JSON."""
        if self._as_json:
            # `json.dumps` escapes every other character that is not printable ASCII.
            text = self.masked(json.dumps(document, indent=2)).replace("\x7f", "\\u007f")
        else:
            text = "\n".join(printable(self.masked(line)) for line in lines)
        print(text, file=self._out, flush=True)

    def failed(self, command: str, problem: Problem) -> None:
        """Report why the command ended early, with --json also as the result."""
        lines = [f"{command}: {problem.message}", *([problem.advice] if problem.advice else [])]
        # Line breaks are escaped: a message can't imitate further lines of the command.
        lines = [printable(self.masked(line)) for line in lines]
        if self._as_json:
            error = {"message": problem.message, "advice": problem.advice}
            self.result([], {"command": command, "exitCode": problem.code, "error": error})
        self.progress("\n".join(lines))
