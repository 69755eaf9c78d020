"""Measure what a PUT of 2 GiB costs the sandbox's upstream: `python benchmarks/put_memory.py`.

Prints the peak of the process's memory (`VmHWM`, so it needs Linux) and the speed. The sender
shares the machine, so the speed is a lower bound.
"""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

PORT = int(os.environ.get("UPSTREAM_PORT", "8009"))
KEY = "the-benchmarks-own-key"
SIZE = 2 * 1024**3  # bytes
BLOCK = bytes(1024 * 1024)
ROOT = Path(__file__).parents[1]


def call(
    method: str, path: str, body: bytes | Iterator[bytes], headers: dict[str, str]
) -> tuple[int, bytes]:
    """Send one request to the upstream, and give status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=600)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def blocks() -> Iterator[bytes]:
    """Give `SIZE` bytes."""
    for _ in range(SIZE // len(BLOCK)):
        yield BLOCK


def measure(pid: int) -> None:
    """PUT the bytes, and print the figures."""
    body = {"fileName": "large.mp4", "contentType": "video/mp4", "size": SIZE}
    _, content = call(
        "POST",
        "/v2/assets/upload",
        json.dumps(body).encode(),
        {"x-api-key": KEY, "Content-Type": "application/json"},
    )
    parts = urlsplit(json.loads(content)["uploadUrl"])
    headers = {"Content-Type": "video/mp4", "Content-Length": str(SIZE)}
    start = time.monotonic()
    status, _ = call("PUT", f"{parts.path}?{parts.query}", blocks(), headers)
    seconds = time.monotonic() - start
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    print(f"PUT of {SIZE / 1024**3:g} GiB: status {status}, {SIZE / seconds / 1e6:.0f} MB/s")
    print(f"peak memory of the upstream: {peak * 1024 / 1e6:.0f} MB")


def main() -> None:
    """Start an upstream with an empty folder, measure, and stop it."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "UPSTREAM_PORT": str(PORT), "SANDBOX_DIR": folder}
        environment["SYNC_API_KEY"] = KEY
        command = [sys.executable, "-m", "sandbox.upstream"]
        with subprocess.Popen(  # noqa: S603 - our own program
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        ) as upstream:
            if upstream.stdout is not None and upstream.stdout.readline():
                measure(upstream.pid)
            upstream.terminate()


if __name__ == "__main__":
    main()
