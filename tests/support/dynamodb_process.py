"""A real DynamoDB emulator with its gate, as `make run` starts it."""

import socket
import subprocess
import time
from pathlib import Path

from sandbox import environment
from sandbox.ports import Ports
from tests.support.upstream_process import ROOT, free_port


class RunningDynamoDB:
    """A running emulator.

    Args:
        folder: The folder for its data.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.ports = Ports(broker=0, upstream=0, dynamodb=self.port, demo=0)
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            environment.DYNAMODB,
            cwd=ROOT,
            env=environment.for_dynamodb(self.ports, folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"no process listens on port {self.port}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Stop it with SIGTERM, so that it writes its data."""
        self.process.terminate()
        self.process.wait(timeout=10)
