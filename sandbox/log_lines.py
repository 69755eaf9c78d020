"""The logs of the sandbox's servers: one line for an event. Standard library alone.

An exception's own text may quote what a client sent, such as a file's bytes that came where a
request should begin. So a line has the exception's type and its place in the code, not its text.
"""

import logging
import sys
import traceback
from pathlib import Path
from typing import TextIO

_LONGEST = 300  # characters of a message
_FRAMES = 3  # the innermost ones


class OneLine(logging.Formatter):
    """Writes a record as one line without anything that a client sent."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        parts = [self.formatTime(record), record.levelname, record.name, _message(record)]
        if record.exc_info and record.exc_info[1] is not None:
            parts.append(f"({place(record.exc_info[1])})")
        return " ".join(parts)


def install(stream: TextIO | None = None) -> None:
    """Let every logger of this process write such lines to a stream, standard error by default."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _message(record: logging.LogRecord) -> str:
    if isinstance(record.args, tuple):
        record.args = tuple(
            type(one).__name__ if isinstance(one, BaseException) else one for one in record.args
        )
    # Further lines describe objects, an exception's text included.
    first, *_ = record.getMessage().splitlines() or [""]
    return first[:_LONGEST]


def place(error: BaseException) -> str:
    """Return an exception's type and the innermost places in the code that it went through."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = [f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in reversed(frames)]
    return " < ".join([type(error).__name__, *places])
