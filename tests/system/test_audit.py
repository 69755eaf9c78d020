"""The audit passes where nobody can be asked, and for no other reason but that nothing is known."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from upstream_process import ROOT, free_port


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the real script, the real tools, and one package of each kind."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "audit", tmp_path / "scripts")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "constraints.txt").write_text("requests==2.32.5\n")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def audit(project: Path) -> subprocess.CompletedProcess[str]:
    """Run it where nothing outside can be reached."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    kept = {name: v for name, v in os.environ.items() if "proxy" not in name.lower()}
    environ = {
        **kept,
        **dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "npm_config_registry"), nowhere),
        "npm_config_fetch_retries": "0",
        "HOME": str(project),
    }
    return subprocess.run(
        ["scripts/audit"], cwd=project, env=environ, capture_output=True, text=True, check=False
    )


def test_unreachable(project: Path) -> None:
    """A machine that reaches no advisories is told so, and passes."""
    done = audit(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("can't be asked from here") == 2


@pytest.mark.parametrize("line", ["requests==2.32.5;;;", "requests>=2"])
def test_malformed(project: Path, line: str) -> None:
    """What can't be read is no reason to pass, and is shown."""
    (project / "constraints.txt").write_text(f"{line}\n")
    done = audit(project)
    assert done.returncode == 1
    assert "ERROR" in done.stdout
    assert "can't be asked" not in done.stdout


def test_no_lock(project: Path) -> None:
    """The same holds for npm."""
    (project / "package-lock.json").unlink()
    done = audit(project)
    assert done.returncode == 1
    assert "ENOLOCK" in done.stdout
