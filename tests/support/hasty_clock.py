"""A clock for programs that wait for a real server."""

import time

from chalicelib.core.clock import Clock


class HastyClock(Clock):
    """The real time, of which a wait takes a twentieth of what is asked for.

    Attributes:
        waits: The seconds of all waits.
        ahead: Milliseconds by which it is ahead of the real time.
    """

    def __init__(self, ahead: int = 0) -> None:
        self.waits: list[float] = []
        self.ahead = ahead

    def now(self) -> int:
        """Return the time."""
        return super().now() + self.ahead

    def sleep(self, seconds: float) -> None:
        """Wait for a short time."""
        self.waits.append(seconds)
        time.sleep(seconds / 20)
