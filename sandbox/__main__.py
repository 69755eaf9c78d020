"""`make run`: the whole system on this machine, without an account and without a key."""

import signal

# No program runs yet, so a signal may end this process at once. A KeyboardInterrupt could get lost
# during the imports, because the import system's own callbacks swallow exceptions.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import ctypes
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn, Self

from sandbox import environment, origins, ports
from sandbox import folder as data
from sandbox.ports import HOST, Ports

ROOT = Path(__file__).parent.parent
START_SECONDS = 30
STOP_SECONDS = 10
PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


@dataclass(frozen=True)
class Part:
    """One program of the system.

    Attributes:
        name: Used in messages and as the name of its log.
        command: The program and its arguments.
        environ: Its environment.
        port: The port that it listens on.
    """

    name: str
    command: list[str]
    environ: Mapping[str, str]
    port: int


class Stop:
    """Whether a signal has asked the sandbox to stop.

    A signal handler only writes to a pipe, which the main thread reads between two steps. If the
    handler raised an exception, a program that had just been started could be left running. If it
    set an Event, it could wait for ever for the lock that the interrupted thread holds.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._request)

    def _request(self, _signal: int, _frame: FrameType | None) -> None:
        os.write(self._writer, b"x")

    def wait(self, seconds: float) -> bool:
        """Return whether a stop was requested, after waiting for it at most this long."""
        return bool(select.select([self._reader], [], [], seconds)[0])


def parts(environ: Mapping[str, str], chosen: Ports, folder: Path, key: str) -> list[Part]:
    """Return the programs to start. They start together; each waits for those that it needs."""
    own = environment.for_parts(environ, chosen, folder, key)
    emulator = environment.for_dynamodb(chosen, folder)
    broker = environment.for_broker(environ, chosen, folder, key)
    python = [sys.executable, "-m"]
    return [
        Part("dynamodb", list(environment.DYNAMODB), emulator, chosen.dynamodb),
        Part("upstream", [*python, "sandbox.upstream"], own, chosen.upstream),
        Part("broker", [*python, "sandbox.broker"], broker, chosen.broker),
        Part("demo", [*python, "sandbox.demo"], own, chosen.demo),
    ]


class Running:
    """The programs that were started. Leaving the context stops them all."""

    def __init__(self, planned: list[Part], logs: Path) -> None:
        self._logs = logs
        self._processes: list[tuple[Part, subprocess.Popen[bytes]]] = []
        self._planned = planned
        self._log_starts: dict[str, int] = {}  # size of a part's log before this run, in bytes

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        """Start every part."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for part in self._planned:
            with self._log(part, "ab") as log:
                self._log_starts[part.name] = log.tell()
                process = subprocess.Popen(  # noqa: S603 - our own programs
                    part.command,
                    cwd=ROOT,
                    env=dict(part.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C reaches only this process, which stops the others in order.
                    start_new_session=True,
                    preexec_fn=_end_with_parent,  # noqa: PLW1509 - there is one thread
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

    def wait_until_up(self, stop: Stop) -> bool:
        """Return True when every part listens, or False when a stop is requested first."""
        deadline = time.monotonic() + START_SECONDS
        for part, _process in self._processes:
            while not _listens(part.port):
                self.check()
                if time.monotonic() > deadline:
                    self._fail(part, "did not start in time")
                if stop.wait(0.05):
                    return False
        return True

    def check(self) -> None:
        """End everything if one part has ended."""
        for part, process in self._processes:
            if process.poll() is not None:
                self._fail(part, f"ended with exit code {process.returncode}")

    def _fail(self, part: Part, reason: str) -> NoReturn:
        with self._log(part, "rb") as log:
            log.seek(self._log_starts[part.name])
            tail = log.read()[-4000:].decode(errors="replace").strip()
        sys.exit(f"{part.name} {reason}. The end of its log:\n{tail}")

    def _log(self, part: Part, mode: str) -> IO[bytes]:
        opened: IO[bytes] = (self._logs / f"{part.name}.log").open(mode)
        return opened


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _end_with_parent() -> None:
    """Make Linux stop this program when its parent ends, even by `kill -9`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _key(environ: Mapping[str, str], folder: Path) -> str:
    """Return the upstream's key, and print its source."""
    if key := environ.get("SYNC_API_KEY"):
        print("The upstream's key is SYNC_API_KEY from your environment.")
        return key
    try:
        key = data.api_key(folder)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    print(f"The upstream's key is {key} (in {os.path.relpath(folder / 'api-key')}).")
    return key


def _warn_of_real_secret(environ: Mapping[str, str]) -> None:
    if (environ.get("JWT_SECRET") or environment.JWT_SECRET) != environment.JWT_SECRET:
        print(
            "Warning: your environment sets JWT_SECRET, so the sandbox signs its tokens with your"
            " secret. Every program on this machine can get such a token from the demo's /token."
        )


def main() -> None:
    """Start everything, print the URL, and run until a signal stops it."""
    stop = Stop()
    # Only the owner may read the sandbox's files; the parts inherit this.
    os.umask(0o077)
    folder = Path(os.environ.get("SANDBOX_DIR") or ROOT / ".sandbox").resolve()
    try:
        chosen = ports.read(os.environ)
        origins.read(os.environ)
    except ValueError as error:
        sys.exit(str(error))
    with data.open_folder(folder):
        if taken := ports.taken(chosen):
            sys.exit("\n".join(taken))
        _warn_of_real_secret(os.environ)
        planned = parts(os.environ, chosen, folder, _key(os.environ, folder))
        with Running(planned, folder / "logs") as running:
            running.start()
            if running.wait_until_up(stop):
                print(f"The demo page is on http://{HOST}:{chosen.demo}")
                print(
                    f"Broker {chosen.broker}, Sync {chosen.upstream}, DynamoDB {chosen.dynamodb}."
                )
                logs = os.path.relpath(folder / "logs")
                print(f"Logs in {logs}. Ctrl-C stops everything.", flush=True)
                while not stop.wait(0.5):
                    running.check()
    print("Stopped.")


if __name__ == "__main__":
    main()
