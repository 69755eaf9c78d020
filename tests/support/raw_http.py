"""Sends requests as bytes, because no HTTP client sends everything that an attacker's page can."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class RawResponse:
    """The bytes that were received before the connection was closed.

    Attributes:
        status: None if the connection was closed without a response.
        headers: The headers by lower-case name.
        body: The bytes after the headers, decoded.
    """

    status: int | None
    headers: dict[str, str]
    body: str


def send(
    port: int, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes = b""
) -> RawResponse:
    """Send one request unchanged, and read until the other side closes the connection."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        try:
            connection.sendall(head + body)
            while chunk := connection.recv(65_536):
                received += chunk
        except ConnectionError:
            pass
    if not received:
        return RawResponse(None, {}, "")
    top, _, rest = received.partition(b"\r\n\r\n")
    first, *fields = top.decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in fields]
    named = {name.lower(): value.strip() for name, _, value in pairs}
    return RawResponse(int(first.split()[1]), named, rest.decode(errors="replace"))
