"""The deployment package: its content and its size, with and without bytecode."""

import importlib.util
import marshal
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ops import bytecode, package
from ops import stage as stages
from tests.deploy.pinned import pins, zipped
from tests.support.project import Project
from tests.support.upstream_process import ROOT

OURS = {"app.py", "chalicelib"}
ASKED_FOR = {"chalice", "jsonschema", "jwt", "requests"}
THEIR_OWN = {
    *("attr", "attrs", "jsonschema_specifications", "referencing", "rpds", "typing_extensions.py"),
    *("certifi", "charset_normalizer", "idna", "urllib3"),
}
LIBRARIES = ASKED_FOR | THEIR_OWN
MIB = 1024 * 1024


def contents(archive: Path) -> dict[str, bytes]:
    """Return the files of a zip."""
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        assert len(names) == len(set(names)), "the zip has a file twice"
        return {name: opened.read(name) for name in names if not name.endswith("/")}


def check_top(files: dict[str, bytes], *more: str) -> None:
    """Check the root of a zip: the broker, its libraries, and their metadata."""
    top = {name.partition("/")[0] for name in files}
    described = {name for name in top if name.endswith(".dist-info")}
    top -= described
    assert OURS | ASKED_FOR | set(more) <= top <= OURS | LIBRARIES | set(more)


def test_zip_has_only_sources(packaged: Path) -> None:
    """The zip holds the broker's files and libraries, and no bytecode, and is small."""
    archive = packaged / "deployment.zip"
    files = contents(archive)
    check_top(files)
    ours = {name for name in files if name.partition("/")[0] in OURS}
    assert ours == {
        str(path.relative_to(ROOT))
        for path in [ROOT / "app.py", *(ROOT / "chalicelib").rglob("*")]
        if path.suffix in {".py", ".json"}
    }
    assert not [name for name in files if name.endswith(".pyc")]
    assert archive.stat().st_size < 2.5 * MIB


def compile_(project: Project) -> None:
    """Run the command that compiles what is deployed."""
    command = [sys.executable, "-m", "ops", "compile", "--project-dir", str(project.folder)]
    subprocess.run(command, cwd=ROOT, env=os.environ, check=True, capture_output=True)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package made after `python -m ops compile`."""
    project = Project(tmp_path_factory.mktemp("compiled") / "clone")
    compile_(project)
    return project.package() / "deployment.zip"


def test_compiled_zip_has_matching_bytecode(compiled: Path) -> None:
    """After `python -m ops compile`, each module has bytecode of its source; the zip is small."""
    files = contents(compiled)
    check_top(files, "__pycache__")
    tag = sys.implementation.cache_tag
    for name in (one for one in files if one.endswith(".py")):
        folder, _, module = name.rpartition("/")
        prefix = f"{folder}/" if folder else ""
        bytecode = files[f"{prefix}__pycache__/{module[:-3]}.{tag}.pyc"]
        # PEP 552: with these flags, Python checks the hash of the source.
        assert bytecode[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(bytecode[4:8], "little") == 0b11
        assert bytecode[8:16] == importlib.util.source_hash(files[name]), name
    assert compiled.stat().st_size < 4 * MIB


def test_bytecode_names_no_local_folder(compiled: Path) -> None:
    """The bytecode names Lambda's folder, and none of the machine that compiled it."""
    for name, content in contents(compiled).items():
        if name.endswith(".pyc"):
            code = marshal.loads(content[16:])  # noqa: S302 - compiled a moment ago
            folder, _, module = name.rpartition("__pycache__/")
            source = f"/var/task/{folder}{module.split('.')[0]}.py"
            assert code.co_filename == source


def test_change_after_compiling_is_shipped(tmp_path: Path) -> None:
    """A change without a new compilation leads to a new package, which runs the changed code."""
    project = Project(tmp_path / "clone")
    compile_(project)
    shutil.copy(project.package() / "deployment.zip", tmp_path / "first.zip")
    project.change_version("0.9.9")
    app = project.folder / "app.py"
    app.write_text(app.read_text() + '\nMARK = "changed"\n')
    second = project.package() / "deployment.zip"
    assert len(list((project.folder / ".chalice" / "deployments").iterdir())) == 2
    shutil.unpack_archive(second, tmp_path / "task")
    outdated = bytecode.outdated_in(second).names
    assert outdated == ["app.py", "chalicelib/__init__.py"]
    program = "import app, chalicelib; print(app.MARK, chalicelib.VERSION, app.__cached__)"
    command = [sys.executable, "-B", "-c", program]
    done = subprocess.run(
        command,
        cwd=tmp_path / "task",
        env={"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("changed 0.9.9 ")
    compile_(project)
    assert bytecode.outdated_in(project.package() / "deployment.zip").names == []
    assert len(list((project.folder / ".chalice" / "deployments").iterdir())) == 3


def test_changed_vendor_leads_to_new_package(tmp_path: Path) -> None:
    """Chalice does not use a package again after a change of vendor, such as new bytecode."""
    project = Project(tmp_path / "clone")
    stage = stages.read(project.folder, "prod")
    project.package()
    assert package.next_archive(stage) is not None
    compile_(project)
    assert package.next_archive(stage) is None
    project.package()
    made = package.next_archive(stage)
    compile_(project)
    assert package.next_archive(stage) == made is not None


def test_zip_with_key_sets_is_small(tmp_path: Path) -> None:
    """With the requirements of key sets, added as docs/security.md describes, 8 MiB suffice."""
    project = Project(tmp_path / "clone")
    assert "cryptography" not in (project.folder / "requirements.txt").read_text()
    shutil.copy(ROOT / "requirements-key-sets.txt", project.folder)
    (command,) = re.findall(
        r"^cat requirements.*$", (ROOT / "docs" / "security.md").read_text(), re.MULTILINE
    )
    subprocess.run(["sh", "-euc", command], cwd=project.folder, check=True)
    archive = project.package() / "deployment.zip"
    assert "cryptography/__init__.py" in contents(archive)
    assert zipped(archive) == pins("requirements.txt") | pins("requirements-key-sets.txt")
    assert archive.stat().st_size < 8 * MIB
