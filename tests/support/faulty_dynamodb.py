"""A proxy in front of the DynamoDB emulator that makes the faults which a test orders."""

import http.client
import json
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.upstream_process import free_port

HOST = "127.0.0.1"
TARGET = "DynamoDB_20120810."
_ERRORS = {
    "throttled": (400, "ProvisionedThroughputExceededException"),
    "throttling": (400, "ThrottlingException"),
    "conflict": (400, "TransactionConflictException"),
    "500": (500, "InternalServerError"),
}
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 seconds: closing sends RST, not FIN


@dataclass
class Rule:
    """A fault that a test ordered.

    Attributes:
        kind: `throttled`, `throttling` and `500` respond with that error; `cut-before` and
            `cut-after` reset the connection; `slow-before` carries the call out late, `slow-after`
            responds late; `pause-before` and `pause-after` wait to be released, and reset the
            connection; `unreachable` resets it and refuses every later one.
        operation: DynamoDB's name of the call; an empty one matches every call.
        contains: Texts that the request's body must contain.
        lasting: Whether it hits every matching call, or one.
        seconds: The delay of a slow one.
        reached: Set when it has hit a call.
        released: Set it to end a pause.
        carried_out: Whether a call that is reset or paused afterwards has been carried out.
    """

    kind: str
    operation: str = ""
    contains: tuple[str, ...] = ()
    lasting: bool = True
    seconds: float = 4.0
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    carried_out: bool = False

    def matches(self, operation: str, body: str) -> bool:
        """Whether the rule applies to a call."""
        if self.reached.is_set() and not self.lasting:
            return False
        return self.operation in {"", operation} and all(part in body for part in self.contains)


class FaultyDynamoDB:
    """The proxy.

    Args:
        port: The emulator's port.
    """

    def __init__(self, port: int) -> None:
        self.emulator_port = port
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.rules: list[Rule] = []
        self.calls: list[str] = []
        self.busy = 0
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._server: _Server | None = None
        self.accept()

    def order(self, kind: str, operation: str = "", *contains: str, **more: Any) -> Rule:
        """Order a fault for each call that the rule matches; the oldest rule wins."""
        rule = Rule(kind, operation, contains, **more)
        with self._lock:
            self.rules.append(rule)
        return rule

    def heal(self) -> None:
        """Remove all rules, end every pause, and accept connections."""
        with self._lock:
            rules, self.rules = self.rules, []
        for rule in rules:
            rule.released.set()
        self.accept()

    def accept(self) -> None:
        """Accept connections, after `refuse` again."""
        with self._lock:
            if self._server is None:
                self._server = _Server((HOST, self.port), _Handler)
                self._server.proxy = self
                threading.Thread(
                    target=self._server.serve_forever, args=(0.02,), daemon=True
                ).start()

    def refuse(self) -> None:
        """Refuse new connections, and reset those that are open."""
        with self._lock:
            server, self._server = self._server, None
            connections, self._connections = self._connections, set()
        if server is not None:
            server.shutdown()
            server.server_close()
        for connection in connections:
            reset(connection)

    def match(self, operation: str, body: str) -> Rule | None:
        """Return the rule for a call, if any."""
        with self._lock:
            self.busy += 1
            self.calls.append(operation)
            for rule in self.rules:
                if rule.matches(operation, body):
                    rule.reached.set()
                    return rule
        return None

    def finish_call(self) -> None:
        """Count a call as finished."""
        with self._lock:
            self.busy -= 1

    def add_connection(self, connection: socket.socket) -> None:
        """Remember an open connection."""
        with self._lock:
            self._connections.add(connection)

    def remove_connection(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._connections.discard(connection)


class _Server(ThreadingHTTPServer):
    proxy: FaultyDynamoDB
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of connections that the client has closed."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.server.proxy.add_connection(self.connection)
        self._emulator = http.client.HTTPConnection(
            HOST, self.server.proxy.emulator_port, timeout=60
        )

    def finish(self) -> None:
        self._emulator.close()
        self.server.proxy.remove_connection(self.connection)
        super().finish()

    def log_message(self, *_: Any) -> None:
        """Keep the tests' output clean."""

    def do_POST(self) -> None:
        """Forward one call, with the fault that was ordered for it."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation = self.headers.get("X-Amz-Target", "").removeprefix(TARGET)
        rule = self.server.proxy.match(operation, body.decode())
        try:
            self._respond_by_rule(body, rule)
        finally:
            self.server.proxy.finish_call()

    def _respond_by_rule(self, body: bytes, rule: Rule | None) -> None:
        kind = rule.kind if rule else ""
        if rule is None:
            self._respond(*self._forward(body))
        elif kind in _ERRORS:
            status, name = _ERRORS[kind]
            content = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{name}"}).encode()
            self._respond(status, [("Content-Type", "application/x-amz-json-1.0")], content)
        elif kind in {"slow-before", "slow-after"}:
            response = self._forward(body) if kind == "slow-after" else None
            rule.released.wait(rule.seconds)
            self._respond(*(response or self._forward(body)))
        else:
            if kind in {"cut-after", "pause-after"}:
                self._forward(body)
                rule.carried_out = True
            if kind.startswith("pause"):
                rule.released.wait(60)
            self.close_connection = True
            reset(self.connection)
            if kind == "unreachable":
                self.server.proxy.refuse()

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {name: value for name, value in self.headers.items() if name != "Host"}
        self._emulator.request("POST", self.path, body, headers)
        response = self._emulator.getresponse()
        return response.status, response.getheaders(), response.read()

    def _respond(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


def reset(connection: socket.socket) -> None:
    """Reset a connection."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
