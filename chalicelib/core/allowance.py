"""How often requests of strangers may make the broker ask another service."""

from chalicelib.core.clock import Clock

BURST = 5  # how often in a row a stranger is believed
REFRESH_SECONDS = 10.0  # how often after that; a flood of forgeries must not reach the service


class Allowance:
    """A token bucket: a few calls in a row, then one from time to time.

    A rotated secret is noticed at once, even in a new container. It is not thread-safe: its owner
    guards it by a lock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._at = clock.monotonic()

    def take(self) -> bool:
        """Take a token; return whether there was one."""
        now = self._clock.monotonic()
        self._left = min(float(BURST), self._left + (now - self._at) / REFRESH_SECONDS)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
