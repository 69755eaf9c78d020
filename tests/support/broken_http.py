"""Clients that break HTTP, over real sockets, and what a server's log may say of them."""

import socket
from collections.abc import Callable

SECRET = "BYTES-OF-A-FILE"
FLOOD = SECRET.encode() * 10_000
LONGEST_LINE = 500


def converse(port: int, *parts: bytes) -> bytes:
    """Send this over one connection, say that it is all, and give what comes back."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            while received := connection.recv(65_536):
                answer += received
        except OSError:
            pass  # The server had enough of it, or waits for more. ENOTCONN has no class below it.
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
