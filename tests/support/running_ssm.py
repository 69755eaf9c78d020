"""An emulator of SSM, for tests of stored secrets. The sandbox runs none."""

import socket
import subprocess
import time
from pathlib import Path

from sandbox import environment
from sandbox.ports import Ports
from tests.support.upstream_process import ROOT, free_port


class RunningSsm:
    """A started emulator of SSM on loopback.

    Args:
        folder: The folder for its data.
    """

    def __init__(self, folder: Path) -> None:
        ports = Ports(broker=0, upstream=0, dynamodb=free_port(), demo=0)
        self.url = f"http://127.0.0.1:{ports.dynamodb}"
        own = {"SERVICES": "ssm", "BIND_HOST": "127.0.0.1", "PERSIST_STATE": "0"}
        self._process = subprocess.Popen(
            [str(ROOT / ".venv-ministack" / "bin" / "ministack")],
            env={**environment.for_dynamodb(ports, folder), "TMPDIR": str(folder), **own},
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", ports.dynamodb)) != 0:
                assert time.monotonic() < deadline, "the emulator of SSM does not start"
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop the emulator."""
        self._process.terminate()
        self._process.wait(timeout=10)
