"""The processes that the state machine needs, and its count of steps."""

from collections.abc import Iterator

import pytest

from tests.machine.step_count import COUNTS
from tests.machine.system import Services


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A DynamoDB emulator and an upstream that only the state machine uses."""
    started = Services(tmp_path_factory.mktemp("machine"))
    yield started
    started.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report how many steps the state machine made."""
    if COUNTS:
        summary = ", ".join(f"{count} {what}" for what, count in sorted(COUNTS.items()))
        terminalreporter.write_line(f"state machine: {summary}")
