"""Processes that more than one benchmark starts: the emulator of DynamoDB, and brokers."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox import environment
from sandbox.ports import Ports
from tests.support.dynamodb_process import RunningDynamoDB
from tests.support.upstream_process import KEY, ROOT, RunningUpstream

HOST = "127.0.0.1"
SECRET = "a-secret-of-the-benchmarks-that-is-long-enough"  # noqa: S105 - it protects nothing


def listens(port: int) -> bool:
    """Whether a process listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@contextmanager
def running_dynamodb(folder: Path) -> Iterator[int]:
    """Start the emulator for this process and its children, and stop it at the end.

    Args:
        folder: The folder for its files.

    Yields:
        Its port.
    """
    emulator = RunningDynamoDB(folder)
    try:
        use_dynamodb(emulator.port, folder)
        yield emulator.port
    finally:
        emulator.stop()


def use_dynamodb(port: int, folder: Path) -> None:
    """Set the environment so that boto3 calls only a port of this machine."""
    ports = Ports(broker=0, upstream=0, dynamodb=port, demo=0)
    parts = environment.for_parts({}, ports, folder)
    os.environ.update(
        {name: parts[name] for name in parts if name[:4] == "AWS_" or name[:2] in {"NO", "no"}}
    )


def start_broker(
    folder: Path, number: int, port: int, upstream: RunningUpstream, **settings: str
) -> "subprocess.Popen[bytes]":
    """Start a broker.

    Args:
        folder: The folder for its log; its file `clock` holds the seconds to add to the time.
        number: The broker's number, for the name of its log.
        port: Its port.
        upstream: The stand-in for Sync.
        settings: Further settings, as environment variables.
    """
    with (folder / f"broker-{number}.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - the project's own program
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
    """Kill a broker, as a crash does."""
    broker.kill()
    broker.wait()
    if broker.stdin is not None:
        broker.stdin.close()
