"""The deployment package that Chalice makes: what goes into it, and the files that it has made.

Chalice packs `app.py`, all of `chalicelib`, two of its own modules, the packages of
`requirements.txt`, and the content of `vendor`. It keeps each package in `.chalice/deployments`,
named by a hash of all these, and uses it again while nothing changes.
"""

import base64
import hashlib
import inspect
import re
import zipfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import chalice
from chalice import app as chalice_app
from chalice.deploy.packager import LambdaDeploymentPackager
from chalice.utils import OSUtils
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ops.stage import Stage
from ops.terminal import Problem

_KEY_SETS = "cryptography"
KEY_SETS_PROBLEM = "cryptography, which verifies the tokens, is not in requirements.txt"
KEY_SETS_ADVICE = "Run `cat requirements-key-sets.txt >> requirements.txt`."


def requirements(folder: Path) -> list[Requirement]:
    """Return the requirements of a project that this Python needs.

    Raises:
        Problem: A line names no package, or the file is not text.
    """
    file = folder / "requirements.txt"
    try:
        text = file.read_text(encoding="utf-8-sig") if file.exists() else ""
    except UnicodeDecodeError as error:
        raise Problem(f"{file} is not in UTF-8.", "Save it in that encoding.") from error
    text = re.sub(r"\\\n", " ", text)
    lines = (re.sub(r"\s+(#|--hash=).*", "", line).strip() for line in text.splitlines())
    found = [_requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    return [one for one in found if one.marker is None or one.marker.evaluate()]


def _requirement(line: str) -> Requirement:
    try:
        return Requirement(line)
    except InvalidRequirement as error:
        raise Problem(
            f"This line of requirements.txt names no package: {line}",
            "Write a name and a version, such as requests==2.32.5, and run `make hashes`.",
        ) from error


def lacks_key_sets(folder: Path, environment: Mapping[str, str]) -> bool:
    """Whether the package would lack what verifies the tokens of an identity provider."""
    if not environment.get("JWT_JWKS_URL") or (folder / "vendor" / _KEY_SETS).is_dir():
        return False
    return _KEY_SETS not in {canonicalize_name(one.name) for one in requirements(folder)}


def modules(folder: Path) -> dict[str, Path]:
    """Return the source of each module that would be shipped, by its name in the package.

    Raises:
        Problem: A package is not installed in the version that would be shipped.
    """
    found = dict(_libraries(folder))
    for module in (chalice, chalice_app):  # Chalice ships no other module of its own
        source = Path(inspect.getfile(module))
        found[f"chalice/{source.name}"] = source
    if (folder / "app.py").exists():
        found["app.py"] = folder / "app.py"
    for place in ("chalicelib", "vendor"):
        top = folder if place == "chalicelib" else folder / "vendor"
        for source in sorted((folder / place).rglob("*.py")):
            found[source.relative_to(top).as_posix()] = source
    return found


def _libraries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the modules of the required packages, from where they are installed."""
    for one in requirements(folder):
        try:
            installed = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            installed = "not installed"
        if not one.specifier.contains(installed, prereleases=True):
            message = (
                f"requirements.txt names {one.name}{one.specifier}, but here it is {installed}."
            )
            raise Problem(message, "Run `make setup`, which installs what requirements.txt names.")
        for file in metadata.files(one.name) or []:
            if file.suffix == ".py" and ".." not in file.parts:
                yield file.as_posix(), Path(str(file.locate()))


def next_archive(stage: Stage) -> Path | None:
    """Return the file that Chalice has made of the current files and would use again, if any."""
    if not (stage.folder / "app.py").exists():
        return None
    unused: Any = None
    packager = LambdaDeploymentPackager(
        OSUtils(), dependency_builder=unused, ui=unused, architecture=stage.architecture
    )
    file = Path(packager.deployment_package_filename(str(stage.folder), stage.next_runtime))
    return file if file.exists() else None


def deployed_archive(stage: Stage, code_sha256: str) -> Path | None:
    """Return the file whose content a function has; None if it is not in this folder.

    Args:
        stage: The stage.
        code_sha256: Lambda's hash of the function's package.
    """
    made = (stage.folder / ".chalice" / "deployments").glob("*.zip")
    for file in (*made, stage.folder / "out" / "deployment.zip"):
        if file.exists():
            digest = hashlib.sha256(file.read_bytes()).digest()
            if base64.b64encode(digest).decode() == code_sha256:
                return file
    return None


def missing_packages(folder: Path, archive: Path) -> list[str]:
    """Return the required packages that a file lacks.

    Chalice makes the file even if it finds no wheel of a package for Lambda, and only prints that.
    """
    with zipfile.ZipFile(archive) as opened:
        names = "\n".join(opened.namelist())
    found = re.findall(r"^([\w.]+)-([^/-]+)\.dist-info/METADATA$", names, re.MULTILINE)
    packed = {canonicalize_name(name): version for name, version in found}
    return [
        f"{one.name}{one.specifier}"
        for one in requirements(folder)
        if not one.specifier.contains(
            packed.get(canonicalize_name(one.name), "0"), prereleases=True
        )
    ]
