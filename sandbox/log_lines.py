"""The logs of the sandbox's servers: one line for each event. Uses the standard library only.

An exception's text may quote what a client sent, such as the bytes of a file. So a line has the
exception's type and its location in the code, but not its text.
"""

import logging
import sys
import traceback
from pathlib import Path
from typing import TextIO

_LONGEST = 300  # characters of a message
_FRAMES = 3  # innermost frames that are logged


class OneLineFormatter(logging.Formatter):
    """Formats a record as one line, without the text of exceptions."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        parts = [self.formatTime(record), record.levelname, record.name, _message(record)]
        if record.exc_info and record.exc_info[1] is not None:
            parts.append(f"({describe(record.exc_info[1])})")
        return " ".join(parts)


def install(stream: TextIO | None = None) -> None:
    """Configure every logger of this process to write to a stream, by default standard error."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(OneLineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _message(record: logging.LogRecord) -> str:
    if isinstance(record.args, tuple):
        record.args = tuple(
            type(one).__name__ if isinstance(one, BaseException) else one for one in record.args
        )
    # Further lines describe objects and may include an exception's text.
    first, *_ = record.getMessage().splitlines() or [""]
    return first[:_LONGEST]


def describe(error: BaseException) -> str:
    """Return an exception's type and its innermost frames, without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    locations = [f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in reversed(frames)]
    return " < ".join([type(error).__name__, *locations])
