"""The JSON Schemas of all bodies: one description for validation, OpenAPI and tests."""

import json
from functools import cache
from pathlib import Path

from chalicelib.core.types import Json

_FOLDER = Path(__file__).parent


@cache
def load(name: str) -> Json:
    """Return a schema by the name of its file without the suffix."""
    content: Json = json.loads((_FOLDER / f"{name}.json").read_text("utf-8"))
    return content


def names() -> list[str]:
    """Return the names of all schemas."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))
