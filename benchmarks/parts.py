"""What more than one benchmark starts: the DynamoDB emulator, and brokers of their own processes.

Its import makes the project's packages and the tests' helpers importable.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from sandbox import environment  # noqa: E402 - as above
from sandbox.ports import Ports  # noqa: E402 - as above
from tests.support.dynamodb_process import RunningDynamoDB  # noqa: E402 - it needs the path above
from tests.support.upstream_process import KEY, RunningUpstream, free_port  # noqa: E402, F401 - and for others

HOST = "127.0.0.1"
SECRET = "a-secret-of-the-benchmarks-that-is-long-enough"  # noqa: S105 - it guards nothing


def listens(port: int) -> bool:
    """Say whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@contextmanager
def running_dynamodb(folder: Path) -> Iterator[int]:
    """Start the emulator, let this process and its children use it, and stop it at the end.

    Args:
        folder: Where it keeps its files.

    Returns:
        Its port.
    """
    emulator = RunningDynamoDB(folder)
    try:
        use_dynamodb(emulator.port, folder)
        yield emulator.port
    finally:
        emulator.stop()


def use_dynamodb(port: int, folder: Path) -> None:
    """Let boto3 in this process and its children reach a port of this machine, and nothing else."""
    ports = Ports(broker=0, upstream=0, dynamodb=port, demo=0)
    parts = environment.for_parts({}, ports, folder)
    os.environ.update(
        {name: parts[name] for name in parts if name[:4] == "AWS_" or name[:2] in {"NO", "no"}}
    )


def start_broker(
    folder: Path, number: int, port: int, upstream: RunningUpstream, **settings: str
) -> "subprocess.Popen[bytes]":
    """Start a broker, which writes its log into the folder, and reads its clock's lead from there.

    Args:
        folder: Holds the file `clock`.
        number: Which broker: it names the log.
        port: Where it listens.
        upstream: sync., to it.
        settings: Further settings, as environment variables.
    """
    with (folder / f"broker-{number}.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, str(ROOT / "tests" / "faults" / "broker_process.py")],
            cwd=ROOT,
            env={
                **os.environ,
                "AUTH_MODE": "jwt",
                "JWT_SECRET": SECRET,
                "SYNC_API_KEY": KEY,
                "SYNC_BASE_URL": upstream.url,
                "SYNC_STORAGE_HOSTS": f"{HOST}:{upstream.port}",
                "BROKER_PORT": str(port),
                "CLOCK_FILE": str(folder / "clock"),
                **settings,
            },
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )


def end_broker(broker: "subprocess.Popen[bytes]") -> None:
    """End a broker at once, as a crash does."""
    broker.kill()
    broker.wait()
    if broker.stdin is not None:
        broker.stdin.close()
