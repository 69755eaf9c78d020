"""A circuit breaker: while Sync is down, requests are refused at once, without waiting for it.

Each container has its own, which is in one of these states:

    closed      requests are sent
    suspect     the last three requests got no usable response, so the next request first sends a
                probe, a harmless read
    open        the last probe got no response, so nothing is sent for some seconds; then suspect

A caller's file, name or URL may be why a request fails. So failures only make Sync suspect, and the
probe, which holds nothing of a caller's, decides. Whatever Sync responds to it, Sync is not down.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from chalicelib.core import log
from chalicelib.core.clock import Clock
from chalicelib.syncapi import errors as sync_errors

FAILURES = 3  # in a row, until Sync is suspect
PAUSE_SECONDS = 5.0  # between two probes
_SPREAD_SECONDS = 5.0  # over which callers come back, at random


class CircuitBreaker:
    """The state of Sync as this container knows it.

    Args:
        probe: Sends a harmless request, which is not counted. It raises UpstreamError.
        clock: The time.
    """

    def __init__(self, probe: Callable[[], None], clock: Clock) -> None:
        self._probe = probe
        self._clock = clock
        self._failures = 0
        self._is_down = False  # whether the last probe failed
        self._due_at = 0.0  # when the next probe may be sent, in seconds of the monotonic clock
        self._is_probing = False
        self._lock = threading.Lock()

    def check(self) -> None:
        """Refuse a request unless Sync is known to respond. Nothing is sent.

        Raises:
            UpstreamUnavailable: Sync is suspect or down.
        """
        with self._lock:
            if self._failures >= FAILURES:
                raise self._refusal()

    def probe(self) -> None:
        """Refuse a request while Sync is down. If Sync is suspect, probe it first.

        Raises:
            UpstreamUnavailable: Sync is down, or another request is probing it.
        """
        with self._lock:
            if self._failures < FAILURES:
                return
            if self._is_probing or self._clock.monotonic() < self._due_at:
                raise self._refusal()
            self._is_probing = True
        responds = True
        try:
            self._probe()
        except sync_errors.UpstreamError as error:
            responds = not _is_failure(error)
        finally:
            # After another exception, such as an unreadable key, nothing is known of Sync.
            with self._lock:
                self._is_probing = False
        self._decide(responds=responds)

    def _decide(self, *, responds: bool) -> None:
        with self._lock:
            was_down, self._is_down = self._is_down, not responds
            if was_down != self._is_down:
                log.event("upstream_up" if responds else "upstream_down", level=30)
            if responds:
                # One more failure makes it suspect again.
                self._failures = FAILURES - 1
                return
            self._due_at = self._clock.monotonic() + PAUSE_SECONDS
            raise self._refusal()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the outcome of a request."""
        try:
            yield
        except sync_errors.UpstreamError as error:
            self._count(is_failure=_is_failure(error))
            raise
        self._count(is_failure=False)

    def _count(self, *, is_failure: bool) -> None:
        with self._lock:
            self._failures = self._failures + 1 if is_failure else 0
            if self._is_down and not is_failure:  # a request from before the outage
                self._is_down = False
                log.event("upstream_up", level=30)

    def _refusal(self) -> sync_errors.UpstreamUnavailable:
        left = max(0.0, self._due_at - self._clock.monotonic())
        later = random.uniform(1.0, _SPREAD_SECONDS)  # noqa: S311 - it spreads retries
        return sync_errors.UpstreamUnavailable(retry_after=left + later)


def _is_failure(error: sync_errors.UpstreamError) -> bool:
    """Whether there was no usable response. A 500 is Sync's own, 502 to 504 may be a gateway's."""
    if isinstance(error, sync_errors.OutcomeUnknown | sync_errors.UpstreamUnreachable):
        return error.upstream_status != HTTPStatus.INTERNAL_SERVER_ERROR
    return False
