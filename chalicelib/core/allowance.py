"""How often strangers may cause a request to another service."""

from chalicelib.core.clock import Clock

BURST = 5  # requests in a row
REFRESH_SECONDS = 10.0  # until one more is allowed


class Allowance:
    """A token bucket: a few requests in a row, then one every few seconds.

    A stranger can send any number of forged tokens, and each may be the first one of a new key. So
    a rotation is noticed at once, and a flood does not reach the other service. It is not
    thread-safe: its owner holds a lock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._filled_at = clock.monotonic()

    def take(self) -> bool:
        """Use up one request. Return whether there was one left."""
        now = self._clock.monotonic()
        self._left = min(float(BURST), self._left + (now - self._filled_at) / REFRESH_SECONDS)
        self._filled_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
