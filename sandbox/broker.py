"""The broker on this machine: the deployed app behind Chalice's local gateway."""

import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from chalice import Chalice
from chalice.config import Config
from chalice.local import (
    ChaliceRequestHandler,
    LocalChalice,
    LocalDevServer,
    LocalGatewayException,
    ThreadedHTTPServer,
    create_local_server,
)

from chalicelib import bootstrap
from chalicelib.aws import clients
from chalicelib.core import log, urls
from ops import table
from sandbox import gate, log_lines
from sandbox.ports import HOST

DYNAMODB_START_SECONDS = 20
# How much of a refused body is read, and how long each read may wait.
_DRAIN_BYTES = 65_536
_DRAIN_SECONDS = 1.0
SWEEP_SECONDS = 3.0


def serve(app: Chalice, port: int, port_gate: gate.Gate | None = None) -> LocalDevServer:
    """Return a server for the app. The caller calls its `serve_forever` and `shutdown`.

    Args:
        app: The app.
        port: The port on loopback that it listens on.
        port_gate: Refuses requests of foreign pages; without one, all pass, as in API Gateway.
    """
    # By default Chalice's server refuses the sixth of several simultaneous connections.
    ThreadedHTTPServer.request_queue_size = 1024
    config = Config.create(lambda_timeout=30)
    if isinstance(app, LocalChalice):  # An earlier server of this process has prepared the app.
        server = LocalDevServer(app, config, HOST, port)
    else:
        server = create_local_server(app, config, HOST, port)
    server.server.RequestHandlerClass = partial(
        _Handler, port_gate=port_gate, app_object=app, config=config
    )
    return server


class _Handler(ChaliceRequestHandler):
    """Chalice's handler without its delays, and closer to API Gateway."""

    # Without these, headers and body are sent in two packets, and the second one waits for 44 ms.
    disable_nagle_algorithm = True
    wbufsize = -1

    def __init__(self, *arguments: Any, port_gate: gate.Gate | None, **named: Any) -> None:
        self._port_gate = port_gate
        self._app: Chalice = named["app_object"]
        super().__init__(*arguments, **named)  # This call serves the whole connection.

    def parse_request(self) -> bool:
        """Return whether a request was read and may pass; respond to it otherwise."""
        if not super().parse_request():
            return False
        if self._port_gate is None:
            return True
        reason = self._port_gate.refusal(self.command, self.path, self.headers.items())
        if self.headers.defects:
            # Python reads no header after a malformed line, so the gate would miss the rest.
            reason = "The request's headers are malformed."
        if reason is not None:
            self._refuse(f"{reason}\n".encode())
        return reason is None

    def _refuse(self, body: bytes) -> None:
        self.close_connection = True
        self.send_response(gate.STATUS)
        for name, value in {**gate.HEADERS, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        # This class's own method would add a second `Connection: close`.
        super().end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        # If unread bytes were left, the kernel would reset the connection and drop the response.
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_DRAIN_SECONDS)
            self.rfile.read(_DRAIN_BYTES)

    def _send_error_response(self, error: LocalGatewayException) -> None:  # noqa: ARG002 - as in Chalice
        """Respond to an unknown path as a deployed stack does, and not with the request's token."""
        context = {"httpMethod": self.command, "path": self.path.partition("?")[0]}
        response = self._app({"requestContext": context, "headers": dict(self.headers)}, None)
        headers = {**response["headers"], **response["multiValueHeaders"]}
        self._send_http_response(response["statusCode"], headers, response["body"])

    def _parse_payload(self) -> tuple[dict[str, Any], bytes | None]:
        """Return the headers, repeated ones joined, and the body. Chalice drops repetitions."""
        _, body = super()._parse_payload()
        return {name: ", ".join(self.headers.get_all(name, [])) for name in self.headers}, body

    def send_header(self, keyword: str, value: str) -> None:
        """Send a header, unless it would give GET the length 0 in a response to HEAD."""
        if (self.command, keyword, value) != ("HEAD", "Content-Length", "0"):
            super().send_header(keyword, value)

    def end_headers(self) -> None:
        """End the headers, with `Connection: close` if so, lest a client sends another request."""
        if self.close_connection:
            self.send_header("Connection", "close")
        super().end_headers()

    def handle(self) -> None:
        """Serve the connection. Log an exception as one line, without what the client sent."""
        try:
            super().handle()
        except Exception as error:  # noqa: BLE001 - the other connections must continue
            print(f"A connection failed: {log_lines.describe(error)}", file=sys.stderr)

    def log_error(self, *words: Any) -> None:
        """Log the status only, since the message may quote what the client sent."""
        status = next((int(word) for word in words if isinstance(word, int)), "no response")
        print(f"A client sent an invalid request: {status}", file=sys.stderr)

    def log_request(self, *_: object) -> None:
        """Log nothing: the broker itself logs each request as a line of JSON."""


def create_table(name: str) -> None:
    """Create the table as soon as the emulator responds."""
    deadline = time.monotonic() + DYNAMODB_START_SECONDS
    while True:
        try:
            table.create(clients.dynamodb(), name)
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def main() -> None:
    """Run until SIGTERM or Ctrl-C."""
    signal.signal(signal.SIGTERM, _stop)
    # The app module is at the top of the project, where Lambda expects it.
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from app import app  # noqa: PLC0415 - as above

    problems = bootstrap.start(os.environ)
    if problems:
        sys.exit("\n".join(problems.split("; ")))
    create_table(os.environ["UPLOADS_TABLE"])
    threading.Thread(target=_sweep, daemon=True).start()
    port = int(os.environ["BROKER_PORT"])
    allowed = urls.items(os.environ.get("ALLOWED_ORIGINS", ""))
    server = serve(app, port, gate.broker_gate(port, allowed))
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server.server_close()


def _sweep() -> None:
    """Run the sweeper every few seconds, since the local gateway runs no schedules."""
    while True:
        time.sleep(SWEEP_SECONDS)
        try:
            bootstrap.broker().sweeper.run(SWEEP_SECONDS)
        except Exception as error:  # noqa: BLE001 - the next sweep may succeed
            log.failure("sweep_failed", error)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
