"""Compile the deployed code: `make bytecode`, before `chalice deploy` or `chalice package`.

Lambda's code is read-only, so without bytecode each cold start compiles it again. Chalice adds the
content of `vendor/` and `chalicelib` to the zip. Each `.pyc` file contains the hash of its source,
and Python ignores it if the source has changed.
"""

import compileall
import importlib.util
import py_compile
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BY_HASH = py_compile.PycInvalidationMode.CHECKED_HASH


def compile_tree(folder: Path) -> None:
    """Compile all modules of a folder."""
    if not compileall.compile_dir(folder, quiet=1, force=True, invalidation_mode=BY_HASH):
        sys.exit(f"{folder} does not compile")


def main(project: Path) -> None:
    """Fill `vendor/` with the bytecode of the libraries, and compile the project itself."""
    vendor = project / "vendor"
    shutil.rmtree(vendor, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        libraries = Path(name)
        subprocess.run(  # noqa: S603 - pip, for the project's own requirements
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"),
                *("--disable-pip-version-check", "--target", name),
                *("--requirement", str(project / "requirements.txt")),
            ],
            check=True,
        )
        found = importlib.util.find_spec("chalice")
        if found is None or found.origin is None:
            sys.exit("Chalice is not installed. Run `make bytecode`.")
        # Chalice deploys only these two of its modules.
        (libraries / "chalice").mkdir()
        for source in ("__init__.py", "app.py"):
            shutil.copy(Path(found.origin).parent / source, libraries / "chalice")
        shutil.copy(project / "app.py", libraries)
        compile_tree(libraries)
        for compiled in libraries.rglob("__pycache__/*.pyc"):
            target = vendor / compiled.relative_to(libraries)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(compiled, target)
    compile_tree(project / "chalicelib")
    print(f"compiled for Python {sys.version_info.major}.{sys.version_info.minor} into {vendor}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent)
