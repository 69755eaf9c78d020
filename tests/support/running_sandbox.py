"""Starts `make run` as a user does, with a separate folder and separate ports."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.upstream_process import ROOT, free_port

NAMES = ("BROKER_PORT", "UPSTREAM_PORT", "DYNAMODB_PORT", "DEMO_PORT")


class Sandbox:
    """A running sandbox. Its `output` is what it has printed so far."""

    def __init__(self, folder: Path, *, root: Path = ROOT, **environ: str) -> None:
        self.folder = folder
        self.ports = {name: environ.get(name) or str(free_port()) for name in NAMES}
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            ["make", "--silent", "run"],
            cwd=root,
            env={**os.environ, **self.ports, "SANDBOX_DIR": str(folder), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""

    def url(self, name: str) -> str:
        """Return a part's URL."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def wait_until_up(self) -> float:
        """Wait for the printed URL, and return the seconds that it took."""
        assert self.process.stdout is not None
        while self.url("DEMO_PORT") not in self.output:
            line = self.process.stdout.readline()
            assert line, f"the sandbox ended: {self.output}"
            self.output += line
        return time.monotonic() - self.started

    def process_ids(self) -> set[int]:
        """Return the ids of its first process and all its descendants."""
        listed = subprocess.run(
            ["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
        ).stdout
        parents = {int(pid): int(parent) for pid, parent in map(str.split, listed.splitlines())}
        found = {self.process.pid}
        while True:
            more = {pid for pid, parent in parents.items() if parent in found} - found
            if not more:
                return found
            found |= more

    def stop(self, number: int = signal.SIGTERM, *, group: bool = False) -> str:
        """Send a signal to `make`, or to its whole group as Ctrl-C does, and return the output."""
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=20)
        self.output += rest
        return self.output


@contextmanager
def sandbox(folder: Path, **arguments: str) -> Iterator[Sandbox]:
    """Start a sandbox, and stop it at the end."""
    started = Sandbox(folder, **arguments)
    try:
        started.wait_until_up()
        yield started
    finally:
        if started.process.poll() is None:
            started.stop()
