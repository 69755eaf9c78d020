"""Clocks that tests control."""

import itertools
import time
from collections.abc import Callable

from chalicelib.core.clock import Clock


class MovableClock(Clock):
    """The real time, plus the seconds by which a test has advanced it."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._time = time.time

    def now(self) -> int:
        """Return the time."""
        return int((self._time() + self.ahead) * 1000)

    def monotonic(self) -> float:
        """Return the seconds of a clock that is advanced too."""
        return time.monotonic() + self.ahead

    def tick(self) -> None:
        """Make time independent of the machine: each reading advances it by a millisecond."""
        moments = itertools.count(int(time.time() * 1000))
        self._time = lambda: next(moments) / 1000

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self.ahead += seconds

    def to_noon(self) -> None:
        """Move to noon (UTC), so that no day ends within the next twelve hours."""
        self.advance(43_200 - (self.now() // 1000) % 86_400)


class CountingClock(MovableClock):
    """A clock that advances with each event that it counts, so that long waits take no time.

    Args:
        count: Returns how many events there were.
        seconds: What each of them takes.
    """

    def __init__(self, count: Callable[[], int], seconds: float) -> None:
        super().__init__()
        self._count = count
        self._seconds = seconds
        self._counted = count()

    def now(self) -> int:
        """Return the time."""
        counted = self._count()
        self.advance(self._seconds * (counted - self._counted))
        self._counted = counted
        return super().now()


class ManualClock(Clock):
    """A clock that changes only when a test or a sleep advances it.

    Args:
        milliseconds: The time since 1970 at the start.
    """

    def __init__(self, milliseconds: int = 1_800_000_000_000) -> None:
        self.milliseconds = milliseconds

    def now(self) -> int:
        """Return the time."""
        return self.milliseconds

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self.milliseconds / 1000

    def sleep(self, seconds: float) -> None:
        """Advance the clock."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self.milliseconds += round(seconds * 1000)


class ShiftedClock(Clock):
    """The clock of another container.

    Args:
        other: The clock that it differs from.
        milliseconds: The time by which it is ahead.
    """

    def __init__(self, other: Clock, milliseconds: int) -> None:
        self._other = other
        self._milliseconds = milliseconds

    def now(self) -> int:
        """Return the time."""
        return self._other.now() + self._milliseconds
