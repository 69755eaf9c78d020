"""`make run`: the whole system on this machine, without an account and without a key."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn, Self

from sandbox import environment, ports
from sandbox.ports import HOST, Ports

ROOT = Path(__file__).parent.parent
START_SECONDS = 30
STOP_SECONDS = 10
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Part:
    """One program of the system.

    Attributes:
        name: For messages, and for its log's name.
        command: What to run.
        environ: Its environment.
        port: Where it listens.
    """

    name: str
    command: list[str]
    environ: Mapping[str, str]
    port: int


class Stopped(Exception):  # noqa: N818 - it is the orderly end, not an error
    """Somebody wants the sandbox to stop."""


def parts(environ: Mapping[str, str], chosen: Ports, folder: Path) -> list[Part]:
    """Say what to start; all at once, each waits for what it needs."""
    ministack = str(ROOT / ".venv-ministack" / "bin" / "ministack")
    own = environment.for_parts(environ, chosen, folder)
    emulator = environment.for_dynamodb(environ, chosen, folder)
    broker = environment.for_broker(environ, chosen, folder)
    python = [sys.executable, "-m"]
    return [
        Part("dynamodb", [ministack], emulator, chosen.dynamodb),
        Part("upstream", [*python, "sandbox.upstream"], own, chosen.upstream),
        Part("broker", [*python, "sandbox.broker"], broker, chosen.broker),
        Part("demo", [*python, "sandbox.demo"], own, chosen.demo),
    ]


class Running:
    """The programs that were started; leaving it stops every one of them."""

    def __init__(self, wanted: list[Part], logs: Path) -> None:
        self._logs = logs
        self._processes: list[tuple[Part, subprocess.Popen[bytes]]] = []
        self._wanted = wanted

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        """Start every part. Inside the `with`, so that a signal in the middle loses none."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for part in self._wanted:
            with self._log(part, "wb") as log:
                process = subprocess.Popen(  # noqa: S603 - our own programs
                    part.command,
                    cwd=ROOT,
                    env=dict(part.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C reaches this process alone, which stops the others in order.
                    start_new_session=True,
                )
            self._processes.append((part, process))

    def __exit__(self, *_: object) -> None:
        for _part, process in reversed(self._processes):
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for part, process in self._processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                print(f"{part.name} did not stop in time and was killed.", file=sys.stderr)
                process.kill()
                process.wait()

    def wait_until_up(self) -> None:
        """Wait until every part listens."""
        deadline = time.monotonic() + START_SECONDS
        for part, _process in self._processes:
            while not _listens(part.port):
                self.check()
                if time.monotonic() > deadline:
                    self._give_up(part, "did not start in time")
                time.sleep(0.05)

    def check(self) -> None:
        """End everything if one part has ended."""
        for part, process in self._processes:
            if process.poll() is not None:
                self._give_up(part, f"ended with exit code {process.returncode}")

    def _give_up(self, part: Part, what: str) -> NoReturn:
        with self._log(part, "rb") as log:
            last = log.read()[-4000:].decode(errors="replace").strip()
        sys.exit(f"{part.name} {what}. Its last words:\n{last}")

    def _log(self, part: Part, mode: str) -> IO[bytes]:
        opened: IO[bytes] = (self._logs / f"{part.name}.log").open(mode)
        return opened


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _stop(_signal: int, _frame: FrameType | None) -> None:
    # A second signal, while the parts are being stopped, must not leave any behind.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


def main() -> None:
    """Start everything, print the URL, and stay until somebody stops it."""
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    try:
        chosen = ports.read(os.environ)
    except ValueError as error:
        sys.exit(str(error))
    if taken := ports.taken(chosen):
        sys.exit("\n".join(taken))
    folder = Path(os.environ.get("SANDBOX_DIR") or ROOT / ".sandbox").resolve()
    logs = folder / "logs"
    try:
        with Running(parts(os.environ, chosen, folder), logs) as running:
            running.start()
            running.wait_until_up()
            print(f"The demo page is on http://{HOST}:{chosen.demo}")
            print(f"Broker {chosen.broker}, sync. {chosen.upstream}, DynamoDB {chosen.dynamodb}.")
            print(f"Logs in {os.path.relpath(logs)}. Ctrl-C stops everything.", flush=True)
            while True:
                running.check()
                time.sleep(0.5)
    except Stopped:
        print("Stopped.")


if __name__ == "__main__":
    main()
