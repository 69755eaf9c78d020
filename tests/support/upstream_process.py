"""A real upstream process, and methods that call it over real sockets."""

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
# The demo page's origin by default. It may use the storage.
PAGE = "http://127.0.0.1:8080"
KEY = "test-key"


_LOWEST, _PORTS = 10_000, 22_000
_numbers = itertools.count(os.getpid() * 1021)


def free_port() -> int:
    """Return a port that no process listens on.

    The port is outside the range that the system uses for outgoing connections, and each test
    process begins with another number, so it stays free until the caller's program uses it.
    """
    for number in _numbers:
        port = _LOWEST + number % _PORTS
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is always a next number")


class RunningUpstream:
    """A running upstream, and methods that call it."""

    def __init__(self, folder: Path, port: int | None = None, **environment: str) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # A pipe that is not read would block a process that writes a lot.
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
        self.first_line = self.process.stdout.readline()

    def stop(self) -> int:
        """Stop the process with SIGTERM, and return its exit code."""
        self.process.terminate()
        return self.wait()

    def kill(self) -> None:
        """Stop the process with SIGKILL."""
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        """Wait until the process ends, set `stderr`, and return the exit code."""
        self.process.communicate(timeout=10)
        with self._errors:
            self._errors.seek(0)
            self.stderr = self._errors.read()
        return self.process.returncode

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Call the API with the key, and return the response."""
        headers = {"x-api-key": KEY, **arguments.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=30, **arguments)

    def presign(
        self, name: str = "clip.mp4", content_type: str = "video/mp4", size: int = 5
    ) -> dict[str, Any]:
        """Presign a file, and return `uploadUrl`, `url` and `expiresIn`."""
        response = self.call(
            "POST",
            "/v2/assets/upload",
            json={"fileName": name, "contentType": content_type, "size": size},
        )
        assert response.status_code == 201, response.text
        presigned: dict[str, Any] = response.json()
        return presigned

    def upload(
        self, data: bytes = b"hello", name: str = "clip.mp4", content_type: str = "video/mp4"
    ) -> str:
        """Presign and PUT a file, and return its `url`."""
        presigned = self.presign(name, content_type, len(data))
        response = put(presigned["uploadUrl"], data, content_type)
        assert response.status_code == 200, response.text
        url: str = presigned["url"]
        return url

    def register(self, url: str, **fields: Any) -> requests.Response:
        """Register a URL, by default as a video, and return the response."""
        return self.call("POST", "/v2/assets", json={"url": url, "type": "VIDEO", **fields})

    def asset(self, data: bytes = b"hello", **fields: Any) -> dict[str, Any]:
        """Presign, PUT and register a file, and return its asset."""
        response = self.register(self.upload(data), **fields)
        assert response.status_code == 201, response.text
        asset: dict[str, Any] = response.json()
        return asset

    def behave(self, **behaviors: Any) -> None:
        """Change behaviours."""
        response = self.call("PATCH", "/_sandbox/behavior", json=behaviors)
        assert response.status_code == 200, response.text

    def order(self, do: Any, method: str = "*", path: str = "*", **more: Any) -> None:
        """Inject a fault."""
        fault = {"match": {"method": method, "path": path}, "do": do, **more}
        response = self.call("POST", "/_sandbox/faults", json=fault)
        assert response.status_code == 201, response.text

    def journal(self) -> list[dict[str, Any]]:
        """Return the requests that the upstream received, oldest first."""
        entries: list[dict[str, Any]] = self.call("GET", "/_sandbox/requests").json()
        return entries

    def outcomes(self) -> list[str]:
        """Return the outcomes of these requests."""
        return [entry["outcome"] for entry in self.journal()]


def put(
    url: str, data: bytes, content_type: str = "video/mp4", origin: str | None = None
) -> requests.Response:
    """PUT bytes to a presigned URL, as a page if there is an origin, and return the response."""
    headers = {"Content-Type": content_type} | ({"Origin": origin} if origin else {})
    return requests.put(url, data=data, headers=headers, timeout=30)
