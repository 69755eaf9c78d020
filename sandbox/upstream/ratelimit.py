"""The documented limit of presigns a minute, counted either way that it may be counted."""

from collections import deque

WINDOW = 60.0  # seconds; documented as "a minute"


class RateLimit:
    """Counts what was let through.

    A refused call takes no place. Both ways of counting read the same record, so switching
    between them at run time forgets nothing.
    """

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._admitted: deque[float] = deque()

    def admit(self, now: float, limit: int, counting: str) -> float | None:
        """Take a place, or say how long there is none.

        Args:
            now: Unix seconds, of a clock that never goes back.
            limit: Places in a window.
            counting: `sliding` (the last 60 seconds) or `fixed` (the minute of the clock).

        Returns:
            None when admitted, else the seconds until the next place.
        """
        while self._admitted and self._admitted[0] <= now - self._window:
            self._admitted.popleft()
        start = now - now % self._window if counting == "fixed" else now - self._window
        inside = [time for time in self._admitted if time >= start]
        if len(inside) < limit:
            self._admitted.append(now)
            return None
        if counting == "fixed" or limit == 0:
            return start + self._window - now if counting == "fixed" else self._window
        return inside[-limit] + self._window - now

    def clear(self) -> None:
        """Forget who was let through."""
        self._admitted.clear()
