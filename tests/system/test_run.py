"""`make run` with real processes, ports and signals."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import requests
from sync import Sync

from tests.support.running_sandbox import NAMES, Sandbox, sandbox
from tests.support.upstream_process import ROOT, free_port


def authorization(running: Sandbox, subject: str = "alice") -> dict[str, str]:
    """Return the header with a token from the demo's `/token`."""
    response = requests.get(f"{running.url('DEMO_PORT')}/token?sub={subject}", timeout=9)
    return {"Authorization": f"Bearer {response.json()['token']}"}


def example(running: Sandbox, file: Path) -> str:
    """Run the documented example, and return the asset's id."""
    done = subprocess.run(
        [sys.executable, "docs/examples/upload.py", str(file)],
        cwd=ROOT,
        env={
            **os.environ,
            "BROKER_URL": running.url("BROKER_PORT"),
            "BACKEND_URL": running.url("DEMO_PORT"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def is_alive(pid: int) -> bool:
    """Whether a process is running."""
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["ctrl-c", "term"]
)
def test_sandbox_stops_on_signals(tmp_path: Path, number: int, group: bool) -> None:  # noqa: FBT001 - a parameter
    """Ctrl-C and SIGTERM stop every process."""
    running = Sandbox(tmp_path)
    running.wait_until_up()
    processes = running.process_ids()
    assert len(processes) >= 6
    output = running.stop(number, group=group)
    assert "Stopped." in output
    assert not [pid for pid in processes if is_alive(pid)]
    for port in running.ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) != 0


def processes_of(folder: Path) -> list[int]:
    """Return the processes whose environment has a sandbox's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if str(folder).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


def all_end(folder: Path) -> bool:
    """Whether all processes of a sandbox end within a time limit."""
    deadline = time.monotonic() + 15
    while processes_of(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("milliseconds", range(100, 1300, 150))
def test_sandbox_stops_during_start(tmp_path: Path, milliseconds: int) -> None:
    """A signal at any time during the start leaves no process running."""
    running = Sandbox(tmp_path)
    time.sleep(milliseconds / 1000)
    os.killpg(running.process.pid, signal.SIGINT)
    running.process.communicate(timeout=20)
    assert all_end(tmp_path)


def test_parts_end_after_kill(tmp_path: Path) -> None:
    """If the first process is killed, the parts end too."""
    running = Sandbox(tmp_path)
    running.wait_until_up()
    os.killpg(running.process.pid, signal.SIGKILL)
    running.process.communicate(timeout=20)
    assert all_end(tmp_path)


def test_second_sandbox_in_folder_is_refused(tmp_path: Path) -> None:
    """A second sandbox with the same folder is refused, and the logs of the first are kept."""
    with sandbox(tmp_path) as running:
        example(running, ROOT / "sandbox" / "samples" / "sample.png")
        log = tmp_path / "logs" / "broker.log"
        before = log.stat().st_size
        second = Sandbox(tmp_path)
        output, _ = second.process.communicate(timeout=20)
        assert second.process.returncode != 0
        assert "Another sandbox runs in" in output
        assert log.stat().st_size >= before


def test_data_survives_restart(tmp_path: Path) -> None:
    """Uploaded files are there after a restart, both at Sync and in the broker's records."""
    ports = {name: str(free_port()) for name in NAMES}
    with sandbox(tmp_path, **ports) as running:
        asset_id = example(running, ROOT / "sandbox" / "samples" / "sample.mp4")
        # Python knows no media type for this extension, so the broker decides by the extension.
        (tmp_path / "sound.alac").write_bytes(b"hello")
        sound_id = example(running, tmp_path / "sound.alac")
    with sandbox(tmp_path, **ports) as running:
        response = requests.get(
            f"{running.url('BROKER_PORT')}/assets/{asset_id}",
            headers=authorization(running),
            timeout=9,
        )
        assert response.status_code == 200
        url = response.json()["asset"]["url"]
        stored = requests.get(url, timeout=9).content
        assert stored == (ROOT / "sandbox" / "samples" / "sample.mp4").read_bytes()
        with httpx.Client() as http:
            key = (tmp_path / "api-key").read_text().strip()
            assert key in running.output
            client = Sync(base_url=running.url("UPSTREAM_PORT"), api_key=key, httpx_client=http)
            assert {asset.id for asset in client.assets.list().items} == {asset_id, sound_id}


@pytest.mark.parametrize("name", NAMES)
def test_port_in_use_is_reported(tmp_path: Path, name: str) -> None:
    """A port in use is reported with the variable that changes it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        running = Sandbox(tmp_path, **{name: port})
        output, _ = running.process.communicate(timeout=20)
    assert running.process.returncode != 0
    assert f"Port {port} is in use" in output
    assert f"{name}=" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("value", ["x", "0", "65536", "80.5"])
def test_bad_port_is_reported(tmp_path: Path, value: str) -> None:
    """An invalid port is reported with its variable."""
    running = Sandbox(tmp_path, BROKER_PORT=value)
    output, _ = running.process.communicate(timeout=20)
    assert "BROKER_PORT must be a port" in output
    assert "Traceback" not in output


def test_failed_part_is_reported(tmp_path: Path) -> None:
    """If a part ends, the end of its log is printed and the other parts are stopped."""
    running = Sandbox(tmp_path, JWT_SECRET="short")
    output, _ = running.process.communicate(timeout=30)
    assert running.process.returncode != 0
    assert "JWT_SECRET is not valid" in output
    for port in running.ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) != 0


def test_failed_part_reports_this_run_only(tmp_path: Path) -> None:
    """The printed log is of the failed run only, although the file has the earlier runs too."""
    output = ""
    for wrong in ({"JWT_SECRET": "short"}, {"AUTH_MODE": "sometimes"}):
        running = Sandbox(tmp_path, **wrong)
        output, _ = running.process.communicate(timeout=30)
    assert "AUTH_MODE" in output
    assert "JWT_SECRET" not in output
    assert "JWT_SECRET is not valid" in (tmp_path / "logs" / "broker.log").read_text()


def test_demo_page_is_always_allowed(tmp_path: Path) -> None:
    """The broker allows the configured origins and the demo page, and no other."""
    with sandbox(tmp_path, ALLOWED_ORIGINS="http://127.0.0.1:21090") as running:
        demo = running.url("DEMO_PORT")
        for origin, is_allowed in {
            demo: True,
            demo.replace("127.0.0.1", "localhost"): True,
            "http://127.0.0.1:21090": True,
            "http://127.0.0.1:21091": False,
        }.items():
            url = f"{running.url('BROKER_PORT')}/limits"
            headers = {**authorization(running), "Origin": origin}
            response = requests.get(url, headers=headers, timeout=9)
            allowed = response.headers.get("Access-Control-Allow-Origin")
            assert (allowed == origin) is is_allowed


def test_sandbox_ignores_aws_environment(tmp_path: Path) -> None:
    """Whatever AWS account is in the environment, the sandbox uses its own emulator."""
    foreign = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1",
        "AWS_PROFILE": "production",
        "AWS_REGION": "eu-central-1",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }
    with sandbox(tmp_path, **foreign) as running:
        assert example(running, ROOT / "sandbox" / "samples" / "sample.png")


def test_files_are_private(tmp_path: Path) -> None:
    """Whatever the umask, no other user of this machine can read the sandbox's files."""
    folder = tmp_path / "data"
    before = os.umask(0o000)
    try:
        with sandbox(folder) as running:
            example(running, ROOT / "sandbox" / "samples" / "sample.mp4")
    finally:
        os.umask(before)
    kept = [folder, *folder.rglob("*")]
    names = {str(path.relative_to(folder)) for path in kept}
    assert {"api-key", "dynamodb/dynamodb.json", "logs/broker.log", "format", "tmp"} <= names
    assert {oct(path.stat().st_mode & 0o077) for path in kept} == {"0o0"}


def test_environment_key_is_used(tmp_path: Path) -> None:
    """A key in the environment is used, but neither printed nor stored."""
    with sandbox(tmp_path, SYNC_API_KEY="a-key-of-my-own") as running:
        upstream = f"{running.url('UPSTREAM_PORT')}/v2/assets"
        own = {"x-api-key": "a-key-of-my-own"}
        assert requests.get(upstream, headers=own, timeout=9).status_code == 200
        fixed = {"x-api-key": "sandbox-key"}
        assert requests.get(upstream, headers=fixed, timeout=9).status_code == 401
    assert "a-key-of-my-own" not in running.output
    assert not (tmp_path / "api-key").exists()


def test_upstream_alone_shares_key(tmp_path: Path) -> None:
    """The upstream alone creates the folder's key and prints its path; `make run` uses that key."""
    environ = {"PATH": os.environ["PATH"], "UPSTREAM_PORT": str(free_port())}
    alone = subprocess.Popen(
        [sys.executable, "-m", "sandbox.upstream"],
        cwd=ROOT,
        env={**environ, "SANDBOX_DIR": str(tmp_path / "data")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert alone.stdout is not None
    output = [alone.stdout.readline() for _ in range(2)]
    alone.terminate()
    alone.communicate(timeout=10)
    path = tmp_path / "data" / "api-key"
    key = path.read_text()
    assert str(path) in output[1]
    assert path.stat().st_mode & 0o777 == 0o600
    with sandbox(tmp_path / "data") as running:
        assert key.strip() in running.output
    assert path.read_text() == key


def test_user_secret_prints_warning(tmp_path: Path) -> None:
    """A JWT_SECRET in the environment prints a warning, and an empty one does not."""
    with sandbox(
        tmp_path / "a", JWT_SECRET="a real secret that signs the tokens of an app"
    ) as running:
        assert "Warning: your environment sets JWT_SECRET" in running.output
    with sandbox(tmp_path / "b", JWT_SECRET="") as running:
        assert "Warning" not in running.output


def environ_of(pid: int) -> dict[str, str]:
    """Return a process's environment."""
    raw = Path(f"/proc/{pid}/environ").read_bytes().decode()
    return dict(pair.split("=", 1) for pair in raw.split("\0") if "=" in pair)


def test_emulator_process_is_isolated(tmp_path: Path) -> None:
    """The emulator gets nothing of the developer's environment, and writes only into its folder."""
    common = tmp_path / "common"
    common.mkdir()
    secrets = {
        "GITHUB_TOKEN": "a-token-of-the-developer",
        "SSH_AUTH_SOCK": "/a/socket/of/the/developer",
        "DATABASE_URL": "postgres://of-the-developer",
        "TMPDIR": str(common),
    }
    with sandbox(tmp_path / "data", **secrets) as running:
        (emulator,) = (
            pid
            for pid in running.process_ids()
            if b"sandbox.dynamodb" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        values = environ_of(emulator)
        assert values["SERVICES"] == "dynamodb"
        assert not secrets.keys() & (values.keys() - {"TMPDIR"})
        assert not [value for value in values.values() if "developer" in value]
        for name in ("HOME", "TMPDIR", "STATE_DIR"):
            assert Path(values[name]).is_relative_to(tmp_path / "data")
        assert list(common.glob("*")) == []


def test_older_emulator_state_is_deleted(tmp_path: Path) -> None:
    """Other state files, such as Lambda functions, are deleted before the emulator loads them."""
    ports = {name: str(free_port()) for name in NAMES}
    with sandbox(tmp_path, **ports) as running:
        asset_id = example(running, ROOT / "sandbox" / "samples" / "sample.png")
    state = tmp_path / "dynamodb"
    planted = ("lambda.json", "eventbridge.json", "scheduler.json", "pipes.json")
    for name in planted:
        (state / name).write_text('{"__ministack_format__": 2, "payload": {"planted": "yes"}}')
    with sandbox(tmp_path, **ports) as running:
        assert not [path for path in state.glob("*.json") if "planted" in path.read_text()]
        url = f"{running.url('BROKER_PORT')}/assets/{asset_id}"
        assert requests.get(url, headers=authorization(running), timeout=9).status_code == 200


def test_old_data_is_moved(tmp_path: Path) -> None:
    """Data of an older version is moved with one printed line, and the sandbox starts empty."""
    folder = tmp_path / "data"
    (folder / "dynamodb").mkdir(parents=True)
    (folder / "dynamodb" / "lambda.json").write_text("{}")
    with sandbox(folder) as running:
        moved = tmp_path / "data.before-1"
        assert [line for line in running.output.splitlines() if str(moved) in line]
        assert (moved / "dynamodb" / "lambda.json").read_text() == "{}"
        assert not (folder / "dynamodb" / "lambda.json").exists()
    with sandbox(folder) as running:
        assert "was moved" not in running.output


def test_remote_origins_are_reported(tmp_path: Path) -> None:
    """An invalid SANDBOX_ORIGINS is reported with its name before anything starts."""
    running = Sandbox(tmp_path / "data", SANDBOX_ORIGINS="https://app.example.com")
    output, _ = running.process.communicate(timeout=20)
    assert running.process.returncode != 0
    assert "SANDBOX_ORIGINS may name pages of this machine only" in output
    assert "Traceback" not in output
    assert not (tmp_path / "data").exists()


def test_parts_listen_on_loopback_only(tmp_path: Path) -> None:
    """Every part listens on loopback only."""
    with sandbox(tmp_path) as running:
        listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        for port in running.ports.values():
            lines = [line.split() for line in listening.splitlines()[1:]]
            local = [line[1] for line in lines if line[1:4:2] and line[3] == "0A"]
            addresses = {a.split(":")[0] for a in local if int(a.split(":")[1], 16) == int(port)}
            assert addresses == {"0100007F"}, port


def test_second_start_is_fast(tmp_path: Path) -> None:
    """With nothing to install, the sandbox starts in under five seconds."""
    for _ in range(2):
        running = Sandbox(tmp_path)
        seconds = running.wait_until_up()
        running.stop()
    assert seconds < 5


def test_make_run_in_fresh_clone(tmp_path: Path) -> None:
    """`make run` installs and starts everything in a fresh clone, and git ignores the new files."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    running = Sandbox(clone / ".sandbox", root=clone)
    try:
        running.wait_until_up()
        assert requests.get(running.url("DEMO_PORT"), timeout=9).status_code == 200
        assert requests.get(f"{running.url('BROKER_PORT')}/health", timeout=9).ok
    finally:
        running.stop()
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True
    )
    assert status.stdout == ""
    assert (clone / ".sandbox").exists()
    shutil.rmtree(clone)


def test_make_prints_help() -> None:
    """`make` without a target prints the targets."""
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    for job in ("setup", "run", "test", "lint"):
        assert f"make {job}" in done.stdout
