"""All installed packages are pinned, and the deployed packages are the tested ones."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops import runtimes
from tests.deploy.pinned import installed, pins, requirements, zipped
from tests.support.project import Project
from tests.support.upstream_process import ROOT

DEPLOYED = ("requirements.txt", "requirements-key-sets.txt")
# The file that pins all packages of an environment, and the files that name its requirements.
REQUIREMENTS = {
    "constraints.txt": (*DEPLOYED, "sandbox/requirements.txt", "requirements-dev.txt"),
    "sandbox/constraints-dynamodb.txt": (
        "sandbox/requirements-dynamodb.txt",
        "tests/deploy/requirements-emulator.txt",
    ),
}


def test_zip_holds_tested_versions(packaged: Path) -> None:
    """The zip holds exactly the libraries of requirements.txt, in the tested versions."""
    found = zipped(packaged / "deployment.zip")
    assert found == pins("requirements.txt")
    tested = installed(".venv")
    assert found == {name: tested[name] for name in found}
    assert len(found) >= 11


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_zip_is_compiled_for_architecture(tmp_path: Path, architecture: str) -> None:
    """For each of Lambda's architectures the zip holds the same versions, compiled for it."""
    project = Project(tmp_path / "clone")
    project.change_config(lambda_architecture=architecture)
    archive = project.package() / "deployment.zip"
    assert zipped(archive) == pins("requirements.txt")
    machine = {"arm64": "aarch64", "x86_64": "x86_64"}[architecture]
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    compiled = [path.name for path in (tmp_path / "unpacked").rglob("*.so")]
    assert compiled
    assert all(f"-{machine}-linux-gnu" in name for name in compiled)


@pytest.mark.parametrize("file", DEPLOYED)
@pytest.mark.parametrize("version", [name.removeprefix("python") for name in runtimes.RUNTIMES])
def test_wheels_exist_for_each_runtime(tmp_path: Path, file: str, version: str) -> None:
    """For each of Lambda's runtimes there is a wheel of each deployed package, with its hash."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(tmp_path)]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--python-version", version]
    command += ["--platform", "manylinux2014_aarch64", "--requirement", str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.whl"))) >= 3


@pytest.mark.parametrize("file", DEPLOYED)
def test_deployed_pins_are_hashed(file: str) -> None:
    """Each pin of a deployed package has hashes, and is the tests' version."""
    text = (ROOT / file).read_text()
    hashed = re.findall(r"^([\w.-]+)==.* \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    assert hashed == [one.name for one in requirements(ROOT / file)]
    assert pins(file).items() <= pins("constraints.txt").items()


def test_altered_package_is_refused(tmp_path: Path) -> None:
    """`chalice package` refuses a library whose hash differs."""
    project = Project(tmp_path / "clone")
    file = project.folder / "requirements.txt"
    before, pin, after = file.read_text().partition("requests==")
    file.write_text(before + pin + re.sub(r"sha256:\w{64}", f"sha256:{'0' * 64}", after, count=2))
    with pytest.raises(AssertionError, match="DO NOT MATCH THE HASHES"):
        project.package()


def test_page_checks_all_hashes(tmp_path: Path) -> None:
    """The commands on the page also check the hashes of libraries compiled for Lambda."""
    page = (ROOT / "docs" / "decisions" / "pinned-deployment.md").read_text()
    (commands,) = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert commands.count("chalice deploy --stage prod") == 1
    commands = commands.replace("chalice deploy --stage prod", "chalice package --stage prod out")
    project = Project(tmp_path / "clone")
    project.change_config(lambda_architecture="arm64")
    environ = {
        **os.environ,
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "AWS_DEFAULT_REGION": "us-east-1",
    }

    def run_commands() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euc", commands],
            cwd=project.folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run_commands()
    assert done.returncode == 0, done.stdout + done.stderr
    assert zipped(project.folder / "out" / "deployment.zip") == pins("requirements.txt")
    (wheel,) = (project.folder / "wheels").glob("rpds_py-*aarch64.whl")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    shutil.rmtree(project.folder / "wheels")
    file = project.folder / "requirements.txt"
    file.write_text(file.read_text().replace(sha256, "0" * 64))
    done = run_commands()
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


@pytest.mark.parametrize(("file", "sources"), REQUIREMENTS.items())
def test_requirements_match_constraints(file: str, sources: tuple[str, ...]) -> None:
    """Each requirement has the version that the constraints have."""
    for source in sources:
        assert pins(source), source
        assert pins(source).items() <= pins(file).items(), source


def test_environment_has_only_pinned_packages() -> None:
    """The tests run with exactly the pinned packages, pip included."""
    assert installed(".venv") == pins("constraints.txt")


def test_emulator_environment_has_only_pinned_packages() -> None:
    """The emulator runs with exactly the pinned packages, besides Python's pip and setuptools."""
    found = installed(".venv-ministack")
    bundled = {"pip", "setuptools"}
    assert {name: found[name] for name in found.keys() - bundled} == pins(
        "sandbox/constraints-dynamodb.txt"
    )


def write_hashes(file: Path) -> subprocess.CompletedProcess[str]:
    """Run the script of `make hashes` on another file."""
    command = [sys.executable, "scripts/hashes.py", str(file)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_hashes_script_replaces_hashes(tmp_path: Path) -> None:
    """The script replaces the hashes of a pin, and keeps comments and markers."""
    (pin,) = re.findall(
        r"^idna==.*\n(?:    --hash.*\n)+", (ROOT / "requirements.txt").read_text(), re.MULTILINE
    )
    first, _, hashes = pin.partition(" \\\n")
    head = f'# A comment.\n{first} ; python_version < "3.99"'
    file = tmp_path / "requirements.txt"
    file.write_text(f"{head} \\\n    --hash=sha256:{'0' * 64}\n")
    done = write_hashes(file)
    assert done.returncode == 0, done.stderr
    assert file.read_text() == f"{head} \\\n{hashes}"


def test_hashes_script_refuses_incomplete_file(tmp_path: Path) -> None:
    """If the file lacks a package that another one needs, the script writes nothing."""
    file = tmp_path / "requirements.txt"
    file.write_text("referencing==0.37.0\n")
    done = write_hashes(file)
    assert done.returncode == 1
    assert "must also pin the packages that its packages need: attrs, rpds-py" in done.stderr
    assert file.read_text() == "referencing==0.37.0\n"
