"""`make run`: the whole system on this machine, without an account and without a key."""

import signal

# Nothing runs yet, so a signal may end this process at once. As an exception it can get lost while
# modules are imported: the import system's own callbacks swallow it.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import ctypes
import os
import socket
import subprocess
import sys
import threading
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
        name: For messages, and for its log's name.
        command: What to run.
        environ: Its environment.
        port: Where it listens.
    """

    name: str
    command: list[str]
    environ: Mapping[str, str]
    port: int


class Stop:
    """Whether somebody wants the sandbox to stop.

    A signal only sets a mark, which is looked at between two steps: an exception out of the
    handler could hit the moment in which a program runs and nobody has noted it yet.
    """

    def __init__(self) -> None:
        self._wanted = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._want)

    def _want(self, _signal: int, _frame: FrameType | None) -> None:
        self._wanted.set()

    def within(self, seconds: float) -> bool:
        """Wait, and say whether it is wanted by then."""
        return self._wanted.wait(seconds)


def parts(environ: Mapping[str, str], chosen: Ports, folder: Path, key: str) -> list[Part]:
    """Say what to start; all at once, each waits for what it needs."""
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
    """The programs that were started; leaving it stops every one of them."""

    def __init__(self, wanted: list[Part], logs: Path) -> None:
        self._logs = logs
        self._processes: list[tuple[Part, subprocess.Popen[bytes]]] = []
        self._wanted = wanted
        self._written: dict[str, int] = {}  # bytes that a part's log had before this run

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        """Start every part."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for part in self._wanted:
            with self._log(part, "ab") as log:
                self._written[part.name] = log.tell()
                process = subprocess.Popen(  # noqa: S603 - our own programs
                    part.command,
                    cwd=ROOT,
                    env=dict(part.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C reaches this process alone, which stops the others in order.
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
        """Wait until every part listens; say whether they do, or somebody wants to stop."""
        deadline = time.monotonic() + START_SECONDS
        for part, _process in self._processes:
            while not _listens(part.port):
                self.check()
                if time.monotonic() > deadline:
                    self._give_up(part, "did not start in time")
                if stop.within(0.05):
                    return False
        return True

    def check(self) -> None:
        """End everything if one part has ended."""
        for part, process in self._processes:
            if process.poll() is not None:
                self._give_up(part, f"ended with exit code {process.returncode}")

    def _give_up(self, part: Part, what: str) -> NoReturn:
        with self._log(part, "rb") as log:
            log.seek(self._written[part.name])
            last = log.read()[-4000:].decode(errors="replace").strip()
        sys.exit(f"{part.name} {what}. Its last words:\n{last}")

    def _log(self, part: Part, mode: str) -> IO[bytes]:
        opened: IO[bytes] = (self._logs / f"{part.name}.log").open(mode)
        return opened


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _end_with_parent() -> None:
    """Let a part be told to stop when this process is gone, even by `kill -9` (Linux alone)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _key(environ: Mapping[str, str], folder: Path) -> str:
    """Return the upstream's key, and print where it is from."""
    if key := environ.get("SYNC_API_KEY"):
        print("The upstream's key is SYNC_API_KEY of your environment.")
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
            "Warning: JWT_SECRET of your environment is not the sandbox's own. Every program on"
            " this machine can get tokens that it signs, by /token of the demo page."
        )


def main() -> None:
    """Start everything, print the URL, and stay until somebody stops it."""
    stop = Stop()
    # What the sandbox keeps is its owner's alone; the parts inherit this.
    os.umask(0o077)
    folder = Path(os.environ.get("SANDBOX_DIR") or ROOT / ".sandbox").resolve()
    try:
        chosen = ports.read(os.environ)
        origins.read(os.environ)
    except ValueError as error:
        sys.exit(str(error))
    with data.own(folder):
        if taken := ports.taken(chosen):
            sys.exit("\n".join(taken))
        _warn_of_real_secret(os.environ)
        wanted = parts(os.environ, chosen, folder, _key(os.environ, folder))
        with Running(wanted, folder / "logs") as running:
            running.start()
            if running.wait_until_up(stop):
                print(f"The demo page is on http://{HOST}:{chosen.demo}")
                print(
                    f"Broker {chosen.broker}, Sync {chosen.upstream}, DynamoDB {chosen.dynamodb}."
                )
                logs = os.path.relpath(folder / "logs")
                print(f"Logs in {logs}. Ctrl-C stops everything.", flush=True)
                while not stop.within(0.5):
                    running.check()
    print("Stopped.")


if __name__ == "__main__":
    main()
