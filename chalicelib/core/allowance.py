"""How often a stranger may make the broker ask another service."""

from chalicelib.core.clock import Clock

BURST = 5  # how often in a row a stranger is believed
REFRESH_SECONDS = 10.0  # how often after that; a flood of forgeries must not reach the service


class Allowance:
    """How often a stranger may make the broker ask: a few times in a row, then now and then.

    With it a rotation is noticed at once, however young the container is. It is not thread-safe:
    its owner guards it by a lock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._at = clock.monotonic()

    def take(self) -> bool:
        """Use one, if there is one."""
        now = self._clock.monotonic()
        self._left = min(float(BURST), self._left + (now - self._at) / REFRESH_SECONDS)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
