"""The only HTTP to sync., on connections that are open before a request is admitted.

A place in the line is for a moment. Names are looked up, and TCP and TLS agreed on, before it is
taken: else a slow beginning would let a request arrive long after its place.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ReadTimeoutError

from chalicelib.core import log
from chalicelib.core.clock import Clock
from chalicelib.core.types import Json
from chalicelib.syncapi import errors as sync_errors

CONNECT_SECONDS = 3.05  # a little over one TCP retransmission, as requests' manual advises
MAX_ANSWER_BYTES = 4 * 1024 * 1024  # a page of 100 assets is about 60 kB
# A connection that rested longer may have been cut without a word, while the container was frozen.
# A POST on it would end with its outcome unknown, so a new one is opened instead.
IDLE_SECONDS = 20.0

_current = threading.local()


class _Admission:
    """Asks whether a request may be sent, and knows how that went.

    Args:
        admit: Raises where it may not; None where nobody has to be asked.
        clock: The time.

    Attributes:
        is_refused: Whether it may not.
        seconds: How long the asking took.
    """

    def __init__(self, admit: Callable[[], None] | None, clock: Clock) -> None:
        self._admit = admit
        self._clock = clock
        self.is_refused = False
        self.seconds = 0.0

    @contextmanager
    def for_this_thread(self) -> Iterator[None]:
        """Have what this thread sends meanwhile admitted, once its connection is open."""
        _current.admission = self
        try:
            yield
        finally:
            _current.admission = None

    def ask(self) -> None:
        """Ask."""
        if self._admit is None:
            return
        began = self._clock.monotonic()
        self.is_refused = True
        self._admit()
        self.is_refused = False
        self.seconds = self._clock.monotonic() - began


class _AdmittingAdapter(HTTPAdapter):
    """What requests sends by."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make pools of connections that ask first."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


def _open_and_admit(connection: HTTPConnection) -> None:
    if connection.is_closed:
        connection.connect()
    admission: _Admission | None = getattr(_current, "admission", None)
    if admission is not None:
        admission.ask()


class _Connection(HTTPConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        _open_and_admit(self)
        super().request(*args, **kwargs)


class _SecureConnection(HTTPSConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        _open_and_admit(self)
        super().request(*args, **kwargs)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class Answer(NamedTuple):
    """What sync. answered, not yet read.

    Attributes:
        status: HTTP's.
        retry_after: That header, if there was one.
        content: The body. What it said back of the key is blotted out.
    """

    status: int
    retry_after: str | None
    content: bytes


class Client:
    """One keep-alive session.

    Args:
        clock: The time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_used = clock.monotonic()
        self._session = requests.Session()
        # Neither proxies nor .netrc of the machine may see or replace the key.
        self._session.trust_env = False
        adapter = _AdmittingAdapter(pool_connections=2, pool_maxsize=32, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def send(  # noqa: PLR0913 - what a request is made of
        self,
        method: str,
        url: str,
        seconds: float,
        key: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        admit: Callable[[], None] | None = None,
    ) -> Answer:
        """Send one request and read its whole answer.

        Args:
            method: HTTP's.
            url: sync.'s address.
            seconds: How long that may take, what `admit` takes not included.
            key: sync.'s key.
            query: Parameters of the address.
            body: Sent as JSON.
            admit: Called when the connection is open; it raises where the request may not be sent.

        Raises:
            UpstreamUnreachable: Nothing was sent.
            UpstreamError: It may have been carried out.
            BrokerError: By `admit`; nothing was sent.
        """
        admission = _Admission(admit, self._clock)
        started = self._clock.monotonic()
        if started - self._last_used > IDLE_SECONDS:
            self._session.close()
        try:
            with (
                admission.for_this_thread(),
                self._open(method, url, seconds, key, params=query, json=body) as response,
            ):
                # What is said back of the key goes no further: it could reach a browser or a log.
                deadline = started + admission.seconds + seconds
                content = self._read(response, deadline).replace(key.encode(), b"***")
        except requests.RequestException as error:
            raise _failure(error) from error
        except ReadTimeoutError as error:
            raise sync_errors.UpstreamTimeout(
                "Sync did not respond in time. Try again in a moment."
            ) from error
        except HTTPError as error:
            raise sync_errors.UpstreamFault(
                "The connection to Sync broke. Try again in a moment."
            ) from error
        finally:
            self._last_used = self._clock.monotonic()
            if not admission.is_refused:
                log.count_upstream(self._last_used - started - admission.seconds)
        return Answer(response.status_code, response.headers.get("Retry-After"), content)

    def _open(
        self, method: str, url: str, seconds: float, key: str, **parts: Any
    ) -> requests.Response:
        """Send a request, and return when the head of its answer is there."""
        return self._session.request(
            method,
            url,
            headers={
                "x-api-key": key,
                "accept": "application/json",
                # An answer is small, and its size is bounded.
                "accept-encoding": "identity",
            },
            timeout=(min(CONNECT_SECONDS, seconds), max(seconds - CONNECT_SECONDS, 1.0)),
            # A redirect would carry the key to wherever it points.
            allow_redirects=False,
            stream=True,
            **parts,
        )

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        content = bytearray()
        # The time-out is for each packet, and a read that waited for a full block would wait for
        # many of them: so a trickle is measured packet by packet.
        while chunk := response.raw.read1(65536, decode_content=True):
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                raise sync_errors.UpstreamFault("Sync failed. Try again in a moment.")
            if self._clock.monotonic() > deadline:
                raise sync_errors.UpstreamTimeout(
                    "Sync did not respond in time. Try again in a moment."
                )
        return bytes(content)


def _failure(error: requests.RequestException) -> sync_errors.UpstreamError:
    """Map an exception of requests: was anything sent?"""
    if isinstance(error, requests.ConnectTimeout):
        return sync_errors.UpstreamUnreachable("Sync can't be reached. Try again in a moment.")
    if isinstance(error, requests.Timeout):
        return sync_errors.UpstreamTimeout("Sync did not respond in time. Try again in a moment.")
    if isinstance(error, requests.ConnectionError) and _never_connected(error):
        return sync_errors.UpstreamUnreachable("Sync can't be reached. Try again in a moment.")
    return sync_errors.UpstreamFault("The connection to Sync broke. Try again in a moment.")


def _never_connected(error: requests.ConnectionError) -> bool:
    """Whether a connection was refused, and not broken off later: urllib3 names the cause."""
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return type(reason).__name__ in {"NewConnectionError", "NameResolutionError"}
