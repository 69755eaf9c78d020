"""The audit passes where nobody can be asked, and for no other reason but that nothing is known."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.upstream_process import ROOT, free_port
from tests.system.advisories import Answer, Behavior, Service

PINS = {
    "requirements.txt": f"idna==3.20 \\\n    --hash=sha256:{'0' * 64}\n",
    "constraints.txt": "idna==3.20\nrequests==2.32.5\n",
    "sandbox/constraints-dynamodb.txt": "h2==4.4.1\n",
}
PYTHON, NPM = list(PINS), ["package-lock.json"]
UNREACHABLE = "The advisories can't be reached from here."
FAILED = "Asking the advisories failed; standard output has the reason."


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the real script, the real tools, and a few packages of each kind."""
    folder = tmp_path / "project"
    for name in ("scripts", "sandbox"):
        (folder / name).mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "audit.py", folder / "scripts")
    for name, text in PINS.items():
        (folder / name).write_text(text)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def pypi(tmp_path: Path) -> Iterator[Service]:
    """PyPI, as a proxy on loopback plays it, whatever the host is called."""
    service = Service(tmp_path)
    yield service
    service.stop()


@pytest.fixture
def npm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The registry of npm, on loopback."""
    service = Service(tmp_path_factory.mktemp("npm"))
    yield service
    service.stop()


def audit(
    project: Path, pypi: Service | None = None, npm: Service | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run it where nothing can be reached but the services given, in CI if nothing else is said."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("XDG_", "PIP_AUDIT_"))
    }
    environ = {
        **kept,
        "CI": "true",
        "HOME": str(project),
        "HTTPS_PROXY": pypi.url if pypi else nowhere,
        "NO_PROXY": "127.0.0.1",
        "npm_config_registry": npm.url if npm else nowhere,
        "npm_config_fetch_retries": "0",
        "npm_config_fetch_timeout": "60000",
        "npm_config_update_notifier": "false",
        **environ,
    }
    if pypi:
        environ["REQUESTS_CA_BUNDLE"] = str(pypi.authority.file)
    return subprocess.run(
        [sys.executable, "scripts/audit.py"],
        cwd=project,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def framed(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return the files that the frames on standard error name as not audited, and why."""
    lines = done.stderr.splitlines()
    found = {}
    while lines:
        top, name, reason, bottom, *lines = lines
        assert top == bottom == "*" * 78
        assert name.startswith("* NOT AUDITED: ")
        assert {len(name), len(reason)} == {78}
        found[name[15:-1].strip()] = reason[1:-1].strip()
    return found


@pytest.mark.parametrize("ci", ["true", ""])
def test_nothing_known(project: Path, pypi: Service, npm: Service, ci: str) -> None:
    """Every pin of both Python environments and of npm is asked about; no finding is a pass."""
    done = audit(project, pypi, npm, CI=ci)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"{name}: no known vulnerabilities." for name in PYTHON + NPM
    ]
    asked = {path.removeprefix("/pypi/") for path in pypi.asked}
    assert asked == {"idna/3.20/json", "requests/2.32.5/json", "h2/4.4.1/json"}
    assert npm.asked == ["/-/npm/v1/security/advisories/bulk"]


@pytest.mark.parametrize("ci", ["true", ""])
def test_unreachable(project: Path, ci: str) -> None:
    """A machine that reaches no advisories passes, with a frame for every file."""
    done = audit(project, CI=ci)
    assert done.returncode == 0, done.stdout + done.stderr
    assert framed(done) == dict.fromkeys(PYTHON + NPM, UNREACHABLE)


@pytest.mark.parametrize("status", [404, 405])
def test_mirror_without_advisories(project: Path, pypi: Service, npm: Service, status: int) -> None:
    """Where an index answers, but has no advisories for anything, it is the same."""
    pypi.behavior = lambda _: (404, b"")
    npm.behavior = lambda _: (status, b"{}")
    done = audit(project, pypi, npm)
    assert done.returncode == 0, done.stdout + done.stderr
    assert framed(done) == dict.fromkeys(PYTHON + NPM, UNREACHABLE)


def test_proxy_that_lets_nobody_out(project: Path, pypi: Service) -> None:
    """So it is behind a proxy that connects with no such host."""
    pypi.is_closed_to_the_outside = True
    done = audit(project, pypi)
    assert done.returncode == 0, done.stdout + done.stderr
    assert framed(done) == dict.fromkeys(PYTHON + NPM, UNREACHABLE)


def flawed_idna(path: str) -> Answer:
    """Answer as PyPI does about a version with an advisory."""
    flaw = {
        "id": "TEST-2026-1",
        "aliases": [],
        "fixed_in": ["3.21"],
        "details": "It is slow.",
        "published": "2026-01-01T00:00:00Z",
    }
    return 200, json.dumps({"vulnerabilities": [flaw] if "/idna/" in path else []}).encode()


def flawed_react(path: str) -> Answer:
    """Answer as npm does about a version with an advisory."""
    advisory = {
        "id": 1,
        "url": "https://advisories.example/1",
        "title": "It is slow.",
        "severity": "low",
        "vulnerable_versions": "<=19.3.1",
        "cwe": [],
        "cvss": {"score": 0, "vectorString": None},
    }
    if path.endswith("/bulk"):
        return 200, json.dumps({"react": [advisory]}).encode()
    name = unquote(path.removeprefix("/"))
    versions = {one: {"name": name, "version": one} for one in ("19.3.1", "19.3.2")}
    return 200, json.dumps({"name": name, "versions": versions}).encode()


def test_finding_in_python(project: Path, pypi: Service, npm: Service) -> None:
    """A known vulnerability of a Python package fails, and is shown with the file that pins it."""
    pypi.behavior = flawed_idna
    done = audit(project, pypi, npm)
    assert done.returncode == 1, done.stdout + done.stderr
    finding = "idna 3.20: TEST-2026-1, fixed in 3.21: It is slow."
    for name in ("requirements.txt", "constraints.txt"):
        assert f"{name}: known vulnerabilities:\n{finding}\n" in done.stdout
    assert "dynamodb.txt: no known vulnerabilities." in done.stdout
    assert done.stderr == ""


def test_finding_in_npm(project: Path, pypi: Service, npm: Service) -> None:
    """A known vulnerability of an npm package fails, whatever its severity."""
    npm.behavior = flawed_react
    done = audit(project, pypi, npm)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "package-lock.json: known vulnerabilities:" in done.stdout
    assert "react 19.3.1: low, It is slow." in done.stdout
    assert done.stderr == ""


def test_finding_beside_no_answer(project: Path, npm: Service) -> None:
    """A finding fails, even if the other service can't be reached."""
    npm.behavior = flawed_react
    done = audit(project, None, npm)
    assert done.returncode == 1, done.stdout + done.stderr
    assert framed(done) == dict.fromkeys(PYTHON, UNREACHABLE)


def reset(_path: str) -> Answer:
    """Close the connection in place of an answer."""
    return None


def error(status: int) -> Behavior:
    """Answer every question with an error."""
    return lambda _: (status, b"{}")


def html(_path: str) -> Answer:
    """Answer as a hotel's network does to everything."""
    return 200, b"<html>Please log in</html>"


@pytest.mark.parametrize(
    "behavior",
    [error(500), error(503), error(429), error(403), html, reset],
    ids=["500", "503", "429", "403", "html", "reset"],
)
def test_broken_services(project: Path, pypi: Service, npm: Service, behavior: Behavior) -> None:
    """Advisories that are reached and can't answer are no reason to pass."""
    pypi.behavior = npm.behavior = behavior
    done = audit(project, pypi, npm)
    assert done.returncode == 1, done.stdout + done.stderr
    assert framed(done) == dict.fromkeys(PYTHON + NPM, FAILED)


@pytest.mark.parametrize("ci", ["true", ""])
def test_broken_pypi(project: Path, pypi: Service, npm: Service, ci: str) -> None:
    """One of the two that can't answer is enough, in CI and elsewhere."""
    pypi.behavior = error(500)
    done = audit(project, pypi, npm, CI=ci)
    assert done.returncode == 1, done.stdout + done.stderr
    assert framed(done) == dict.fromkeys(PYTHON, FAILED)
    assert "package-lock.json: no known vulnerabilities." in done.stdout


@pytest.mark.parametrize("ci", ["true", ""])
def test_broken_npm(project: Path, pypi: Service, npm: Service, ci: str) -> None:
    """The same holds for npm."""
    npm.behavior = error(500)
    done = audit(project, pypi, npm, CI=ci)
    assert done.returncode == 1, done.stdout + done.stderr
    assert framed(done) == dict.fromkeys(NPM, FAILED)
    assert done.stdout.count("no known vulnerabilities.") == 3


def test_silent_services(project: Path, pypi: Service, npm: Service) -> None:
    """A time-out after the connection was made is no reason to pass."""
    pypi.behavior, npm.behavior = pypi.never, npm.never
    for name in PYTHON[1:]:
        (project / name).write_text("")  # each would wait for another quarter of a minute
    done = audit(project, pypi, npm, npm_config_fetch_timeout="3000")
    assert done.returncode == 1, done.stdout + done.stderr
    assert framed(done) == dict.fromkeys(PYTHON + NPM, FAILED)
    assert "Read timed out" in done.stdout
    assert "network timeout" in done.stdout


def test_pypi_gone_in_between(project: Path, pypi: Service, npm: Service) -> None:
    """If PyPI answers once and can't be reached then, its files were not audited, and it fails."""
    pypi.behavior = pypi.last_words
    done = audit(project, pypi, npm)
    assert done.returncode == 1, done.stdout + done.stderr
    assert framed(done) == dict.fromkeys(PYTHON[1:], FAILED)
    assert len(pypi.asked) == 1


def test_unknown_package(project: Path, pypi: Service, npm: Service) -> None:
    """A single version that PyPI does not know may be one that was withdrawn: it fails."""
    pypi.behavior = lambda path: (404, b"") if "/requests/" in path else (200, b"{}")
    done = audit(project, pypi, npm)
    assert done.returncode == 1, done.stdout + done.stderr
    assert framed(done) == {"constraints.txt": FAILED}
    assert "could not be audited: requests (2.32.5)" in done.stdout


def test_untrusted_pypi(project: Path, pypi: Service, npm: Service, tmp_path: Path) -> None:
    """Whoever can't prove to be PyPI is not asked, and that fails."""
    pypi.authority.file = tmp_path / "another.pem"
    shutil.copy(npm.authority.file, pypi.authority.file)
    done = audit(project, pypi, npm)
    assert done.returncode == 1, done.stdout + done.stderr
    assert framed(done) == dict.fromkeys(PYTHON, FAILED)
    assert pypi.asked == []


@pytest.mark.parametrize("line", ["requests==2.32.5;;;", "requests>=2", ""])
def test_malformed(project: Path, line: str) -> None:
    """What can't be read is no reason to pass, and is shown."""
    (project / "constraints.txt").write_text(f"{line}\n")
    done = audit(project)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ERROR" in done.stdout
    assert framed(done)["constraints.txt"] == FAILED


def test_no_lock(project: Path) -> None:
    """The same holds for npm."""
    (project / "package-lock.json").unlink()
    done = audit(project)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ENOLOCK" in done.stdout
    assert framed(done)["package-lock.json"] == FAILED
