"""What the sandbox's servers write into their logs when a client misbehaves."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from upstream_process import PAGE, ROOT, RunningUpstream, free_port, put

from sandbox.log_lines import OneLine

SECRET = "BYTES-OF-A-FILE"
FLOOD = SECRET.encode() * 10_000
LONGEST_LINE = 500


def converse(port: int, *parts: bytes) -> bytes:
    """Send this over one connection, say that it is all, and give what comes back."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            while received := connection.recv(65_536):
                answer += received
        except ConnectionError:
            pass  # The server had enough of it.
    return answer


def misbehaviours(port: int, head: Callable[[str], bytes]) -> list[tuple[bytes, ...]]:
    """Give what clients send that is not, or not only, a request.

    Args:
        port: The server's.
        head: Makes a good request's head with these header lines added.
    """
    own_name = f"Host: 127.0.0.1:{port}\r\n\r\n".encode()
    return [
        (head("Content-Length: 5\r\n"), b"hello" + FLOOD),
        (head("Content-Length: 5\r\n"), b"hello\x00\x00\x00\x18ftyp" + FLOOD),
        (head("Content-Length: 5\r\n"), b"helloGET / HTTP/1.1\r\n" + FLOOD),
        (head("Transfer-Encoding: chunked\r\n"), b"5\r\nhello\r\nZZ" + FLOOD),
        (head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), FLOOD),
        (head("Content-Length: 500000\r\n"), FLOOD),
        (head("Content-Length: 5\r\nContent-Length: 6\r\n"), FLOOD),
        (head(f"Content-Length: {SECRET}\r\n"), FLOOD),
        (head(f"X: {SECRET * 1000}\r\n"),),
        (head(f"no colon {SECRET}\r\n"),),
        (head("Connection: upgrade\r\nUpgrade: websocket\r\n"), FLOOD),
        (FLOOD,),
        (b"\x16\x03\x01\x02\x00" + FLOOD,),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + FLOOD,),
        (b"GET /" + FLOOD + b" HTTP/1.1\r\n" + own_name,),
        (b"GET /\xff\xfe" + SECRET.encode() + b" HTTP/1.1\r\n" + own_name,),
        (b"GET http://[" + SECRET.encode() + b"/ HTTP/1.1\r\n" + own_name,),
    ]


def assert_short(log: str, events: int) -> None:
    """Assert that a log has at most one short line for each event, and nothing of a file."""
    assert SECRET not in log
    assert "Traceback" not in log
    lines = log.splitlines()
    assert 1 <= len(lines) <= events, log
    assert max(map(len, lines)) < LONGEST_LINE


def test_upstream_log(start: Callable[..., RunningUpstream]) -> None:
    """Whatever a client sends instead of an upload costs the upstream's log one line at most."""
    upstream = start()
    ticket = upstream.presign()
    url = urlsplit(ticket["uploadUrl"])

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

    wrong = [*misbehaviours(upstream.port, head), *misbehaviours(upstream.port, head_of_call)]
    for parts in wrong:
        converse(upstream.port, *parts)
    assert put(ticket["uploadUrl"], b"hello").status_code == 200
    assert requests.get(ticket["url"], timeout=5).content == b"hello"
    assert upstream.stop() == 0
    assert_short(upstream.complaints, len(wrong))


def test_upstream_mishap(start: Callable[..., RunningUpstream]) -> None:
    """An upstream that fails by itself answers as S3 does, and writes one line with the place."""
    upstream = start()
    ticket = upstream.presign()
    (upstream.folder / "upstream" / "tmp").rmdir()
    answer = put(ticket["uploadUrl"], SECRET.encode(), origin=PAGE)
    assert answer.status_code == 500
    assert "<Code>InternalError</Code>" in answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert upstream.stop() == 0
    assert_short(upstream.complaints, 1)
    assert "FileNotFoundError" in upstream.complaints


def test_demo_log(tmp_path: Path) -> None:
    """The same holds for the demo page's server."""
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
            wrong = misbehaviours(
                port,
                lambda more: f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{more}\r\n".encode(),
            )
            for parts in wrong:
                converse(port, *parts)
        finally:
            process.terminate()
            process.communicate(timeout=10)
    assert_short(path.read_text(), len(wrong))


def log_line(message: str, *arguments: object, error: BaseException | None = None) -> str:
    """Format a record."""
    where = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("of.test", logging.ERROR, "x.py", 1, message, arguments, where)
    return OneLine().format(record)


def raised(error: BaseException) -> BaseException:
    """Give the error with a traceback."""
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
)
def test_log_line(line: str) -> None:
    """A record is one bounded line without an exception's own text."""
    assert "ERROR of.test" in line
    assert "\n" not in line
    assert SECRET not in line
    assert len(line) < LONGEST_LINE


def test_log_line_names_the_place() -> None:
    """An exception's line has its type and where it was raised."""
    assert "(KeyError < test_logs.py:" in log_line("x", error=raised(KeyError("x")))
