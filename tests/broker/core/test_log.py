"""The log's lines, and a log that can't be written."""

import io
import json
from collections.abc import Iterator

import pytest

from chalicelib.core import log


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Configure the log as it is by default when the test is over."""
    yield
    log.configure("INFO")


def test_line_begins_with_time_and_level() -> None:
    """A line is one JSON object, and begins with the time and the level."""
    stream = io.StringIO()
    log.configure("INFO", stream)
    log.event("began", level=30, text="one\ntwo")
    line = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert list(line) == ["time", "level", "event", "text"]
    assert line["level"] == "WARNING"
    assert line["time"].endswith("+00:00")


def test_lower_level_is_not_written() -> None:
    """An event below the level is not written."""
    stream = io.StringIO()
    log.configure("ERROR", stream)
    log.event("began", level=30)
    assert not stream.getvalue()


def test_closed_stream_fails_nothing() -> None:
    """An event can be logged although nobody reads the log any more."""
    stream = io.StringIO()
    log.configure("INFO", stream)
    stream.close()
    log.event("began")
