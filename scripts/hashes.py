"""Write the hashes of what is deployed below each pin: `make hashes`, after a version was changed.

All files of a version are listed, since whoever deploys may do so on any machine: pip downloads the
files for that machine first, and Chalice those for Lambda afterwards.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PIN = re.compile(r"^(?P<pin>(?P<name>[\w.-]+)==[^\s;]+)(?: ; [^\\]+?)?(?= \\$|$)", re.MULTILINE)
HASH = re.compile(r" \\\n    --hash=\S+")


def canonical(name: str) -> str:
    """Return the one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def compiled(pins: str) -> str:
    """Return what pip-compile makes of pins: them, whatever else they need, and all hashes."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "pins.in"), Path(folder, "pins.txt")
        source.write_text(pins)
        command = ["-m", "piptools", "compile", "--quiet", "--generate-hashes", "--strip-extras"]
        command += ["--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
        command += ["--no-emit-trusted-host", "--output-file", str(target), str(source)]
        subprocess.run([sys.executable, *command], check=True)  # noqa: S603 - pip-tools
        return target.read_text()


def write_hashes(file: Path) -> None:
    """Replace the hashes below each pin of a requirements file, and leave the rest as it is."""
    text = HASH.sub("", file.read_text())
    pins = {canonical(pin["name"]): pin["pin"] for pin in PIN.finditer(text)}
    hashes = {}
    # Without their conditions, so that the result is the same on every version of Python.
    for block in re.split(r"^(?=\w)", compiled("\n".join(pins.values())), flags=re.MULTILINE):
        if pin := PIN.match(block):
            hashes[canonical(pin["name"])] = "".join(HASH.findall(block))
    if missing := hashes.keys() - pins.keys():
        sys.exit(f"{file.name} must pin what its packages need: {', '.join(sorted(missing))}")
    file.write_text(PIN.sub(lambda pin: pin[0] + hashes[canonical(pin["name"])], text))
    print(f"{file.name}: {sum(one.count('--hash') for one in hashes.values())} hashes")


if __name__ == "__main__":
    for name in sys.argv[1:] or ("requirements.txt", "requirements-key-sets.txt"):
        write_hashes(ROOT / name)
