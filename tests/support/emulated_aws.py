"""The emulator of AWS on loopback, with enforced policies, and its clients."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from tests.support.upstream_process import ROOT, free_port

REGION = "us-east-1"
ACCOUNT = "000000000000"
ROOT_KEY = "operator"


class EmulatedAws:
    """A started emulator.

    Attributes:
        url: The endpoint of all services.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "emulator.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [str(ROOT / ".venv-ministack" / "bin" / "ministack")],
                env={
                    # Only these variables: the emulator runs functions with its environment.
                    "PATH": os.environ["PATH"],
                    "HOME": str(folder),
                    "DOCKER_HOST": f"unix://{folder}/no-docker",
                    "IOT_MTLS_ENABLED": "0",
                    "SFTP_ENABLED": "0",
                    # The emulator enforces policies for every key but this one. It refuses a
                    # function's call that its role does not allow, as AWS does.
                    "AUTH": "true",
                    "AWS_ACCESS_KEY_ID": ROOT_KEY,
                    "AWS_SECRET_ACCESS_KEY": ROOT_KEY,
                    "AWS_ENDPOINT_URL": self.url,
                    "BIND_HOST": "127.0.0.1",
                    "GATEWAY_PORT": str(self.port),
                    "LOG_LEVEL": "WARNING",
                    "NO_PROXY": "*",
                    "no_proxy": "*",
                    "PYTHONPATH": str(Path(__file__).parent / "lambda_site"),
                    # The emulator unpacks the functions there, and does not delete them.
                    "TMPDIR": str(folder),
                },
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of an operator's shell."""
        return {
            "AWS_ACCESS_KEY_ID": ROOT_KEY,
            "AWS_SECRET_ACCESS_KEY": ROOT_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: Any) -> Any:
        """Return a client with the operator's key."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ROOT_KEY,
            aws_secret_access_key=ROOT_KEY,
        )

    def api(self, api_id: str, stage: str = "api") -> str:
        """Return the URL of a deployed API."""
        return f"{self.url}/_aws/execute-api/{api_id}/{stage}"

    def lines(self, group: str) -> Iterator[str]:
        """Yield the lines of a log group."""
        logs = self.client("logs")
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group):
            yield from (event["message"] for event in page["events"])

    def stop(self) -> None:
        """Stop the emulator, and the functions that it runs."""
        self._process.terminate()
        self._process.wait(timeout=20)


@contextmanager
def emulated_aws(folder: Path) -> Iterator[EmulatedAws]:
    """Start an emulator, and stop it at the end."""
    started = EmulatedAws(folder)
    try:
        yield started
    finally:
        started.stop()


def wait_until(holds: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until a function returns a true value, and return that value."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.1)
    return found
