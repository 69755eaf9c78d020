"""Measure cold starts: `python -m benchmarks.cold_start`.

`chalice package` creates three packages, which are measured with and without `.pyc` files: the
broker, a typical app with the same libraries, and bare Chalice. Each run is a new process that
imports the app and serves one request: `POST /uploads`, or `GET /uploads/{id}`, which needs neither
Sync nor a schema. The emulator of DynamoDB and the stand-in for Sync run on this machine, and the
packages take turns. Compare the ratios to the typical app (in brackets), not the figures. On a busy
machine, CPU time is more reliable, since a cold start is mostly computation.
"""

import argparse
import compileall
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import boto3
import jwt

from ops import table
from sandbox import environment
from sandbox.ports import Ports
from tests.support.dynamodb_process import RunningDynamoDB
from tests.support.upstream_process import KEY, ROOT, RunningUpstream, free_port

HERE = Path(__file__).parent
TABLE = "uploads"
BEGIN, READ = "POST /uploads", "GET /uploads/{id}"
FILE = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
SECRET = "a-secret-of-the-benchmark-that-is-long-enough"  # noqa: S105 - it protects nothing
# Libraries of Lambda's own runtime, which has bytecode for them.
LAMBDA_LIBRARIES = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3")
REQUIREMENTS = {
    "bare": "",
    "typical": "requests==2.34.2\njsonschema==4.26.0\n",
}


def package(name: str, folder: Path) -> dict[str, Path]:
    """Create a package, and return two folders: its files without and with bytecode."""
    project = folder / name
    project.mkdir()
    if name == "broker":
        for part in ("app.py", "requirements.txt"):
            shutil.copy(ROOT / part, project)
        shutil.copytree(
            ROOT / "chalicelib",
            project / "chalicelib",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    else:
        shutil.copy(HERE / f"{name}_app.py", project / "app.py")
        (project / "requirements.txt").write_text(REQUIREMENTS[name])
    (project / ".chalice").mkdir()
    config = {"version": "2.0", "app_name": name, "stages": {"dev": {}}}
    (project / ".chalice" / "config.json").write_text(json.dumps(config))
    subprocess.run(  # noqa: S603 - the project's own program
        [str(ROOT / ".venv" / "bin" / "chalice"), "package", "out"],
        cwd=project,
        env={**os.environ, "UPLOADS_TABLE": TABLE, "SYNC_API_KEY": KEY},
        check=True,
        capture_output=True,
    )
    archive = project / "out" / "deployment.zip"
    print(f"{name}: {archive.stat().st_size:,} bytes")
    found = {}
    for kind in ("without", "with"):
        found[kind] = project / kind
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(found[kind])
    compileall.compile_dir(found["with"], quiet=2, workers=1)
    return found


def runtime(folder: Path) -> Path:
    """Copy the libraries of Lambda's runtime into a folder, compile them, and return it."""
    target = folder / "runtime"
    target.mkdir()
    for name in LAMBDA_LIBRARIES:
        (source,) = (ROOT / ".venv" / "lib").glob(f"python3*/site-packages/{name}")
        if source.is_dir():
            shutil.copytree(source, target / name)
        else:
            shutil.copy(source, target)
    compileall.compile_dir(target, quiet=2, workers=1)
    return target


def event(method: str, resource: str, **fields: Any) -> str:
    """Return an event of API Gateway."""
    token = jwt.encode({"sub": "bench", "exp": int(time.time()) + 3600}, SECRET, "HS256")
    return json.dumps(
        {
            "requestContext": {
                "httpMethod": method,
                "resourcePath": resource,
                "path": f"/api{resource}",
            },
            "headers": {"content-type": "application/json", "authorization": f"Bearer {token}"},
            "multiValueQueryStringParameters": None,
            "pathParameters": None,
            "stageVariables": None,
            "body": None,
            "isBase64Encoded": False,
            **fields,
        }
    )


def run(code: Path, libraries: Path, sent: str) -> dict[str, Any]:
    """Run one cold start, and return its times and its response."""
    done = subprocess.run(  # noqa: S603 - as above
        [
            sys._base_executable,  # type: ignore[attr-defined]  # noqa: SLF001 - the venv's Python
            *("-I", "-S", "-B", str(HERE / "probe.py"), str(code), str(libraries), sent),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if measured["status"] not in {200, 201}:
        sys.exit(f"{code}: {done.stderr}\n{done.stdout}")
    return measured


def measure(folder: Path, runs: int) -> None:
    """Measure the packages in turn, and print the medians."""
    libraries = runtime(folder)
    packages = {name: package(name, folder) for name in ("bare", "typical", "broker")}
    times: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for _ in range(runs):
        for name, kinds in packages.items():
            for kind, code in kinds.items():
                # The caller's quota suffices for all runs.
                began = run(code, libraries, event("POST", "/uploads", body=json.dumps(FILE)))
                times.setdefault((BEGIN, kind, name), []).append(began)
                if name == "bare":
                    continue
                known = {"upload_id": began["body"]["id"]}
                read = event("GET", "/uploads/{upload_id}", pathParameters=known)
                times.setdefault((READ, kind, name), []).append(run(code, libraries, read))
    for route in (BEGIN, READ):
        for kind in ("without", "with"):
            rows = {
                of[2]: _medians(found) for of, found in times.items() if of[:2] == (route, kind)
            }
            report(f"{route}, {kind} .pyc", rows)


def report(head: str, rows: dict[str, dict[str, float]]) -> None:
    """Print one table."""
    print(f"\n{head:32} {'import':>10} {'first response':>14} {'CPU':>18}")
    typical = rows["typical"]
    for name, mine in rows.items():
        print(
            f"  {name:30} {mine['import']:7.0f} ms {mine['response']:7.0f} ms"
            f" ({mine['response'] / typical['response']:.2f}) {mine['cpu']:7.0f} ms"
            f" ({mine['cpu'] / typical['cpu']:.2f})"
        )


def _medians(of: list[dict[str, Any]]) -> dict[str, float]:
    return {
        kind: statistics.median(one[kind] for one in of) for kind in ("import", "response", "cpu")
    }


def main() -> None:
    """Start what the apps call, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="runs of each package")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        emulator = RunningDynamoDB(folder)
        ports = Ports(broker=0, upstream=0, dynamodb=emulator.port, demo=free_port())
        own = environment.for_parts({}, ports, folder)
        (folder / "tmp").mkdir()  # the environment names it as TMPDIR
        os.environ.update(own)
        upstream = RunningUpstream(folder)
        os.environ |= {
            "SYNC_BASE_URL": upstream.url,
            "SYNC_API_KEY": KEY,
            "JWT_SECRET": SECRET,
            "UPLOADS_TABLE": TABLE,
        }
        try:
            table.create(boto3.client("dynamodb"), TABLE)
            measure(folder, chosen.runs)
        finally:
            emulator.stop()
            upstream.stop()


if __name__ == "__main__":
    main()
