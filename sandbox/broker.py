"""The broker on this machine: the real app behind Chalice's local gateway."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

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

from chalicelib import observability, wiring
from ops import table
from sandbox.ports import HOST

DYNAMODB_START_SECONDS = 20
SWEEP_SECONDS = 3.0


def serve(app: Chalice, port: int) -> LocalDevServer:
    """Make a server for the app; `serve_forever` and `shutdown` are its own.

    Chalice's server sends headers and body in two packets and waits for the first one to be
    acknowledged, 44 ms a request, and it refuses the sixth of several connections that come at
    once. Three class attributes mend that.
    """
    ChaliceRequestHandler.disable_nagle_algorithm = True
    ChaliceRequestHandler.wbufsize = -1
    ThreadedHTTPServer.request_queue_size = 1024
    # The broker writes a line of its own for each request, in JSON.
    ChaliceRequestHandler.log_request = _nothing
    config = Config.create(lambda_timeout=30)
    if isinstance(app, LocalChalice):  # a second server in one process: the app is prepared already
        return LocalDevServer(app, config, HOST, port)
    return create_local_server(app, config, HOST, port)


def _nothing(*_: object) -> None:
    pass


def create_table(name: str) -> None:
    """Create the table as soon as the emulator answers."""
    deadline = time.monotonic() + DYNAMODB_START_SECONDS
    while True:
        try:
            table.create(wiring.dynamodb_client(), name)
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

    trouble = wiring.start(os.environ)
    if trouble:
        sys.exit("\n".join(trouble.split("; ")))
    create_table(os.environ["UPLOADS_TABLE"])
    threading.Thread(target=_sweep, daemon=True).start()
    server = serve(app, int(os.environ["BROKER_PORT"]))
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
            wiring.broker().sweeper.run(SWEEP_SECONDS)
        except Exception as error:  # noqa: BLE001 - the next one may fare better
            observability.failure("sweep_failed", error)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
