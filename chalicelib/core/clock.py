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
DATE_LAG = SECOND  # a server may use a `Date` for so long before it reads its clock again
TOLERANCE = 400  # milliseconds by which a machine may be wrong; `ratelimit/policy.py` allows for it


class Clock:
    """The machine's time, corrected where a server's proves it wrong. Tests pass their own clock.

    Lambda keeps its machines' time within milliseconds. A machine that is wrong by seconds would
    let the rate limiter grant a permit too early, so each response of DynamoDB is compared: its
    header `Date` has whole seconds, which bounds the machine's error from both sides.
    """

    # The server's time less the machine's is between these two.
    _least, _most = -DAY, DAY

    def now(self) -> int:
        """Return the time; if the machine's is wrong, the earliest that it can be."""
        return self.machine_time() + (self._least if self._is_wrong else 0)

    @property
    def uncertainty(self) -> int:
        """How much later than `now` it may be, in milliseconds."""
        return self._most - self._least if self._is_wrong else 0

    def observe(self, server_time: int, sent_at: int, received_at: int) -> None:
        """Compare the machine's time with a server's.

        Args:
            server_time: The second in which the server responded, in milliseconds since 1970.
            sent_at: The machine's time when the request was sent: `machine_time`.
            received_at: The same when the response was there.
        """
        least = server_time - received_at
        most = server_time + SECOND - 1 + DATE_LAG - sent_at
        narrowed = max(least, self._least), min(most, self._most)
        # The machine's time was set in the meantime if the bounds contradict each other.
        self._least, self._most = narrowed if narrowed[0] <= narrowed[1] else (least, most)

    def machine_time(self) -> int:
        """Return the machine's time as it is."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return the seconds of a clock that never jumps."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    @property
    def _is_wrong(self) -> bool:
        return not self._least - TOLERANCE <= 0 <= self._most + TOLERANCE
