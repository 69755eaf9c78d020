"""Write the hashes of the deployed packages below their pins: `make hashes`, after a change.

The script lists the hashes of all files of a version, since operators deploy from any machine: pip
downloads the files for that machine first, and then Chalice those for Lambda.
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
    """Return the normalised name of a package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def compiled(pins: str) -> str:
    """Return pip-compile's output: the pins, all packages that they need, and the hashes."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "pins.in"), Path(folder, "pins.txt")
        source.write_text(pins)
        command = ["-m", "piptools", "compile", "--quiet", "--generate-hashes", "--strip-extras"]
        command += ["--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
        command += ["--no-emit-trusted-host", "--output-file", str(target), str(source)]
        subprocess.run([sys.executable, *command], check=True)  # noqa: S603 - pip-tools
        return target.read_text()


def write_hashes(file: Path) -> None:
    """Replace the hashes below each pin of a requirements file."""
    text = HASH.sub("", file.read_text())
    pins = {canonical(pin["name"]): pin["pin"] for pin in PIN.finditer(text)}
    hashes = {}
    # The markers are left out, so that the result is the same on each version of Python.
    for block in re.split(r"^(?=\w)", compiled("\n".join(pins.values())), flags=re.MULTILINE):
        if pin := PIN.match(block):
            hashes[canonical(pin["name"])] = "".join(HASH.findall(block))
    if missing := hashes.keys() - pins.keys():
        names = ", ".join(sorted(missing))
        sys.exit(f"{file.name} must also pin the packages that its packages need: {names}")
    file.write_text(PIN.sub(lambda pin: pin[0] + hashes[canonical(pin["name"])], text))
    print(f"{file.name}: {sum(one.count('--hash') for one in hashes.values())} hashes")


if __name__ == "__main__":
    for name in sys.argv[1:] or ("requirements.txt", "requirements-key-sets.txt"):
        write_hashes(ROOT / name)
