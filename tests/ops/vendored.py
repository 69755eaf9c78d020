"""Copies of the installed libraries, so that `chalice deploy` need not download them."""

import re
import shutil
from importlib import metadata
from pathlib import Path


def vendor(folder: Path) -> None:
    """Copy the installed libraries into a project's vendor folder.

    Otherwise `chalice deploy` runs pip, which takes 15 seconds. The tests in tests/deploy do that.
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
