"""A real upstream process, and short ways to call it over real sockets."""

import itertools
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parents[2]
# The demo page's where no port is set, and so one of those that may use the storage.
PAGE = "http://127.0.0.1:8080"
KEY = "test-key"


_LOWEST, _PORTS = 10_000, 22_000
_numbers = itertools.count(os.getpid() * 1021)


def free_port() -> int:
    """Give a port that nobody listens on.

    It is none of those that the system gives to outgoing connections, and each test process begins
    elsewhere: so nobody takes it before the program that it is for.
    """
    for number in _numbers:
        port = _LOWEST + number % _PORTS
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is always a next number")


class RunningUpstream:
    """A started upstream, and short ways to call it."""

    def __init__(self, folder: Path, port: int | None = None, **environment: str) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # A pipe that nobody reads would stop a process that complains a lot.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it is closed in `wait`
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.upstream"],
            cwd=ROOT,
            env={
                **os.environ,
                "UPSTREAM_PORT": str(self.port),
                "SANDBOX_DIR": str(folder),
                "SYNC_API_KEY": KEY,
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        assert self.process.stdout is not None
        self.greeting = self.process.stdout.readline()

    def stop(self) -> int:
        """Stop it in an orderly way, and give its exit code."""
        self.process.terminate()
        return self.wait()

    def kill(self) -> None:
        """Stop it with no chance to tidy up."""
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        """Wait for its end, and keep what it wrote to stderr as `complaints`."""
        self.process.communicate(timeout=10)
        with self._errors:
            self._errors.seek(0)
            self.complaints = self._errors.read()
        return self.process.returncode

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Call the API with the key."""
        headers = {"x-api-key": KEY, **arguments.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=30, **arguments)

    def presign(
        self, name: str = "clip.mp4", content_type: str = "video/mp4", size: int = 5
    ) -> dict[str, Any]:
        """Presign a file."""
        answer = self.call(
            "POST",
            "/v2/assets/upload",
            json={"fileName": name, "contentType": content_type, "size": size},
        )
        assert answer.status_code == 201, answer.text
        ticket: dict[str, Any] = answer.json()
        return ticket

    def upload(
        self, data: bytes = b"hello", name: str = "clip.mp4", content_type: str = "video/mp4"
    ) -> str:
        """Presign and PUT a file, and give its `url`."""
        ticket = self.presign(name, content_type, len(data))
        answer = put(ticket["uploadUrl"], data, content_type)
        assert answer.status_code == 200, answer.text
        url: str = ticket["url"]
        return url

    def register(self, url: str, **members: Any) -> requests.Response:
        """Register a URL, as a video unless told otherwise."""
        return self.call("POST", "/v2/assets", json={"url": url, "type": "VIDEO", **members})

    def asset(self, data: bytes = b"hello", **members: Any) -> dict[str, Any]:
        """Presign, PUT and register a file, and give its asset."""
        answer = self.register(self.upload(data), **members)
        assert answer.status_code == 201, answer.text
        asset: dict[str, Any] = answer.json()
        return asset

    def behave(self, **behaviors: Any) -> None:
        """Change behaviours."""
        answer = self.call("PATCH", "/_sandbox/behavior", json=behaviors)
        assert answer.status_code == 200, answer.text

    def order(self, do: Any, method: str = "*", path: str = "*", **more: Any) -> None:
        """Arm a fault."""
        fault = {"match": {"method": method, "path": path}, "do": do, **more}
        answer = self.call("POST", "/_sandbox/faults", json=fault)
        assert answer.status_code == 201, answer.text

    def journal(self) -> list[dict[str, Any]]:
        """Give what it received."""
        entries: list[dict[str, Any]] = self.call("GET", "/_sandbox/requests").json()
        return entries

    def outcomes(self) -> list[str]:
        """Give what it did, oldest first."""
        return [entry["outcome"] for entry in self.journal()]


def put(
    url: str, data: bytes, content_type: str = "video/mp4", origin: str | None = None
) -> requests.Response:
    """PUT bytes to a presigned URL as the vendor's client does, or as a page of an origin."""
    headers = {"Content-Type": content_type} | ({"Origin": origin} if origin else {})
    return requests.put(url, data=data, headers=headers, timeout=30)
