"""A broker that a test can kill: `python tests/faults/broker_process.py`.

Its clock is ahead of the real one by the seconds in the file `CLOCK_FILE`, and runs `CLOCK_SPEED`
times as fast. With `MACHINE_ERROR` it is the clock of a machine that is wrong by so many seconds,
which DynamoDB's responses correct. With `SWEEP_SECONDS` it sweeps at that interval, in real
seconds. With `IS_PATIENT` it waits for Sync as long as in production. It exits when its standard
input is closed, so that no process outlives the tests.
"""

import os
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from app import app  # noqa: E402 - the project's root must be on the path first
from chalicelib import bootstrap  # noqa: E402 - as above
from chalicelib.core import log  # noqa: E402 - as above
from chalicelib.core.clock import Clock  # noqa: E402 - as above
from chalicelib.syncapi.client import Timeouts  # noqa: E402 - as above
from sandbox.broker import serve  # noqa: E402 - as above

TIMEOUTS = Timeouts(presign=2.0, register=1.5, lookup=1.5)


class FileClock(Clock):
    """The real time, running faster, plus an offset from a file.

    Args:
        path: The file with the offset in seconds.
        speed: How many seconds pass in each real second.
        zero: The real time at which both clocks agree.
    """

    def __init__(self, path: Path, speed: float, zero: float) -> None:
        self._path = path
        self._speed = speed
        self._zero = zero

    def now(self) -> int:
        """Return the time."""
        ahead = float(self._path.read_text() or 0)
        return int((self._zero + (time.time() - self._zero) * self._speed + ahead) * 1000)


class WrongMachine(Clock):
    """The clock of a machine that is wrong.

    Args:
        seconds: By how much it is ahead.
    """

    def __init__(self, seconds: float) -> None:
        self._ahead = int(seconds * 1000)

    def machine_time(self) -> int:
        """Return the machine's time."""
        return super().machine_time() + self._ahead


def _sweep(seconds: float) -> None:
    while True:
        # A schedule fires at fixed moments too, whenever the process was started.
        time.sleep(seconds - time.time() % seconds)
        try:
            bootstrap.broker().sweeper.run(max(seconds, 2.0))
        except Exception as error:  # noqa: BLE001 - the next sweep may succeed
            log.failure("sweep_failed", error)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    """Serve until killed."""
    environ = os.environ
    clock: Clock = FileClock(
        Path(environ["CLOCK_FILE"]),
        float(environ.get("CLOCK_SPEED", "1")),
        float(environ.get("CLOCK_ZERO", "0")) or time.time(),
    )
    if error := environ.get("MACHINE_ERROR"):
        clock = WrongMachine(float(error))
    log.configure("INFO")
    timeouts = Timeouts() if environ.get("IS_PATIENT") else TIMEOUTS
    bootstrap.use(bootstrap.build(environ, clock=clock, timeouts=timeouts))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if seconds := float(environ.get("SWEEP_SECONDS", "0")):
        threading.Thread(target=_sweep, args=(seconds,), daemon=True).start()
    serve(app, int(environ["BROKER_PORT"])).serve_forever()


if __name__ == "__main__":
    main()
