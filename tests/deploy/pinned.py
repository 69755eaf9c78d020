"""Names and versions of packages: pinned in a file, installed, and in a deployment package."""

import json
import re
import subprocess
import zipfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.upstream_process import ROOT


def requirements(file: Path) -> list[Requirement]:
    """Return the requirements of a file, without their hashes."""
    lines = re.sub(r"\\\n", " ", file.read_text()).splitlines()
    named = (re.sub(r"\s+(#|--hash=).*", "", line) for line in lines)
    return [Requirement(line) for line in named if line and not line.startswith(("#", "-"))]


def pins(file: str) -> dict[str, str]:
    """Return the packages that a file pins for this Python; each requirement must be a pin."""
    found = {}
    for one in requirements(ROOT / file):
        (specifier,) = one.specifier
        assert specifier.operator == "==", one
        if one.marker is None or one.marker.evaluate():
            name = canonicalize_name(one.name)
            assert name not in found, f"{name} is pinned twice"
            found[name] = specifier.version
    return found


def installed(environment: str) -> dict[str, str]:
    """Return the packages of a virtual environment."""
    python = ROOT / environment / "bin" / "python"
    command = [python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {canonicalize_name(one["name"]): one["version"] for one in json.loads(listed)}


def zipped(archive: Path) -> dict[str, str]:
    """Return the packages whose metadata is in a deployment package."""
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
    found = re.findall(r"^([\w.]+)-([^/-]+)\.dist-info/METADATA$", "\n".join(names), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}
