"""The audit passes only without known vulnerabilities, or if no advisory service is reachable."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.upstream_process import ROOT, free_port
from tests.system.advisories import Behavior, Response, Service

PINS = {
    "requirements.txt": f"idna==3.20 \\\n    --hash=sha256:{'0' * 64}\n",
    "constraints.txt": "idna==3.20\nrequests==2.32.5\n",
    "sandbox/constraints-dynamodb.txt": "h2==4.4.1\n",
}
PYTHON, NPM = list(PINS), ["package-lock.json"]
ONE_OF_EACH = [PYTHON[0], *NPM]
UNREACHABLE = "The advisories can't be reached from here."
FAILED = "The request to the advisories failed; standard output has the reason."


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
    """PyPI, imitated by a proxy on loopback."""
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
    project: Path,
    pypi: Service | None = None,
    npm: Service | None = None,
    files: Iterable[str] = (),
    **environ: str,
) -> subprocess.CompletedProcess[str]:
    """Run the audit of some files, or of all, which can reach only the given services."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("XDG_", "PIP_AUDIT_"))
    }
    environ = {
        **kept,
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
        [sys.executable, "scripts/audit.py", *files],
        cwd=project,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def unaudited_files(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return the files that standard error lists as not audited, and the reasons."""
    lines = done.stderr.splitlines()
    found = {}
    while lines:
        top, name, reason, bottom, *lines = lines
        assert top == bottom == "*" * 78
        assert name.startswith("* NOT AUDITED: ")
        assert {len(name), len(reason)} == {78}
        found[name[15:-1].strip()] = reason[1:-1].strip()
    return found


def test_audit_passes_without_findings(project: Path, pypi: Service, npm: Service) -> None:
    """The audit asks about every pin of both Python environments and of npm, and passes."""
    done = audit(project, pypi, npm)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"{name}: no known vulnerabilities." for name in PYTHON + NPM
    ]
    requested = {path.removeprefix("/pypi/") for path in pypi.requested}
    assert requested == {"idna/3.20/json", "requests/2.32.5/json", "h2/4.4.1/json"}
    assert npm.requested == ["/-/npm/v1/security/advisories/bulk"]


def test_audit_passes_when_unreachable(project: Path) -> None:
    """If no service can be reached, the audit passes and lists every file as not audited."""
    done = audit(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert unaudited_files(done) == dict.fromkeys(PYTHON + NPM, UNREACHABLE)


@pytest.mark.parametrize("status", [404, 405])
def test_audit_passes_with_plain_mirror(
    project: Path, pypi: Service, npm: Service, status: int
) -> None:
    """An index that has no advisories at all counts as unreachable."""
    pypi.behavior = lambda _: (404, b"")
    npm.behavior = lambda _: (status, b"{}")
    done = audit(project, pypi, npm, ONE_OF_EACH)
    assert done.returncode == 0, done.stdout + done.stderr
    assert unaudited_files(done) == dict.fromkeys(ONE_OF_EACH, UNREACHABLE)


def test_audit_passes_behind_closed_proxy(project: Path, pypi: Service) -> None:
    """A proxy that refuses the connection counts as unreachable."""
    pypi.refuses_connect = True
    done = audit(project, pypi, files=ONE_OF_EACH)
    assert done.returncode == 0, done.stdout + done.stderr
    assert unaudited_files(done) == dict.fromkeys(ONE_OF_EACH, UNREACHABLE)


def flawed_idna(path: str) -> Response:
    """Respond as PyPI does for a version with an advisory."""
    flaw = {
        "id": "TEST-2026-1",
        "aliases": [],
        "fixed_in": ["3.21"],
        "details": "It is slow.",
        "published": "2026-01-01T00:00:00Z",
    }
    return 200, json.dumps({"vulnerabilities": [flaw] if "/idna/" in path else []}).encode()


def flawed_react(path: str) -> Response:
    """Respond as npm does for a version with an advisory."""
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


def test_audit_fails_for_python_finding(project: Path, pypi: Service, npm: Service) -> None:
    """A vulnerable Python package fails the audit, which prints the file that pins it."""
    pypi.behavior = flawed_idna
    done = audit(project, pypi, npm)
    assert done.returncode == 1, done.stdout + done.stderr
    finding = "idna 3.20: TEST-2026-1, fixed in 3.21: It is slow."
    for name in ("requirements.txt", "constraints.txt"):
        assert f"{name}: known vulnerabilities:\n{finding}\n" in done.stdout
    assert "dynamodb.txt: no known vulnerabilities." in done.stdout
    assert done.stderr == ""


def test_audit_fails_for_npm_finding(project: Path, npm: Service) -> None:
    """A vulnerable npm package fails the audit, whatever the severity."""
    npm.behavior = flawed_react
    done = audit(project, None, npm, NPM)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "package-lock.json: known vulnerabilities:" in done.stdout
    assert "react 19.3.1: low, It is slow." in done.stdout
    assert done.stderr == ""


def test_audit_fails_for_finding_if_other_unreachable(project: Path, npm: Service) -> None:
    """A finding fails the audit, even if the other service can't be reached."""
    npm.behavior = flawed_react
    done = audit(project, None, npm, ONE_OF_EACH)
    assert done.returncode == 1, done.stdout + done.stderr
    assert unaudited_files(done) == dict.fromkeys(PYTHON[:1], UNREACHABLE)


def reset(_path: str) -> Response:
    """Close the connection without a response."""
    return None


def error(status: int) -> Behavior:
    """Return a behaviour that responds to every request with an error."""
    return lambda _: (status, b"{}")


def html(_path: str) -> Response:
    """Respond as a hotel's network does to every request."""
    return 200, b"<html>Please log in</html>"


@pytest.mark.parametrize(
    "behavior",
    [error(500), error(503), error(429), error(403), html, reset],
    ids=["500", "503", "429", "403", "html", "reset"],
)
def test_audit_fails_for_broken_services(
    project: Path, pypi: Service, npm: Service, behavior: Behavior
) -> None:
    """The audit fails if the services can be reached but don't work."""
    pypi.behavior = npm.behavior = behavior
    done = audit(project, pypi, npm, ONE_OF_EACH)
    assert done.returncode == 1, done.stdout + done.stderr
    assert unaudited_files(done) == dict.fromkeys(ONE_OF_EACH, FAILED)


def test_audit_fails_for_broken_pypi(project: Path, pypi: Service, npm: Service) -> None:
    """The audit fails if only PyPI is broken."""
    pypi.behavior = error(500)
    done = audit(project, pypi, npm, ONE_OF_EACH)
    assert done.returncode == 1, done.stdout + done.stderr
    assert unaudited_files(done) == dict.fromkeys(PYTHON[:1], FAILED)
    assert "package-lock.json: no known vulnerabilities." in done.stdout


def test_audit_fails_for_broken_npm(project: Path, pypi: Service, npm: Service) -> None:
    """The audit fails if only npm is broken."""
    npm.behavior = error(500)
    done = audit(project, pypi, npm, ONE_OF_EACH)
    assert done.returncode == 1, done.stdout + done.stderr
    assert unaudited_files(done) == dict.fromkeys(NPM, FAILED)
    assert "requirements.txt: no known vulnerabilities." in done.stdout


def test_audit_fails_for_read_timeout(project: Path, pypi: Service, npm: Service) -> None:
    """A time-out after the connection was made fails the audit."""
    pypi.behavior, npm.behavior = pypi.never_respond, npm.never_respond
    done = audit(project, pypi, npm, ONE_OF_EACH, npm_config_fetch_timeout="3000")
    assert done.returncode == 1, done.stdout + done.stderr
    assert unaudited_files(done) == dict.fromkeys(ONE_OF_EACH, FAILED)
    assert "Read timed out" in done.stdout
    assert "network timeout" in done.stdout


def test_audit_fails_if_pypi_disappears(project: Path, pypi: Service, npm: Service) -> None:
    """If PyPI responds once and is then unreachable, the other files fail the audit."""
    pypi.behavior = pypi.respond_once
    done = audit(project, pypi, npm)
    assert done.returncode == 1, done.stdout + done.stderr
    assert unaudited_files(done) == dict.fromkeys(PYTHON[1:], FAILED)
    assert len(pypi.requested) == 1


def test_audit_fails_for_unknown_version(project: Path, pypi: Service) -> None:
    """A single version that PyPI does not know may have been withdrawn, so it fails the audit."""
    pypi.behavior = lambda path: (404, b"") if "/requests/" in path else (200, b"{}")
    done = audit(project, pypi, files=["constraints.txt"])
    assert done.returncode == 1, done.stdout + done.stderr
    assert unaudited_files(done) == {"constraints.txt": FAILED}
    assert "could not be audited: requests (2.32.5)" in done.stdout


def test_audit_fails_for_untrusted_pypi(
    project: Path, pypi: Service, npm: Service, tmp_path: Path
) -> None:
    """A server without PyPI's certificate gets no request, and the audit fails."""
    pypi.authority.file = tmp_path / "another.pem"
    shutil.copy(npm.authority.file, pypi.authority.file)
    done = audit(project, pypi, npm, ONE_OF_EACH)
    assert done.returncode == 1, done.stdout + done.stderr
    assert unaudited_files(done) == dict.fromkeys(PYTHON[:1], FAILED)
    assert pypi.requested == []


@pytest.mark.parametrize("line", ["requests==2.32.5;;;", "requests>=2", ""])
def test_audit_fails_for_malformed_pins(project: Path, line: str) -> None:
    """A file that can't be parsed fails the audit, which prints the error."""
    (project / "constraints.txt").write_text(f"{line}\n")
    done = audit(project, files=["constraints.txt"])
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ERROR" in done.stdout
    assert unaudited_files(done)["constraints.txt"] == FAILED


def test_audit_fails_without_lock_file(project: Path) -> None:
    """A missing lock file of npm fails the audit, which prints the error."""
    (project / "package-lock.json").unlink()
    done = audit(project, files=NPM)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ENOLOCK" in done.stdout
    assert unaudited_files(done)["package-lock.json"] == FAILED


def test_audit_refuses_other_file(project: Path) -> None:
    """The audit refuses a file without pins, and names the files that it audits."""
    done = audit(project, files=["package.json"])
    assert done.returncode == 1
    assert done.stderr == f"package.json: not one of {', '.join(PYTHON + NPM)}\n"
