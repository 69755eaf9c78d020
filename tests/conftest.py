"""Settings that all tests share."""

import pytest
from hypothesis import settings

LONGEST = {"deploy", "faults", "machine", "system"}

# A slow example is the sign of a busy machine, not of a defect; pytest's time-out remains.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest files first, so that no process waits for them at the end."""
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)
