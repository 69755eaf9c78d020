"""What the next deployment ships: its files, its packages, its bytecode, and its Python."""

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops import bytecode, runtimes
from ops import stage as stages
from ops.checks import package as check
from ops.checks.findings import Finding, State, Target
from ops.terminal import Problem, Terminal
from tests.ops.shell import cached_account, run
from tests.support.emulated_aws import EmulatedAws


@pytest.fixture
def clone(folder: Path, tmp_path: Path) -> Path:
    """A clone of the project, for one test."""
    return Path(shutil.copytree(folder, tmp_path / "clone"))


def target_of(folder: Path, now: float | None = None) -> Target:
    """Return the stage of a project, without a deployment."""
    terminal = Terminal(io.StringIO(), io.StringIO(), as_json=False)
    made = Target(stages.read(folder, "prod"), cached_account(), terminal)
    return made if now is None else replace(made, now=lambda: now)


def finding(folder: Path, subject: str) -> Finding:
    """Return one finding about a project's package."""
    (found,) = [one for one in check.contents(target_of(folder)) if one.subject == subject]
    return found


@pytest.mark.parametrize(
    "name", ["chalicelib/secret.env", "chalicelib/secret.pyc", "vendor/secret.env"]
)
def test_stray_file_is_wrong(clone: Path, shell: EmulatedAws, name: str) -> None:
    """The doctor lists a file that would be shipped, and is not in git."""
    assert shell.url
    assert finding(clone, "files").state is State.OK
    (clone / name).write_text("SYNC_API_KEY=sk")
    found = finding(clone, "files")
    assert (found.state, found.detail) == (State.WRONG, f"shipped, but not in git: {name}")
    result = run(clone, "doctor", "--stage", "prod")
    assert name in result.out
    assert result.code == 1


def test_many_stray_files_are_counted(clone: Path, shell: EmulatedAws) -> None:
    """The doctor names the first stray files, and counts the others."""
    assert shell.url
    for number in range(8):
        (clone / "chalicelib" / f"{number}.txt").write_text("x")
    assert finding(clone, "files").detail.endswith("chalicelib/4.txt, and 3 more")


def test_files_without_git_are_skipped(clone: Path, shell: EmulatedAws) -> None:
    """In a folder that is no clone, the doctor reports that git can't tell."""
    assert shell.url
    shutil.rmtree(clone / ".git")
    found = finding(clone, "files")
    assert found.state is State.SKIPPED
    assert "git can't list your files: fatal: not a git repository" in found.detail


def test_missing_git_is_skipped(
    clone: Path, shell: EmulatedAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the program git, the doctor reports that too."""
    assert shell.url
    monkeypatch.setenv("PATH", str(tmp_path))
    found = finding(clone, "files")
    assert (found.state, found.detail) == (
        State.SKIPPED,
        "git can't be asked (No such file or directory)",
    )


def test_provision_compiles_what_is_shipped(clone: Path, shell: EmulatedAws) -> None:
    """Provision compiles what has no current bytecode, and with --dry-run it only reports that."""
    assert shell.url
    (clone / "app.py").write_text((clone / "app.py").read_text() + "\n# Changed.\n")
    leftover = clone / "chalicelib" / "__pycache__" / "deleted.cpython-310.pyc"
    leftover.write_bytes(b"")
    stale = finding(clone, "bytecode")
    assert stale.state is State.WARNING
    assert stale.detail.endswith("modules have no current bytecode: app.py")
    assert "python -m ops compile" in stale.advice
    secrets = ("--secrets-from-stdin", "--json")
    given = f"SYNC_API_KEY=sk-{'0' * 20}\nJWT_SECRET={'0' * 40}\n"
    command = ("provision", "--stage", "prod", *secrets)
    planned = run(clone, *command, "--dry-run").document["steps"][-1]
    assert (planned["subject"], planned["outcome"]) == ("bytecode", "planned")
    assert planned["detail"].startswith("compile 1 of ")
    assert finding(clone, "bytecode") == stale
    assert run(clone, *command, "--secrets-only", stdin=given).code == 0
    assert finding(clone, "bytecode") == stale, "a rotation of secrets deploys nothing"
    done = run(clone, *command, stdin=given).document["steps"][-1]
    assert (done["outcome"], done["detail"]) == ("done", "2 files in chalicelib and vendor")
    assert finding(clone, "bytecode").state is State.OK
    assert not leftover.exists()


def test_compile_needs_no_account(
    clone: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The command `compile` needs neither a stage nor an account, and is idempotent."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    module = clone / "chalicelib" / "new.py"
    module.write_text("NEW = 1\n")
    for outcome in ("done", "kept"):
        result = run(clone, "compile", "--json")
        assert result.code == 0
        assert [one["outcome"] for one in result.document["steps"]] == [outcome]
    module.write_text("NEW =\n")
    result = run(clone, "compile")
    assert result.code == 1
    assert "new.py does not compile" in result.err
    assert "\\n" not in result.err


def test_requirement_without_name_is_explained(clone: Path, shell: EmulatedAws) -> None:
    """A line of requirements.txt that names no package is quoted, by the doctor too."""
    assert shell.url
    url = "git+https://example.com/package"
    (clone / "requirements.txt").write_text(f"{url}\n")
    result = run(clone, "compile")
    words = f"This line of requirements.txt names no package: {url}"
    assert (result.code, words in result.err) == (1, True)
    assert "make hashes" in finding(clone, "bytecode").advice
    provisioned = run(clone, "provision", "--stage", "prod", "--secrets-from-stdin")
    assert (provisioned.code, words in provisioned.err) == (1, True), "before anything is stored"
    (clone / "requirements.txt").write_bytes(b"# caf\xe9\n")
    result = run(clone, "compile")
    assert (result.code, "requirements.txt is not in UTF-8." in result.err) == (1, True)


def test_package_of_other_version_is_not_compiled(clone: Path, shell: EmulatedAws) -> None:
    """If another version is installed than the one that is shipped, `make setup` is advised."""
    assert shell.url
    (clone / "requirements.txt").write_text("idna==0.1\nnobody-has-this==1.0\n")
    with pytest.raises(Problem, match=r"names idna==0\.1, but here it is \d"):
        bytecode.compile_project(clone)
    found = finding(clone, "bytecode")
    assert found.state is State.WARNING
    assert "make setup" in found.advice
    (clone / "requirements.txt").write_text("nobody-has-this==1.0\n")
    assert finding(clone, "bytecode").detail.endswith("but here it is not installed.")


def test_archive_without_wheel_is_refused(clone: Path, shell: EmulatedAws, tmp_path: Path) -> None:
    """Provision and the doctor find a package that Chalice made although a wheel is missing."""
    assert shell.url
    machine = platform.machine()
    config = json.loads((clone / ".chalice" / "config.json").read_text())
    # Chalice packs for the other processor, and finds only a wheel for this one.
    config["lambda_architecture"] = "x86_64" if machine == "aarch64" else "arm64"
    (clone / ".chalice" / "config.json").write_text(json.dumps(config))
    tag = f"cp3{sys.version_info.minor}-cp3{sys.version_info.minor}-linux_{machine}"
    with zipfile.ZipFile(tmp_path / f"native-1.0-{tag}.whl", "w") as wheel:
        wheel.writestr("native.py", "")
        wheel.writestr("native-1.0.dist-info/METADATA", "Name: native\nVersion: 1.0\n")
        wheel.writestr("native-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        wheel.writestr("native-1.0.dist-info/RECORD", "")
    (clone / "requirements.txt").write_text("native==1.0\n")
    done = subprocess.run(
        [Path(sys.executable).parent / "chalice", "package", "--stage", "prod", "out"],
        cwd=clone,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Could not install dependencies" in done.stdout
    found = finding(clone, "wheels")
    assert found.state is State.WRONG
    (archive,) = (clone / ".chalice" / "deployments").glob("*.zip")
    assert found.detail == f"{archive.name} lacks native==1.0"
    assert found.advice.startswith(f"Delete {archive}, which Chalice would use again.")
    result = run(clone, "provision", "--stage", "prod", "--dry-run")
    assert result.code == 1
    assert "which Chalice would use again, lacks native==1.0." in result.err
    archive.unlink()
    assert run(clone, "provision", "--stage", "prod", "--secrets-only", "--dry-run").code == 0


def test_complete_archive_is_accepted(clone: Path, shell: EmulatedAws) -> None:
    """The doctor accepts a package with everything that requirements.txt names."""
    assert shell.url
    (clone / "requirements.txt").write_text("idna==3.20\n")
    archive = clone / "made.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("idna-3.20.dist-info/METADATA", "")
    assert check.wheels(clone, archive, "package", "wheels").state is State.OK
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("idna-3.19.dist-info/METADATA", "")
    assert check.wheels(clone, archive, "package", "wheels").state is State.WRONG


def at(year: int, month: int, day: int) -> float:
    """Return a time in seconds."""
    return datetime(year, month, day, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("name", "now", "state", "words"),
    [
        ("python3.11", at(2026, 12, 1), State.OK, "on Amazon Linux 2, until 2027-06-30"),
        ("python3.11", at(2027, 1, 2), State.WARNING, "until 2027-06-30"),
        ("python3.11", at(2027, 8, 30), State.WARNING, "until 2027-06-30"),
        ("python3.11", at(2027, 8, 31), State.WRONG, "AWS refuses updates"),
        ("python3.12", at(2028, 4, 1), State.OK, "until 2028-10-31"),
        ("python3.13", at(2029, 1, 1), State.WARNING, "until 2029-06-30"),
        ("python3.99", at(2040, 1, 1), State.OK, "does not know"),
    ],
)
def test_end_of_runtime_is_known(
    folder: Path, shell: EmulatedAws, name: str, now: float, state: State, words: str
) -> None:
    """The doctor warns six months before a runtime's end, and then advises another Python."""
    assert shell.url
    found = check.runtime(target_of(folder, now), name, "package", "Python")
    assert found.state is state
    assert words in found.detail
    assert (f"Python {runtimes.ADVISED}" in found.advice) is (state is not State.OK)
