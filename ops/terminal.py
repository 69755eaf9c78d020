"""What the commands say: results on standard output, progress on standard error, no secret.

Names come from whoever uploads with any key of the organisation. In a terminal an escape sequence
among them could hide lines, and a control character of the writing direction turn an id around.
"""

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


def printable(text: str) -> str:
    """Write what moves a terminal's cursor or changes its direction as an escape."""
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


class Terminal:
    """Where a command writes. Whatever was given to `hide` comes out as `***`.

    Nothing but printable characters comes out, whoever has named what is shown.

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
        """Say what is being done; a text of several lines is shown in lines."""
        shown = "\n".join(map(printable, self.masked(text).split("\n")))
        print(shown, file=self._err, flush=True)

    def result(self, lines: list[str], document: Mapping[str, Any]) -> None:
        """Say what came out of it, in words or as JSON."""
        if self._as_json:
            # JSON escapes all that is not ASCII, and of ASCII all that does not print but this one.
            text = self.masked(json.dumps(document, indent=2)).replace("\x7f", "\\u007f")
        else:
            text = "\n".join(printable(self.masked(line)) for line in lines)
        print(text, file=self._out, flush=True)

    def failed(self, command: str, problem: Problem) -> None:
        """Say why the command ended early; as JSON too, where that was asked for."""
        said = [f"{command}: {problem.message}", *([problem.advice] if problem.advice else [])]
        # A line break in somebody's text begins no line that looks like the command's own.
        said = [printable(self.masked(line)) for line in said]
        if self._as_json:
            error = {"message": problem.message, "advice": problem.advice}
            self.result([], {"command": command, "exitCode": problem.code, "error": error})
        self.progress("\n".join(said))
