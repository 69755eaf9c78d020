"""The deployment package: its content and its size, with and without bytecode."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package made after `make bytecode`."""
    project = Project(tmp_path_factory.mktemp("compiled") / "clone")
    command = [sys.executable, "scripts/bytecode.py", str(project.folder)]
    subprocess.run(command, cwd=ROOT, env=os.environ, check=True, capture_output=True)
    return project.package() / "deployment.zip"


def test_compiled_zip_has_matching_bytecode(compiled: Path) -> None:
    """After `make bytecode`, each module has bytecode that matches its source; the zip is small."""
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
