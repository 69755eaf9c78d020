"""Measure the broker through the local gateway: `python benchmarks/throughput.py`.

The same calls are made straight to sync.'s stand-in, too. Both run on this machine in one run, so
the ratios count, not the figures. The time inside the handler is what the broker's own log says,
less its calls to sync. and to DynamoDB.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parent.parent
PORTS = {
    "BROKER_PORT": "18000",
    "UPSTREAM_PORT": "18001",
    "DYNAMODB_PORT": "18002",
    "DEMO_PORT": "18080",
}
BROKER, UPSTREAM, DEMO = (
    f"http://127.0.0.1:{PORTS[name]}" for name in ("BROKER_PORT", "UPSTREAM_PORT", "DEMO_PORT")
)
KEY = "the-benchmarks-own-key"
ROUNDS = 400
WORKERS = 4
FILE = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}


def measure(name: str, jobs: list[Callable[[requests.Session], requests.Response]]) -> None:
    """Run jobs on a few connections that are kept open, and print rate and percentiles."""
    sessions = [requests.Session() for _ in range(WORKERS)]
    for session in sessions:
        session.trust_env = False

    def work(worker: int) -> list[float]:
        times = []
        for job in jobs[worker::WORKERS]:
            started = time.perf_counter()
            job(sessions[worker]).raise_for_status()
            times.append(time.perf_counter() - started)
        return times

    started = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        times = [one for some in pool.map(work, range(WORKERS)) for one in some]
    rate = len(jobs) / (time.perf_counter() - started)
    cuts = statistics.quantiles(times, n=100)
    print(f"{name:34} {rate:7.0f}/s   p50 {cuts[49] * 1e3:6.1f} ms   p99 {cuts[98] * 1e3:6.1f} ms")


def calls(method: str, url: str, headers: dict[str, str], body: Any = None) -> Any:
    """Make one job."""
    return lambda session: session.request(method, url, headers=headers, json=body, timeout=60)


def landed(headers: dict[str, str]) -> list[str]:
    """Begin uploads and PUT their bytes; return the ids."""
    ids = []
    with requests.Session() as session:
        for _ in range(ROUNDS):
            upload = session.post(f"{BROKER}/uploads", headers=headers, json=FILE, timeout=60)
            pending = upload.json()
            session.put(
                pending["uploadUrl"], data=b"hello", headers=pending["headers"], timeout=60
            ).raise_for_status()
            ids.append(pending["id"])
    return ids


def inside(log: Path) -> None:
    """Print the time in the handler outside its calls, by route."""
    by_route: dict[str, list[float]] = {}
    for line in log.read_text().splitlines():
        if '"event": "request"' not in line:
            continue
        one = json.loads(line)
        own = one["durationMs"] - one["upstreamMs"] - one["dynamodbMs"]
        by_route.setdefault(f"{one['method']} {one['route']}", []).append(own)
    print("\nIn the handler, outside its calls to sync. and DynamoDB (4 threads on one GIL):")
    for route, times in by_route.items():
        cuts = statistics.quantiles(times, n=100)
        print(f"{route:34} p50 {cuts[49]:6.2f} ms   p99 {cuts[98]:6.2f} ms   of {len(times)}")


def run(folder: Path) -> None:
    """Measure a system that is up."""
    token = requests.get(f"{DEMO}/token?sub=bench", timeout=9).json()["token"]
    ours = {"Authorization": f"Bearer {token}"}
    theirs = {"x-api-key": KEY}
    requests.patch(
        f"{UPSTREAM}/_sandbox/behavior", json={"presignsPerMinute": 1_000_000}, timeout=9
    ).raise_for_status()
    uploads = [calls("POST", f"{BROKER}/uploads", ours, FILE)] * ROUNDS
    presigns = [calls("POST", f"{UPSTREAM}/v2/assets/upload", theirs, FILE)] * ROUNDS
    ids = landed(ours)
    completes = [calls("POST", f"{BROKER}/uploads/{one}/complete", ours) for one in ids]
    url = requests.post(f"{UPSTREAM}/v2/assets/upload", headers=theirs, json=FILE, timeout=9).json()
    requests.put(
        url["uploadUrl"], data=b"hello", headers={"Content-Type": "video/mp4"}, timeout=9
    ).raise_for_status()
    asset = {"url": url["url"], "type": "VIDEO"}
    registers = [calls("POST", f"{UPSTREAM}/v2/assets", theirs, asset)] * ROUNDS
    measure("POST /uploads", uploads)
    measure("  straight to sync.'s stand-in", presigns)
    measure("POST /uploads/{id}/complete", completes)
    measure("  straight to sync.'s stand-in", registers)
    measure("  repeated", completes)
    measure("GET /health", [calls("GET", f"{BROKER}/health", {})] * ROUNDS)
    inside(folder / "logs" / "broker.log")


def main() -> None:
    """Start the sandbox, measure, and stop it."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox"],
            cwd=ROOT,
            env={**os.environ, **PORTS, "SANDBOX_DIR": folder, "SYNC_API_KEY": KEY},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            while "Logs in" not in process.stdout.readline():
                if process.poll() is not None:
                    sys.exit("The sandbox did not start.")
            run(Path(folder))
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
