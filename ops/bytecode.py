"""Compile what is deployed, for shorter cold starts.

Lambda's code is read-only, so without bytecode each cold start compiles it again. Chalice ships the
content of `chalicelib` and `vendor`, so the bytecode of the libraries goes into `vendor`. Each file
contains the hash of its source, and Python ignores it if the source has changed. So bytecode that
is out of date costs time and is never wrong.
"""

import importlib.util
import py_compile
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ops import package
from ops.terminal import Problem

_HEADER = 16  # bytes before the code: magic number, flags, hash of the source (PEP 552)
_CHECKED_HASH = 0b11
_LAMBDA = PurePosixPath("/var/task")  # where Lambda unpacks the package


@dataclass(frozen=True)
class Outdated:
    """The modules without bytecode of their current source.

    Attributes:
        names: Their names in the package.
        of: The number of all modules.
    """

    names: list[str]
    of: int

    def describe(self) -> str:
        """Return a description, with the first names."""
        shown = ", ".join(self.names[:3]) + (", ..." if len(self.names) > 3 else "")  # noqa: PLR2004 - enough to recognize them
        return f"{len(self.names)} of {self.of} modules have no current bytecode: {shown}"


def outdated(folder: Path) -> Outdated:
    """Return the modules whose bytecode is missing or out of date in a project.

    Raises:
        Problem: A package is not installed in the version that would be shipped.
    """
    found = package.modules(folder)
    names = [
        name
        for name, source in found.items()
        if not _is_current(_read(_target(folder, name)), source.read_bytes())
    ]
    return Outdated(names, len(found))


def outdated_in(archive: Path) -> Outdated:
    """Return the modules whose bytecode is missing or out of date in a deployment package."""
    with zipfile.ZipFile(archive) as opened:
        files = set(opened.namelist())
        found = [name for name in files if name.endswith(".py")]
        names = [
            name
            for name in sorted(found)
            if not _is_current(
                opened.read(_compiled(name)) if _compiled(name) in files else b"",
                opened.read(name),
            )
        ]
    return Outdated(names, len(found))


def compile_project(folder: Path) -> int:
    """Compile each module whose bytecode is not current, and delete bytecode without a module.

    Returns:
        The number of changed files.

    Raises:
        Problem: A module does not compile, or a package is not installed as it would be shipped.
    """
    wanted = {_target(folder, name): (name, path) for name, path in package.modules(folder).items()}
    changed = 0
    for place in (folder / "chalicelib", folder / "vendor"):
        for file in place.rglob("__pycache__/*.pyc"):
            if file not in wanted:
                file.unlink()
                changed += 1
    for target, (name, source) in wanted.items():
        if _is_current(_read(target), source.read_bytes()):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            py_compile.compile(
                str(source),
                cfile=str(target),
                # The path on Lambda: no name of this machine's folders is shipped.
                dfile=str(_LAMBDA / name),
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
            )
        except py_compile.PyCompileError as error:
            raise Problem(f"{source} does not compile: {' '.join(error.msg.split())}") from error
        changed += 1
    return changed


def _compiled(name: str) -> str:
    """Return the name of a module's bytecode in the package."""
    path = PurePosixPath(name)
    return str(path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc")


def _target(folder: Path, name: str) -> Path:
    """Return the file of a module's bytecode in the project."""
    top = folder if name.startswith("chalicelib/") else folder / "vendor"
    return top / _compiled(name)


def _read(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


def _is_current(compiled: bytes, source: bytes) -> bool:
    head = importlib.util.MAGIC_NUMBER + _CHECKED_HASH.to_bytes(4, "little")
    return compiled[:_HEADER] == head + importlib.util.source_hash(source)
