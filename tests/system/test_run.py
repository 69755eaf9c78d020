"""`make run` as a user runs it: real processes, real ports, real signals."""

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


def token(running: Sandbox, subject: str = "alice") -> dict[str, str]:
    """Get a token as the page does."""
    answer = requests.get(f"{running.url('DEMO_PORT')}/token?sub={subject}", timeout=9)
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def example(running: Sandbox, file: Path) -> str:
    """Run the documented example and return the asset's id."""
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
    """Say whether a process runs."""
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["ctrl-c", "term"]
)
def test_stop(tmp_path: Path, number: int, group: bool) -> None:  # noqa: FBT001
    """Ctrl-C and SIGTERM stop everything, and no process is left behind."""
    running = Sandbox(tmp_path)
    running.wait_until_up()
    members = running.members()
    assert len(members) >= 6
    said = running.stop(number, group=group)
    assert "Stopped." in said
    assert not [pid for pid in members if is_alive(pid)]
    for port in running.ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) != 0


def processes_of(folder: Path) -> list[int]:
    """List the processes whose environment names a sandbox's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if str(folder).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


def gone(folder: Path) -> bool:
    """Wait until no process of a sandbox is left."""
    deadline = time.monotonic() + 15
    while processes_of(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("milliseconds", range(100, 1300, 150))
def test_stop_in_mid_start(tmp_path: Path, milliseconds: int) -> None:
    """A signal at any moment of the start leaves no process behind."""
    running = Sandbox(tmp_path)
    time.sleep(milliseconds / 1000)
    os.killpg(running.process.pid, signal.SIGINT)
    running.process.communicate(timeout=20)
    assert gone(tmp_path)


def test_killed(tmp_path: Path) -> None:
    """Even when the first process is killed, the parts end by themselves."""
    running = Sandbox(tmp_path)
    running.wait_until_up()
    os.killpg(running.process.pid, signal.SIGKILL)
    running.process.communicate(timeout=20)
    assert gone(tmp_path)


def test_second_in_one_folder(tmp_path: Path) -> None:
    """A second sandbox in the same folder is refused, and the first one's logs stay."""
    with sandbox(tmp_path) as running:
        example(running, ROOT / "sandbox" / "samples" / "sample.png")
        log = tmp_path / "logs" / "broker.log"
        before = log.stat().st_size
        second = Sandbox(tmp_path)
        said, _ = second.process.communicate(timeout=20)
        assert second.process.returncode != 0
        assert "Another sandbox runs in" in said
        assert log.stat().st_size >= before


def test_finds_its_data_again(tmp_path: Path) -> None:
    """What was uploaded is there after the next start, at sync. and in the broker's records."""
    ports = {name: str(free_port()) for name in NAMES}
    with sandbox(tmp_path, **ports) as running:
        asset_id = example(running, ROOT / "sandbox" / "samples" / "sample.mp4")
        # Python knows no type of this one, so the broker goes by its extension.
        (tmp_path / "sound.alac").write_bytes(b"hello")
        sound_id = example(running, tmp_path / "sound.alac")
    with sandbox(tmp_path, **ports) as running:
        answer = requests.get(
            f"{running.url('BROKER_PORT')}/assets/{asset_id}", headers=token(running), timeout=9
        )
        assert answer.status_code == 200
        url = answer.json()["asset"]["url"]
        stored = requests.get(url, timeout=9).content
        assert stored == (ROOT / "sandbox" / "samples" / "sample.mp4").read_bytes()
        with httpx.Client() as http:
            key = (tmp_path / "api-key").read_text().strip()
            assert key in running.said
            client = Sync(base_url=running.url("UPSTREAM_PORT"), api_key=key, httpx_client=http)
            assert {asset.id for asset in client.assets.list().items} == {asset_id, sound_id}


@pytest.mark.parametrize("name", NAMES)
def test_port_taken(tmp_path: Path, name: str) -> None:
    """A port that somebody else has is told, with the variable that changes it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        running = Sandbox(tmp_path, **{name: port})
        said, _ = running.process.communicate(timeout=20)
    assert running.process.returncode != 0
    assert f"Port {port} is taken" in said
    assert f"{name}=" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("value", ["x", "0", "65536", "80.5"])
def test_no_port(tmp_path: Path, value: str) -> None:
    """A variable that is no port is told by its name."""
    running = Sandbox(tmp_path, BROKER_PORT=value)
    said, _ = running.process.communicate(timeout=20)
    assert "BROKER_PORT must be a port" in said
    assert "Traceback" not in said


def test_part_dies(tmp_path: Path) -> None:
    """If one part ends, its last words are shown and the others are stopped."""
    running = Sandbox(tmp_path, JWT_SECRET="short")
    said, _ = running.process.communicate(timeout=30)
    assert running.process.returncode != 0
    assert "JWT_SECRET is not valid" in said
    for port in running.ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) != 0


def test_last_words_of_this_run(tmp_path: Path) -> None:
    """The last words are of the run that ended, though the log has those of earlier ones too."""
    said = ""
    for wrong in ({"JWT_SECRET": "short"}, {"AUTH_MODE": "sometimes"}):
        running = Sandbox(tmp_path, **wrong)
        said, _ = running.process.communicate(timeout=30)
    assert "AUTH_MODE" in said
    assert "JWT_SECRET" not in said
    assert "JWT_SECRET is not valid" in (tmp_path / "logs" / "broker.log").read_text()


def test_demo_page_is_let_in(tmp_path: Path) -> None:
    """Beside the origins that are set, the broker lets the demo page's own call, and no other."""
    with sandbox(tmp_path, ALLOWED_ORIGINS="http://127.0.0.1:21090") as running:
        demo = running.url("DEMO_PORT")
        for origin, is_let_in in {
            demo: True,
            demo.replace("127.0.0.1", "localhost"): True,
            "http://127.0.0.1:21090": True,
            "http://127.0.0.1:21091": False,
        }.items():
            url = f"{running.url('BROKER_PORT')}/limits"
            asked = {**token(running), "Origin": origin}
            answer = requests.get(url, headers=asked, timeout=9)
            allowed = answer.headers.get("Access-Control-Allow-Origin")
            assert (allowed == origin) is is_let_in


def test_real_accounts_out_of_reach(tmp_path: Path) -> None:
    """Whatever AWS account the environment names, the sandbox talks to its own emulator."""
    strange = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1",
        "AWS_PROFILE": "production",
        "AWS_REGION": "eu-central-1",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }
    with sandbox(tmp_path, **strange) as running:
        assert example(running, ROOT / "sandbox" / "samples" / "sample.png")


def test_all_is_private(tmp_path: Path) -> None:
    """Whatever the umask, nobody else on this machine can read what the sandbox keeps."""
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


def test_own_key_wins(tmp_path: Path) -> None:
    """A key of the environment's own is used, neither printed nor stored."""
    with sandbox(tmp_path, SYNC_API_KEY="a-key-of-my-own") as running:
        upstream = f"{running.url('UPSTREAM_PORT')}/v2/assets"
        own = {"x-api-key": "a-key-of-my-own"}
        assert requests.get(upstream, headers=own, timeout=9).status_code == 200
        fixed = {"x-api-key": "sandbox-key"}
        assert requests.get(upstream, headers=fixed, timeout=9).status_code == 401
    assert "a-key-of-my-own" not in running.said
    assert not (tmp_path / "api-key").exists()


def test_upstream_alone_uses_the_same_key(tmp_path: Path) -> None:
    """The upstream alone makes up the folder's key, says where it is, and `make run` keeps it."""
    environ = {"PATH": os.environ["PATH"], "UPSTREAM_PORT": str(free_port())}
    alone = subprocess.Popen(
        [sys.executable, "-m", "sandbox.upstream"],
        cwd=ROOT,
        env={**environ, "SANDBOX_DIR": str(tmp_path / "data")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert alone.stdout is not None
    said = [alone.stdout.readline() for _ in range(2)]
    alone.terminate()
    alone.communicate(timeout=10)
    path = tmp_path / "data" / "api-key"
    key = path.read_text()
    assert str(path) in said[1]
    assert path.stat().st_mode & 0o777 == 0o600
    with sandbox(tmp_path / "data") as running:
        assert key.strip() in running.said
    assert path.read_text() == key


def test_real_secret_is_warned_of(tmp_path: Path) -> None:
    """Who brings a real secret is told what the demo page does with it; nobody else is."""
    with sandbox(
        tmp_path / "a", JWT_SECRET="a real secret that signs the tokens of an app"
    ) as running:
        assert "Warning: JWT_SECRET" in running.said
    with sandbox(tmp_path / "b", JWT_SECRET="") as running:
        assert "Warning" not in running.said


def environ_of(pid: int) -> dict[str, str]:
    """Read a process's environment."""
    raw = Path(f"/proc/{pid}/environ").read_bytes().decode()
    return dict(pair.split("=", 1) for pair in raw.split("\0") if "=" in pair)


def test_emulator_knows_nothing(tmp_path: Path) -> None:
    """The emulator sees nothing of the developer's environment, and leaves no file elsewhere."""
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
            for pid in running.members()
            if b"sandbox.dynamodb" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        told = environ_of(emulator)
        assert told["SERVICES"] == "dynamodb"
        assert not secrets.keys() & (told.keys() - {"TMPDIR"})
        assert not [value for value in told.values() if "developer" in value]
        for name in ("HOME", "TMPDIR", "STATE_DIR"):
            assert Path(told[name]).is_relative_to(tmp_path / "data")
        assert list(common.glob("*")) == []


def test_stored_functions_do_not_run(tmp_path: Path) -> None:
    """What an older version's emulator stored beside the table is deleted before it is loaded."""
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
        assert requests.get(url, headers=token(running), timeout=9).status_code == 200


def test_old_folder(tmp_path: Path) -> None:
    """A folder of an older version is set aside with one line, and everything begins anew."""
    folder = tmp_path / "data"
    (folder / "dynamodb").mkdir(parents=True)
    (folder / "dynamodb" / "lambda.json").write_text("{}")
    with sandbox(folder) as running:
        aside = tmp_path / "data.before-1"
        assert [line for line in running.said.splitlines() if str(aside) in line]
        assert (aside / "dynamodb" / "lambda.json").read_text() == "{}"
        assert not (folder / "dynamodb" / "lambda.json").exists()
    with sandbox(folder) as running:
        assert "set aside" not in running.said


def test_strange_origins(tmp_path: Path) -> None:
    """A list of pages that can't be used is told by its name before anything starts."""
    running = Sandbox(tmp_path / "data", SANDBOX_ORIGINS="https://app.example.com")
    said, _ = running.process.communicate(timeout=20)
    assert running.process.returncode != 0
    assert "SANDBOX_ORIGINS may name pages of this machine only" in said
    assert "Traceback" not in said
    assert not (tmp_path / "data").exists()


def test_loopback_only(tmp_path: Path) -> None:
    """Every part listens on loopback alone."""
    with sandbox(tmp_path) as running:
        listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        for port in running.ports.values():
            lines = [line.split() for line in listening.splitlines()[1:]]
            local = [line[1] for line in lines if line[1:4:2] and line[3] == "0A"]
            addresses = {a.split(":")[0] for a in local if int(a.split(":")[1], 16) == int(port)}
            assert addresses == {"0100007F"}, port


def test_second_start_is_quick(tmp_path: Path) -> None:
    """With nothing to install it is up in under five seconds."""
    for _ in range(2):
        running = Sandbox(tmp_path)
        seconds = running.wait_until_up()
        running.stop()
    assert seconds < 5


def test_fresh_clone(tmp_path: Path) -> None:
    """One command on a fresh clone sets everything up and starts; git ignores all that it makes."""
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


def test_help() -> None:
    """`make` alone prints what can be made."""
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    for job in ("setup", "run", "test", "lint"):
        assert f"make {job}" in done.stdout
