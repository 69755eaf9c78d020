"""The broker on this machine: the real app behind Chalice's local gateway."""

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
# How much of a refused body is read, and how long each part of it is waited for.
_DRAIN_BYTES = 65_536
_DRAIN_SECONDS = 1.0
SWEEP_SECONDS = 3.0


def serve(app: Chalice, port: int, before: gate.Gate | None = None) -> LocalDevServer:
    """Make a server for the app; `serve_forever` and `shutdown` are its own.

    Chalice's server refuses the sixth of several connections that come at once.

    Args:
        app: The app.
        port: Where it listens, on loopback.
        before: What keeps foreign pages out; None behaves as API Gateway does.
    """
    ThreadedHTTPServer.request_queue_size = 1024
    config = Config.create(lambda_timeout=30)
    if isinstance(app, LocalChalice):  # a second server in one process: the app is prepared already
        server = LocalDevServer(app, config, HOST, port)
    else:
        server = create_local_server(app, config, HOST, port)
    server.server.RequestHandlerClass = partial(
        _Handler, before=before, app_object=app, config=config
    )
    return server


class _Handler(ChaliceRequestHandler):
    """Chalice's own, as quick as it can be, and as API Gateway where it matters."""

    # Headers and body would go out in two packets, of which the second one waits for 44 ms.
    disable_nagle_algorithm = True
    wbufsize = -1

    def __init__(self, *arguments: Any, before: gate.Gate | None, **named: Any) -> None:
        self._before = before
        super().__init__(*arguments, **named)  # which serves the whole connection

    def parse_request(self) -> bool:
        """Read the head of a request; one that the gate refuses ends here."""
        if not super().parse_request():
            return False
        if self._before is None:
            return True
        reason = self._before.refusal(self.command, self.path, self.headers.items())
        if self.headers.defects:
            # Python reads no header behind a malformed line, so one may be hidden there.
            reason = "The request's headers are malformed."
        if reason is not None:
            self._refuse(f"{reason}\n".encode())
        return reason is None

    def _refuse(self, body: bytes) -> None:
        self.close_connection = True
        self.send_response(gate.STATUS)
        for name, value in {**gate.HEADERS, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        # Past this class's own, which would say again that the connection is closed.
        super().end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        # Closed over bytes that nobody has read, it would be reset, and the text lost with it.
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_DRAIN_SECONDS)
            self.rfile.read(_DRAIN_BYTES)

    def _parse_payload(self) -> tuple[dict[str, Any], bytes | None]:
        """Pass on every header that came several times; Chalice keeps the first and hides them."""
        _, body = super()._parse_payload()
        return {name: ", ".join(self.headers.get_all(name, [])) for name in self.headers}, body

    def send_header(self, keyword: str, value: str) -> None:
        """Leave out the length of an empty answer to HEAD, where it would stand for GET's."""
        if (self.command, keyword, value) != ("HEAD", "Content-Length", "0"):
            super().send_header(keyword, value)

    def end_headers(self) -> None:
        """Say that the connection is closed; who isn't told would send the next request into it."""
        if self.close_connection:
            self.send_header("Connection", "close")
        super().end_headers()

    def handle(self) -> None:
        """Serve the connection; what breaks it is one line, without what the client sent."""
        try:
            super().handle()
        except Exception as error:  # noqa: BLE001 - the other connections go on
            print(f"A connection was given up: {log_lines.place(error)}", file=sys.stderr)

    def log_error(self, *words: Any) -> None:
        """Write one line with the status alone: the text may quote what the client sent."""
        status = next((int(word) for word in words if isinstance(word, int)), "no response")
        print(f"What a client sent is no request: {status}", file=sys.stderr)

    def log_request(self, *_: object) -> None:
        """Write nothing: the broker writes a line of its own for each request, in JSON."""


def create_table(name: str) -> None:
    """Create the table as soon as the emulator answers."""
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
    # The app module lies at the top of the project, where Lambda expects it.
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from app import app  # noqa: PLC0415 - as above

    trouble = bootstrap.start(os.environ)
    if trouble:
        sys.exit("\n".join(trouble.split("; ")))
    create_table(os.environ["UPLOADS_TABLE"])
    threading.Thread(target=_sweep, daemon=True).start()
    port = int(os.environ["BROKER_PORT"])
    allowed = urls.items(os.environ.get("ALLOWED_ORIGINS", ""))
    server = serve(app, port, gate.before_broker(port, allowed))
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server.server_close()


def _sweep() -> None:
    """Play the schedule, which the local gateway does not run; more often, for the impatient."""
    while True:
        time.sleep(SWEEP_SECONDS)
        try:
            bootstrap.broker().sweeper.run(SWEEP_SECONDS)
        except Exception as error:  # noqa: BLE001 - the next one may fare better
            log.failure("sweep_failed", error)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
