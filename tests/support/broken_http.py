"""Invalid HTTP requests over real sockets, and a check of the server's log."""

import socket
from collections.abc import Callable

SECRET = "BYTES-OF-A-FILE"
FLOOD = SECRET.encode() * 10_000
LONGEST_LINE = 500


def exchange(port: int, *parts: bytes) -> bytes:
    """Send bytes over one connection, end the sending side, and return what is received."""
    response = b""
    with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            while received := connection.recv(65_536):
                response += received
        except OSError:
            pass  # The server closed the connection, or waits for more bytes.
    return response


def broken_requests(port: int, head: Callable[[str], bytes]) -> list[tuple[bytes, ...]]:
    """Return invalid requests, and valid ones that further bytes follow.

    Args:
        port: The server's port.
        head: Returns the head of a valid request with additional header lines.
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


def assert_short_log(log: str, events: int) -> None:
    """Assert that a log has at most one short line for each event, and no bytes of a file."""
    assert SECRET not in log
    assert "Traceback" not in log
    lines = log.splitlines()
    assert 1 <= len(lines) <= events, log
    assert max(map(len, lines)) < LONGEST_LINE
