"""The clock, and machines whose time is wrong."""

import pytest

from chalicelib.core.clock import DATE_LAG, SECOND, TOLERANCE, Clock

TRUE = 1_800_000_000_000  # a whole second


class Machine(Clock):
    """The clock of a machine that is wrong by some milliseconds."""

    def __init__(self, error: int) -> None:
        self.error = error
        self.true = TRUE

    def machine_time(self) -> int:
        """Return the machine's time."""
        return self.true + self.error

    def ask(self, true: int, took: int = 10) -> None:
        """Compare the machine's time with a response that a server sends at a moment."""
        self.true = true + took // 2
        received_at = self.machine_time()
        self.observe(true // SECOND * SECOND, received_at - took, received_at)


@pytest.mark.parametrize("error", [0, TOLERANCE, -TOLERANCE])
def test_right_machine_is_believed(error: int) -> None:
    """A machine's time is not changed while it may be right within the tolerance."""
    clock = Machine(error)
    for moment in range(TRUE, TRUE + 20_000, 137):
        clock.ask(moment)
        assert clock.now() == clock.machine_time()
        assert clock.uncertainty == 0


def test_late_date_is_allowed() -> None:
    """A server may use its `Date` for up to a second, and a right machine is still believed."""
    clock = Machine(0)
    for moment in range(TRUE, TRUE + 20_000, 137):
        clock.true = moment
        clock.observe((moment - 900) // SECOND * SECOND, moment - 10, moment)
        assert clock.now() == clock.machine_time()


def test_times_are_whole_milliseconds() -> None:
    """The machine's time is in whole milliseconds, as times are stored."""
    assert isinstance(Clock().machine_time(), int)
    assert isinstance(Clock().now(), int)


def test_unasked_clock_is_the_machines() -> None:
    """Before the first response the machine's time counts."""
    clock = Machine(15_000)
    assert clock.now() == TRUE + 15_000
    assert clock.uncertainty == 0


@pytest.mark.parametrize("error", [15_000, -15_000, 3_000, -2_000])
def test_wrong_machine_is_corrected(error: int) -> None:
    """The true time is between `now` and the uncertainty after it, which shrinks."""
    clock = Machine(error)
    widths = []
    for moment in range(TRUE, TRUE + 5_000, 137):
        clock.ask(moment)
        assert clock.now() <= clock.true <= clock.now() + clock.uncertainty
        widths.append(clock.uncertainty)
    assert widths[0] == SECOND - 1 + DATE_LAG + 10
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] <= DATE_LAG + 150


def test_bounds_are_exact() -> None:
    """A response proves the second in which it was sent, between the request and its arrival."""
    clock = Machine(-15_000)
    clock.observe(TRUE, TRUE - 15_000, TRUE - 14_990)
    assert clock.now() - clock.machine_time() == 14_990
    assert clock.uncertainty == 999 + DATE_LAG + 15_000 - 14_990


def test_set_clock_is_compared_anew() -> None:
    """After the machine's clock was set, what was known of it before does not count."""
    clock = Machine(-15_000)
    clock.ask(TRUE)
    assert clock.uncertainty
    clock.error = 0
    clock.ask(TRUE + 1000)
    assert clock.now() == clock.machine_time()
    assert clock.uncertainty == 0
    clock.error = 15_000
    clock.ask(TRUE + 2000)
    assert clock.now() <= clock.true
