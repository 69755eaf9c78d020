"""A circuit breaker: while Sync is known to be down, requests end at once, without waiting for it.

Each container has its own. After some failures in a row nothing is sent for a few seconds. Then one
request sends a probe, a harmless read with a short time limit, and the others still end at once. A
probe that gets any response ends the outage.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from chalicelib.core import log
from chalicelib.core.clock import Clock
from chalicelib.syncapi import errors as sync_errors

FAILURES = 3  # in a row, until the outage begins
PAUSE_SECONDS = 5.0  # between two probes
_SPREAD_SECONDS = 5.0  # over which callers come back, at random


class CircuitBreaker:
    """The state of Sync as this container knows it.

    Args:
        probe: Sends a harmless request, which is counted as others are.
        clock: The time.
    """

    def __init__(self, probe: Callable[[], None], clock: Clock) -> None:
        self._probe = probe
        self._clock = clock
        self._failures = 0
        # While Sync is down: when the next probe is due, in seconds of the monotonic clock.
        self._due_at: float | None = None
        self._is_probing = False
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether requests end at once now; not while the next one would be the probe."""
        return self._due_at is not None and (
            self._is_probing or self._clock.monotonic() < self._due_at
        )

    def check(self) -> None:
        """Refuse a request that would end at once.

        Raises:
            UpstreamUnavailable: Sync is down.
        """
        if self.is_open:
            raise self._refusal()

    def admit(self) -> None:
        """Let a request be sent. While Sync is down, probe it first if that is due.

        Raises:
            UpstreamUnavailable: Sync is down, and nothing must be sent.
        """
        with self._lock:
            self.check()
            if self._due_at is None:
                return
            self._is_probing = True
        try:
            self._probe()
        except sync_errors.UpstreamError:
            # A refusal is a response too, and has ended the outage.
            if self._due_at is not None:
                raise self._refusal() from None
        finally:
            self._is_probing = False

    @contextmanager
    def counted(self, *, proves_outage: bool = True) -> Iterator[None]:
        """Count the outcome of a request.

        Args:
            proves_outage: Whether a request without a response proves anything. If it depends on a
                caller's file or URL, it does not: otherwise a caller could end everybody's
                requests.
        """
        try:
            yield
        except sync_errors.UpstreamError as error:
            if not _is_failure(error):
                self._responded()
            elif proves_outage or isinstance(error, sync_errors.UpstreamUnreachable):
                self._failed()
            raise
        self._responded()

    def _failed(self) -> None:
        with self._lock:
            self._failures += 1
            if self._failures < FAILURES:
                return
            if self._due_at is None:
                log.event("upstream_down", level=30)
            self._due_at = self._clock.monotonic() + PAUSE_SECONDS

    def _responded(self) -> None:
        with self._lock:
            self._failures = 0
            if self._due_at is not None:
                log.event("upstream_up", level=30)
            self._due_at = None

    def _refusal(self) -> sync_errors.UpstreamUnavailable:
        left = max(0.0, (self._due_at or 0.0) - self._clock.monotonic())
        later = random.uniform(1.0, _SPREAD_SECONDS)  # noqa: S311 - it spreads retries
        return sync_errors.UpstreamUnavailable(retry_after=left + later)


def _is_failure(error: sync_errors.UpstreamError) -> bool:
    """Whether Sync did not respond, or only a gateway in front of it did (502 to 504)."""
    if isinstance(error, sync_errors.OutcomeUnknown | sync_errors.UpstreamUnreachable):
        return error.upstream_status != HTTPStatus.INTERNAL_SERVER_ERROR
    return False
