"""A broker of its own process, to be killed: `python tests/faults/broker_process.py`.

Its clock is ahead of the real one by the seconds in the file `CLOCK_FILE`, and `CLOCK_SPEED` times
as fast. With `SWEEP_SECONDS` it sweeps every so many real seconds. It ends when its standard input
does, so that none is left behind.
"""

import os
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from app import app  # noqa: E402 - it lies at the top of the project
from chalicelib import bootstrap  # noqa: E402 - as above
from chalicelib.core import log  # noqa: E402 - as above
from chalicelib.core.clock import Clock  # noqa: E402 - as above
from chalicelib.syncapi.client import Timeouts  # noqa: E402 - as above
from sandbox.broker import serve  # noqa: E402 - as above

TIMEOUTS = Timeouts(presign=2.0, register=1.5, lookup=1.5)


class FileClock(Clock):
    """The real time, faster, and moved by what a file says.

    Args:
        path: The file: the seconds to be ahead.
        speed: How many seconds pass in a real one.
        zero: The real time from which on it is faster.
    """

    def __init__(self, path: Path, speed: float, zero: float) -> None:
        self._path = path
        self._speed = speed
        self._zero = zero

    def now(self) -> int:
        """Return the time."""
        ahead = float(self._path.read_text() or 0)
        return int((self._zero + (time.time() - self._zero) * self._speed + ahead) * 1000)


def _sweep(seconds: float) -> None:
    while True:
        # As a schedule does: at the same moments, whenever this process was started.
        time.sleep(seconds - time.time() % seconds)
        try:
            bootstrap.broker().sweeper.run(max(seconds, 2.0))
        except Exception as error:  # noqa: BLE001 - the next one may fare better
            log.failure("sweep_failed", error)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Serve until killed."""
    environ = os.environ
    clock = FileClock(
        Path(environ["CLOCK_FILE"]),
        float(environ.get("CLOCK_SPEED", "1")),
        float(environ.get("CLOCK_ZERO", "0")) or time.time(),
    )
    log.configure("INFO")
    bootstrap.use(bootstrap.build(environ, clock=clock, timeouts=TIMEOUTS))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if seconds := float(environ.get("SWEEP_SECONDS", "0")):
        threading.Thread(target=_sweep, args=(seconds,), daemon=True).start()
    serve(app, int(environ["BROKER_PORT"])).serve_forever()


if __name__ == "__main__":
    main()
