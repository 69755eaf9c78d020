"""The log: one JSON line for each request, and one for each event.

No caller of `event` or `note` passes a token, a key, a signed URL or a query string, so no line
contains one.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO

from chalicelib.core import metrics

# It decides by their levels which lines are written. It does not write them, since looking for the
# caller, the thread and the process, which no line has, takes longer than all the rest.
_logger = logging.getLogger("broker")
_stream: TextIO = sys.stderr
# The table's name if CloudWatch reads the log; elsewhere the lines carry no metrics.
_table: str | None = None
# CloudWatch charges each byte.
_to_json = json.JSONEncoder(default=str, separators=(",", ":")).encode


@dataclass
class RequestRecord:
    """The current request.

    Attributes:
        request_id: The gateway's id, or one that the broker made; the response's `X-Request-Id`.
        method: HTTP method.
        route: The route's pattern, not the path, which may contain ids.
        started: Reading of the monotonic clock in seconds.
        upstream_calls: HTTP requests sent to Sync.
        upstream_seconds: Time spent waiting for Sync.
        dynamodb_calls: HTTP requests sent to DynamoDB, retries included.
        dynamodb_seconds: Time spent waiting for DynamoDB.
        fields: Further fields of the line: `uploadId`, `caller`, `code`.
    """

    request_id: str
    method: str
    route: str
    started: float
    upstream_calls: int = 0
    upstream_seconds: float = 0.0
    dynamodb_calls: int = 0
    dynamodb_seconds: float = 0.0
    fields: dict[str, Any] = field(default_factory=dict)


# A container handles one request at a time; the local gateway handles many, each in a thread.
_current: ContextVar[RequestRecord | None] = ContextVar("request", default=None)


def start(record: RequestRecord) -> None:
    """Count this thread's calls on a request from now on."""
    _current.set(record)


def note(**fields: Any) -> None:
    """Add fields to the current request's line."""
    if record := _current.get():
        record.fields.update(fields)


def request_id() -> str | None:
    """Return the id of the current request, or None."""
    record = _current.get()
    return record.request_id if record else None


def count_upstream(seconds: float) -> None:
    """Count one HTTP request to Sync."""
    if record := _current.get():
        record.upstream_calls += 1
        record.upstream_seconds += seconds


def dynamodb_sent() -> None:
    """Count one HTTP request to DynamoDB."""
    if record := _current.get():
        record.dynamodb_calls += 1


def dynamodb_spent(seconds: float) -> None:
    """Add the time of one call to DynamoDB, including its repetitions."""
    if record := _current.get():
        record.dynamodb_seconds += seconds


@contextmanager
def uncounted() -> Iterator[None]:
    """Count nothing on the current request: the calls inside are the container's."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def finish(record: RequestRecord, status: int) -> None:
    """Write the request's line."""
    elapsed = time.monotonic() - record.started
    level = logging.ERROR if status >= 500 else logging.INFO  # noqa: PLR2004 - server errors
    waits = {
        "upstreamMs": (record.upstream_calls, record.upstream_seconds),
        "dynamodbMs": (record.dynamodb_calls, record.dynamodb_seconds),
    }
    event(
        "request",
        level=level,
        requestId=record.request_id,
        method=record.method,
        route=record.route,
        status=status,
        durationMs=_milliseconds(elapsed),
        upstreamCalls=record.upstream_calls,
        dynamodbCalls=record.dynamodb_calls,
        **{name: _milliseconds(seconds) for name, (calls, seconds) in waits.items() if calls},
        **record.fields,
    )
    _current.set(None)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def event(name: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Write one line of JSON about something that happened."""
    if _logger.isEnabledFor(level):
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "level": logging.getLevelName(level), "event": name, **fields}
        if _table is not None:
            line |= metrics.embedded(line, _table, time.time_ns() // 1_000_000)
        # In one piece, so that threads do not mix their lines.
        text = _to_json(line) + "\n"
        # A line that can't be written, such as to a closed pipe, must not fail the request.
        with suppress(OSError, ValueError):
            _stream.write(text)
            _stream.flush()


def transition(upload_id: str, state: str, **fields: Any) -> None:
    """Write one line for an upload's transition, from which uploads are counted by state."""
    event("upload", uploadId=upload_id, state=str(state), **fields)


def failure(name: str, error: BaseException) -> None:
    """Write the type and the frames of an unexpected exception, not its text.

    The text may contain what a caller sent, or a signed URL.
    """
    frames = []
    frame = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        frames.append(f"{code.co_filename.rpartition('/')[2]}:{frame.tb_lineno} {code.co_name}")
        frame = frame.tb_next
    event(
        name,
        level=logging.ERROR,
        requestId=request_id(),
        exception=type(error).__name__,
        frames=frames,
    )


def configure(level: str, stream: TextIO | None = None, table: str | None = None) -> None:
    """Configure where the log is written.

    Args:
        level: The lowest level that is written.
        stream: Where lines are written; standard output by default.
        table: The table's name, if lines carry metrics.
    """
    # As the logger, there is one of each for each container.
    global _stream, _table
    _stream, _table = stream or sys.stdout, table
    _logger.setLevel(level)
