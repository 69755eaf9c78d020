"""The documented limit of presigns for each minute, with both possible ways of counting."""

from collections import deque

WINDOW = 60.0  # seconds; documented as "a minute"


class RateLimit:
    """Counts the calls that were allowed; refused calls do not count.

    Both ways of counting use the same record, so they can be switched at run time.
    """

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._allowed: deque[float] = deque()

    def acquire(self, now: float, limit: int, counting: str) -> float | None:
        """Count a call if it is allowed.

        Args:
            now: Unix seconds, of a clock that never goes back.
            limit: Calls in a window.
            counting: `sliding` (the last 60 seconds) or `fixed` (the minute of the clock).

        Returns:
            None if the call is allowed, else the seconds until one is allowed.
        """
        while self._allowed and self._allowed[0] <= now - self._window:
            self._allowed.popleft()
        start = now - now % self._window if counting == "fixed" else now - self._window
        inside = [time for time in self._allowed if time >= start]
        if len(inside) < limit:
            self._allowed.append(now)
            return None
        if counting == "fixed" or limit == 0:
            return start + self._window - now if counting == "fixed" else self._window
        return inside[-limit] + self._window - now

    def clear(self) -> None:
        """Delete the record."""
        self._allowed.clear()
