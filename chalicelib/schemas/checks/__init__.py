"""Checks of bodies by the names of their schemas. Written by scripts/checks.py: change the schema instead."""

from collections.abc import Callable
from typing import Any

from chalicelib.schemas.checks import new_asset, new_upload

CHECKS: dict[str, Callable[[Any], bool]] = {
    "new-asset": new_asset.is_valid,
    "new-upload": new_upload.is_valid,
}
