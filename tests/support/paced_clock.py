"""A clock that goes on while it is read, so that what takes long need not take long in a test."""

from chalicelib import bootstrap
from tests.support.running_broker import SHORT, Clock, RunningBroker
from tests.support.upstream_process import RunningUpstream


class Paced(Clock):
    """A clock that goes on by some seconds whenever it is read."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def __call__(self) -> int:
        """Return milliseconds since 1970."""
        self.advance(self.seconds)
        return super().__call__()


def paced(broker: RunningBroker, upstream: RunningUpstream, seconds: float) -> Paced:
    """Put a broker with such a clock in place, at the time that the old one shows."""
    clock = Paced(seconds)
    clock.advance(broker.clock.ahead)
    broker.clock = clock
    bootstrap.use(bootstrap.build(broker.environment(upstream), now=clock, timeouts=SHORT))
    return clock
