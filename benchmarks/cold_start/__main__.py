"""Measure cold starts: `sudo .venv/bin/python -m benchmarks.cold_start`.

`chalice package` creates three packages: the broker, a typical app with the same libraries and as
many calls, and bare Chalice. Each run is a new process that does what Lambda does. It imports the
app at full speed (INIT), and then serves one request with the share of a CPU that 512 MB have
(the handler), for which it enters a control group, as root. `--plain` leaves the group out. Sync,
DynamoDB and SSM are emulators on this machine, behind TLS. The packages take turns. Compare the
ratios, not the milliseconds.

`POST /uploads` is measured as both apps are shipped: the broker with the bytecode that
`python -m ops provision` compiles, the typical app without. It is also measured with bytecode in
both.
"""

import argparse
import compileall
import contextlib
import json
import os
import py_compile
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import jwt

from benchmarks.cold_start import tls
from benchmarks.parts import use_dynamodb
from ops import table
from tests.support.dynamodb_process import RunningDynamoDB
from tests.support.throttling_ssm import ThrottlingSsm
from tests.support.upstream_process import KEY, ROOT, RunningUpstream

HERE = Path(__file__).parent
TABLE = "uploads"
BEGIN, READ = "POST /uploads", "GET /uploads/{id}"
FILE = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
SECRET = "a-secret-of-the-benchmark-that-is-long-enough"  # noqa: S105 - it protects nothing
PARAMETERS = {"/broker/api-key": KEY, "/broker/jwt-secret": SECRET}
PHASES = ("init", "handler", "sum", "init CPU", "handler CPU")
# Libraries of Lambda's own runtime, which has bytecode for them.
LAMBDA_LIBRARIES = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3")
REQUIREMENTS = {
    "bare": "",
    "typical": "PyJWT==2.15.1\nrequests==2.34.2\njsonschema==4.26.0\n",
}
# 512 MB are 0.289 of a CPU, which Linux enforces in periods of 20 ms (in microseconds here).
PERIOD, QUOTA = 20_000, 5_780


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
        # Chalice imports the app, and the typical one calls SSM then.
        env={**os.environ, "AWS_CA_BUNDLE": str(folder / f"{tls.NAME}.pem")},
        check=True,
        capture_output=True,
    )
    archive = project / "out" / "deployment.zip"
    print(f"{name}: {archive.stat().st_size:,} bytes without bytecode")
    found = {}
    for kind in ("without", "with"):
        found[kind] = project / kind
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(found[kind])
    mode = py_compile.PycInvalidationMode
    compileall.compile_dir(
        found["with"],
        quiet=2,
        workers=1,
        # The broker's bytecode is compiled before it is packaged, so it can't go by time.
        invalidation_mode=mode.CHECKED_HASH if name == "broker" else mode.TIMESTAMP,
    )
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


def event(user: str, method: str, resource: str, **fields: Any) -> str:
    """Return an event of API Gateway."""
    token = jwt.encode({"sub": user, "exp": int(time.time()) + 3600}, SECRET, "HS256")
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


def run(code: Path, libraries: Path, group: str, sent: str) -> dict[str, Any]:
    """Run one cold start, and return its times and its response."""
    done = subprocess.run(  # noqa: S603 - as above
        [
            sys._base_executable,  # type: ignore[attr-defined]  # noqa: SLF001 - the venv's Python
            *("-I", "-S", "-B", str(HERE / "probe.py"), str(code), str(libraries), group, sent),
        ],
        env={name: value for name, value in os.environ.items() if not name.endswith("CA_BUNDLE")}
        | {"AWS_LAMBDA_FUNCTION_NAME": "api", "_HANDLER": "app.app"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if measured["status"] not in {200, 201}:
        sys.exit(f"{code}: {done.stderr}\n{done.stdout}")
    return {**measured, "sum": measured["init"] + measured["handler"]}


def measure(folder: Path, runs: int, group: str) -> None:
    """Measure the packages in turn, and print the medians."""
    libraries = runtime(folder)
    packages = {name: package(name, folder) for name in ("bare", "typical", "broker")}
    certificate = (folder / f"{tls.NAME}.pem").read_text()
    for roots in (*folder.rglob("certifi/cacert.pem"), *folder.rglob("botocore/cacert.pem")):
        roots.write_text(roots.read_text() + certificate)
    times: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for number in range(runs):
        for name, kinds in packages.items():
            for kind, code in kinds.items():
                user = f"user-{number}-{kind}"
                sent = event(user, "POST", "/uploads", body=json.dumps(FILE))
                began = run(code, libraries, group, sent)
                times.setdefault((BEGIN, kind, name), []).append(began)
                if name == "bare":
                    continue
                known = {"upload_id": began["body"]["id"]}
                sent = event(user, "GET", "/uploads/{upload_id}", pathParameters=known)
                found = run(code, libraries, group, sent)
                times.setdefault((READ, kind, name), []).append(found)
    for route in (BEGIN, READ):
        report(route, {of[1:]: _medians(found) for of, found in times.items() if of[0] == route})
    imported = times[BEGIN, "with", "broker"][-1]["imported"]
    print(f"\nThe broker's handler imports {len(imported)} modules: {', '.join(imported)}")


def report(route: str, medians: dict[tuple[str, str], dict[str, float]]) -> None:
    """Print one table. The ratios are to the typical app's sum: as shipped, and with bytecode."""
    print(f"\n| {route}, ms | " + " | ".join(PHASES) + " | as shipped | both with `.pyc` |")
    print("|---" * (len(PHASES) + 3) + "|")
    for (kind, name), mine in medians.items():
        cells = [f"{mine[phase]:.0f}" for phase in PHASES]
        for other in ("without", "with"):
            ratio = mine["sum"] / medians[other, "typical"]["sum"]
            handler = mine["handler"] / medians[other, "typical"]["handler"]
            cells.append(f"{ratio:.2f}, handler {handler:.2f}")
        print(f"| {name}, {kind} `.pyc` | " + " | ".join(cells) + " |")


def _medians(of: list[dict[str, Any]]) -> dict[str, float]:
    return {phase: statistics.median(one[phase] for one in of) for phase in PHASES}


@contextlib.contextmanager
def control_group() -> Iterator[str]:
    """Create a control group with the CPU of 512 MB, and yield its folder."""
    root = Path("/sys/fs/cgroup")
    is_v1 = (root / "cpu").is_dir()
    group = (root / "cpu" if is_v1 else root) / f"cold-start-{os.getpid()}"
    try:
        if not is_v1:
            (root / "cgroup.subtree_control").write_text("+cpu")
        group.mkdir()
        if is_v1:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(QUOTA))
        else:
            (group / "cpu.max").write_text(f"{QUOTA} {PERIOD}")
        yield str(group)
    except OSError as error:
        sys.exit(f"The model needs a control group: run it as root, or with --plain ({error}).")
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


@contextlib.contextmanager
def behind_tls(folder: Path, *servers: int) -> Iterator[list[str]]:
    """Start a TLS proxy, and yield its URLs for the ports."""
    proxy = subprocess.Popen(  # noqa: S603 - the project's own module
        [sys.executable, "-m", "benchmarks.cold_start.tls", str(folder), *map(str, servers)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        ports = proxy.stdout.readline() if proxy.stdout else ""
        yield [f"https://{tls.HOST}:{port}" for port in ports.split()]
    finally:
        proxy.terminate()
        proxy.communicate()


def main() -> None:
    """Start what the apps call, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="runs of each package")
    parser.add_argument("--plain", action="store_true", help="all of the CPU for the handler too")
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        emulator = RunningDynamoDB(folder)
        stack.callback(emulator.stop)
        use_dynamodb(emulator.port, folder)
        upstream = RunningUpstream(folder, SANDBOX_BEHAVIOR='{"presignsPerMinute": 1000000}')
        stack.callback(upstream.stop)
        ssm = ThrottlingSsm(PARAMETERS, lambda: True)
        stack.callback(ssm.stop)
        table.create(boto3.client("dynamodb"), TABLE)
        ports = (int(url.rpartition(":")[2]) for url in (upstream.url, ssm.url))
        sync, secrets, dynamodb = stack.enter_context(behind_tls(folder, *ports, emulator.port))
        os.environ |= {
            "AWS_ENDPOINT_URL_DYNAMODB": dynamodb,
            "AWS_ENDPOINT_URL_SSM": secrets,
            "SYNC_BASE_URL": sync,
            "SYNC_API_KEY_PARAMETER": "/broker/api-key",
            "JWT_SECRET_PARAMETER": "/broker/jwt-secret",
            "AUTH_MODE": "jwt",
            "PRESIGNS_PER_MINUTE": "300",
            "UPLOADS_TABLE": TABLE,
        }
        group = "" if chosen.plain else stack.enter_context(control_group())
        measure(folder, chosen.runs, group)


if __name__ == "__main__":
    main()
