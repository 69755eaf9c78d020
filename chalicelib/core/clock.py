"""Time: the clock that every part gets as an argument, and units.

Times are whole milliseconds since 1970 (UTC), as they are stored.
"""

import time

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
DAY_SECONDS = DAY // SECOND
# So long after its start a request has ended or was killed. It is twice what a request can take,
# with the margin for the clocks of two containers.
REQUEST_OVER_AFTER = 2 * MINUTE


class Clock:
    """The system's time. Tests pass a clock of their own."""

    def now(self) -> int:
        """Return the time."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return the seconds of a clock that never jumps."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
