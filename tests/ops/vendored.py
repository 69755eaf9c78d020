"""A project's libraries, as they are installed here."""

import re
import shutil
from importlib import metadata
from pathlib import Path


def vendor(folder: Path) -> None:
    """Let a project bring its libraries along as they are installed here.

    `chalice deploy` otherwise asks pip for them, for a quarter of a minute; tests/deploy does it.
    """
    requirements = folder / "requirements.txt"
    wanted = re.findall(r"^([A-Za-z][\w-]*)==", requirements.read_text(), re.MULTILINE)
    requirements.write_text("")
    found: set[str] = set()
    while wanted:
        name = wanted.pop().lower()
        if name in found:
            continue
        found.add(name)
        for needed in metadata.requires(name) or []:
            if "extra ==" not in needed and "python_version <" not in needed:
                wanted += re.findall(r"^[A-Za-z][\w-]*", needed)
        for file in metadata.files(name) or []:
            source, target = Path(str(file.locate())), folder / "vendor" / file
            if ".." not in file.parts and source.suffix != ".pyc":
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
