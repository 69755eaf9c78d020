"""The processes that the state machine needs, and its count of steps."""

from collections.abc import Iterator

import pytest

from tests.machine.step_count import COUNTS
from tests.machine.surroundings import Surroundings


@pytest.fixture(scope="session")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    """A DynamoDB emulator and an upstream of the state machine's own."""
    started = Surroundings(tmp_path_factory.mktemp("machine"))
    yield started
    started.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how far the state machine got."""
    if COUNTS:
        told = ", ".join(f"{count} {what}" for what, count in sorted(COUNTS.items()))
        terminalreporter.write_line(f"state machine: {told}")
