"""Write the check of each request's body from its schema: `make openapi`.

`jsonschema` takes a third of a second to load at 512 MB of memory, so only a refused body loads it.
All others pass the functions that are written here, by fastjsonschema. A test compares them with
jsonschema, and another one fails if they are not up to date.
"""

import json
import sys
from pathlib import Path

import fastjsonschema

SCHEMAS = Path(__file__).parents[1] / "chalicelib" / "schemas"
TARGET = SCHEMAS / "checks"
BODIES = ("new-asset", "new-upload")
_HEAD = '"""{}. Written by scripts/checks.py: change the schema instead."""\n'


def module(name: str) -> str:
    """Return the source of the check of one schema."""
    schema = json.loads((SCHEMAS / f"{name}.json").read_text("utf-8"))
    lines = fastjsonschema.compile_to_code(schema, detailed_exceptions=False).splitlines()
    made = [_HEAD.format(f"Whether a body fits {name}.json"), "import re"]
    for line in lines[lines.index("import re") + 1 :]:
        indent, call, _ = line.partition("raise JsonSchemaValueException(")
        if call:
            made.append(f"{indent}return False")
        elif line == "NoneType = type(None)":
            continue
        elif line == "    return data":
            made.append("    return True")
        elif line.startswith("def validate("):
            made.append("def is_valid(data):")
        elif not line.startswith("from fastjsonschema"):
            made.append(line.replace("(int, float, Decimal)", "(int, float)"))  # as json.loads
    if any("JsonSchema" in line or "Decimal" in line for line in made):
        sys.exit(f"fastjsonschema writes code for {name} that needs more than `re`.")
    return "\n".join(made) + "\n"


def package() -> str:
    """Return the source that lists the checks."""
    modules = {name: name.replace("-", "_") for name in BODIES}
    imports = ", ".join(modules.values())
    entries = "".join(f'    "{name}": {of}.is_valid,\n' for name, of in modules.items())
    return (
        _HEAD.format("Checks of bodies by the names of their schemas")
        + "\nfrom collections.abc import Callable\nfrom typing import Any\n\n"
        + f"from chalicelib.schemas.checks import {imports}\n\n"
        + f"CHECKS: dict[str, Callable[[Any], bool]] = {{\n{entries}}}\n"
    )


def sources() -> dict[Path, str]:
    """Return the files and their sources."""
    files = {TARGET / f"{name.replace('-', '_')}.py": module(name) for name in BODIES}
    return {TARGET / "__init__.py": package(), **files}


if __name__ == "__main__":
    TARGET.mkdir(exist_ok=True)
    for path, source in sources().items():
        path.write_text(source)
