"""The logs of the sandbox's servers when clients send invalid requests."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from sandbox.log_lines import OneLineFormatter
from tests.support.broken_http import (
    LONGEST_LINE,
    SECRET,
    assert_short_log,
    broken_requests,
    exchange,
)
from tests.support.upstream_process import PAGE, ROOT, RunningUpstream, free_port, put


def test_upstream_logs_one_line_per_broken_request(start: Callable[..., RunningUpstream]) -> None:
    """The upstream logs at most one line for each invalid request."""
    upstream = start()
    presigned = upstream.presign()
    url = urlsplit(presigned["uploadUrl"])

    def head(more: str) -> bytes:
        return (
            f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n"
            f"Content-Type: video/mp4\r\n{more}\r\n"
        ).encode()

    def head_of_call(more: str) -> bytes:
        return (
            f"POST /v2/assets HTTP/1.1\r\nHost: {url.netloc}\r\nx-api-key: test-key\r\n"
            f"Content-Type: application/json\r\n{more}\r\n"
        ).encode()

    wrong = [*broken_requests(upstream.port, head), *broken_requests(upstream.port, head_of_call)]
    for parts in wrong:
        exchange(upstream.port, *parts)
    assert put(presigned["uploadUrl"], b"hello").status_code == 200
    assert requests.get(presigned["url"], timeout=5).content == b"hello"
    assert upstream.stop() == 0
    assert_short_log(upstream.stderr, len(wrong))


def test_upstream_logs_its_own_failure(start: Callable[..., RunningUpstream]) -> None:
    """An internal failure is S3's 500 and one log line with the location in the code."""
    upstream = start()
    presigned = upstream.presign()
    (upstream.folder / "upstream" / "tmp").rmdir()
    response = put(presigned["uploadUrl"], SECRET.encode(), origin=PAGE)
    assert response.status_code == 500
    assert "<Code>InternalError</Code>" in response.text
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert upstream.stop() == 0
    assert_short_log(upstream.stderr, 1)
    assert "FileNotFoundError" in upstream.stderr


def test_demo_logs_one_line_per_broken_request(tmp_path: Path) -> None:
    """The demo logs at most one line for each invalid request."""
    port = free_port()
    path = tmp_path / "log"
    with path.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.demo"],
            cwd=ROOT,
            env={**os.environ, "DEMO_PORT": str(port), "JWT_SECRET": "x" * 32},
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            assert process.stdout is not None
            process.stdout.readline()
            wrong = broken_requests(
                port,
                lambda more: f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{more}\r\n".encode(),
            )
            for parts in wrong:
                exchange(port, *parts)
        finally:
            process.terminate()
            process.communicate(timeout=10)
    assert_short_log(path.read_text(), len(wrong))


def log_line(message: str, *arguments: object, error: BaseException | None = None) -> str:
    """Return a formatted record."""
    where = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("of.test", logging.ERROR, "x.py", 1, message, arguments, where)
    return OneLineFormatter().format(record)


def raised(error: BaseException) -> BaseException:
    """Return the error with a traceback."""
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    "line",
    [
        log_line("It broke", error=raised(ValueError(SECRET))),
        log_line("It broke: %s", ValueError(SECRET), error=raised(ValueError(SECRET))),
        log_line(f"Task exception was never retrieved\nfuture: <Task {SECRET}>"),
        log_line("long " * 1000),
        log_line("", error=asyncio.CancelledError(SECRET)),
    ],
    ids=["error", "argument", "task", "long", "cancelled"],
)
def test_log_line_has_no_exception_text(line: str) -> None:
    """A record is one short line without an exception's text."""
    assert "ERROR of.test" in line
    assert "\n" not in line
    assert SECRET not in line
    assert len(line) < LONGEST_LINE


def test_log_line_has_exception_location() -> None:
    """An exception's line has its type and its location in the code."""
    assert "(KeyError < test_logs.py:" in log_line("x", error=raised(KeyError("x")))
