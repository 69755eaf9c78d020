"""The only HTTP to Sync: open a connection, acquire the permit, send.

A permit of the rate limiter is for a moment. It is acquired after the DNS lookup and the TCP and
TLS handshakes, because a slow handshake would delay the request past that moment. `requests` has no
step between connecting and sending, so it only prepares the URL. The connection is urllib3's, which
`requests` uses too. Redirects, retries, proxies and .netrc belong to parts of the two libraries
that are not used here, so the key goes nowhere but to Sync.
"""

import json
import ssl
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from http.client import HTTPException
from typing import NamedTuple
from urllib.parse import urlsplit

import requests
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.response import HTTPResponse

from chalicelib.core import log, tls
from chalicelib.core.clock import Clock
from chalicelib.core.types import Json
from chalicelib.syncapi import errors as sync_errors

CONNECT_SECONDS = 3.05  # a little over one TCP retransmission, as the manual of `requests` advises
MAX_RESPONSE_BYTES = 4 * 1024 * 1024  # a page of 100 assets has about 60 kB
# While the container was frozen, the other side may have dropped the connection without notice. A
# POST on it would have an ambiguous outcome, so a connection that was idle for longer is closed.
IDLE_SECONDS = 20.0
_USER_AGENT = requests.utils.default_user_agent()


class _Request(NamedTuple):
    """A request to Sync."""

    method: str
    target: str
    headers: dict[str, str]
    content: bytes | None


class Response(NamedTuple):
    """A response of Sync, not parsed yet.

    Attributes:
        status: The HTTP status.
        retry_after: The header `Retry-After`, or None.
        content: The body, with the key masked.
    """

    status: int
    retry_after: str | None
    content: bytes


class Transport:
    """Keep-alive connections to one host.

    Args:
        base_url: Sync's URL, without a slash at the end.
        clock: The time.
        context: The TLS context; by default the shared one.
    """

    def __init__(self, base_url: str, clock: Clock, context: ssl.SSLContext | None = None) -> None:
        self._base_url = base_url
        self._clock = clock
        self._tls = context
        # The one that was used last is popped first. Python warns of sockets that stay open.
        self._idle: list[tuple[HTTPConnection, float]] = []
        weakref.finalize(self, _close_all, self._idle)

    def send(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        path: str,
        seconds: float,
        key: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        acquire_permit: Callable[[], None] | None = None,
    ) -> Response:
        """Send one request and read its whole response.

        Args:
            method: The HTTP method.
            path: The path after the base URL.
            seconds: How long this may take; the time in `acquire_permit` is not counted.
            key: Sync's API key.
            query: Query parameters.
            body: Sent as JSON.
            acquire_permit: Called when the connection is open. If it raises, nothing is sent.

        Raises:
            UpstreamUnreachable: There is no connection, and nothing was sent.
            OutcomeUnknown: The request was sent and may have been carried out.
        """
        request = self._request(method, path, key, query, body)
        started = self._clock.monotonic()
        connection = self._connect(min(CONNECT_SECONDS, seconds))
        try:
            if acquire_permit is not None:
                connected = self._clock.monotonic()
                acquire_permit()
                started += self._clock.monotonic() - connected
            response = self._exchange(connection, request, started, seconds)
        except BaseException:
            connection.close()
            raise
        if not connection.is_closed:
            self._idle.append((connection, self._clock.monotonic()))
        # Parts of the content reach browsers and logs.
        return response._replace(content=response.content.replace(key.encode(), b"***"))

    def prepare(self, seconds: float) -> None:
        """Open a connection for the next request.

        Args:
            seconds: How long each step may take.

        Raises:
            UpstreamUnreachable: There is no connection.
        """
        self._idle.append((self._connect(seconds), self._clock.monotonic()))

    def _request(
        self, method: str, path: str, key: str, query: Mapping[str, str] | None, body: Json | None
    ) -> _Request:
        headers = {
            "x-api-key": key,
            "accept": "application/json",
            "accept-encoding": "identity",  # so that the size is bounded as it is read
            "user-agent": _USER_AGENT,
        }
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = json.dumps(body).encode()
        target = _target(self._base_url + path, tuple((query or {}).items()))
        return _Request(method, target, headers, content)

    def _connect(self, seconds: float) -> HTTPConnection:
        """Return an open connection: an idle one if there is one, or a new one.

        Raises:
            UpstreamUnreachable: The name, TCP or TLS failed.
        """
        with suppress(IndexError):  # when none is left
            while True:
                connection, used_at = self._idle.pop()
                is_fresh = self._clock.monotonic() - used_at <= IDLE_SECONDS
                if is_fresh and connection.is_connected:
                    return connection
                connection.close()
        started = self._clock.monotonic()
        connection = self._new_connection(seconds)
        try:
            connection.connect()
        except (HTTPError, OSError) as error:
            connection.close()
            log.count_upstream(self._clock.monotonic() - started)
            raise sync_errors.UpstreamUnreachable from error
        return connection

    def _new_connection(self, seconds: float) -> HTTPConnection:
        url = urlsplit(self._base_url)
        host = url.hostname or ""
        if url.scheme == "http":
            return HTTPConnection(host, url.port, timeout=seconds)
        context = self._tls or tls.context()
        return HTTPSConnection(host, url.port, timeout=seconds, ssl_context=context)

    def _exchange(
        self,
        connection: HTTPConnection,
        request: _Request,
        started: float,
        seconds: float,
    ) -> Response:
        """Send a request on an open connection and read the response."""
        try:
            connection.timeout = max(seconds - CONNECT_SECONDS, 1.0)  # for each packet
            connection.request(
                request.method,
                request.target,
                request.content,
                request.headers,
                preload_content=False,
            )
            response = connection.getresponse()
            content = self._read(response, started + seconds)
        except (TimeoutError, ReadTimeoutError) as error:
            raise sync_errors.UpstreamTimeout from error
        except (HTTPException, HTTPError, OSError) as error:
            raise sync_errors.UpstreamFault(
                "The connection to Sync broke. Try again in a moment."
            ) from error
        finally:
            log.count_upstream(self._clock.monotonic() - started)
        return Response(response.status, response.headers.get("Retry-After"), content)

    def _read(self, response: HTTPResponse, deadline: float) -> bytes:
        content = bytearray()
        # A read of a full block would wait for many packets, each within its timeout. `read1`
        # returns after one packet, so a trickle can't outlast the deadline.
        while chunk := response.read1(65536):
            content += chunk
            if len(content) > MAX_RESPONSE_BYTES:
                raise HTTPException("the response is too large")
            if self._clock.monotonic() > deadline:
                raise TimeoutError
        return bytes(content)


@lru_cache(maxsize=16)
def _target(url: str, query: tuple[tuple[str, str], ...]) -> str:
    """Return the path and the query as they are sent. Most URLs are those of earlier requests."""
    return requests.Request("GET", url, params=query).prepare().path_url


def _close_all(connections: list[tuple[HTTPConnection, float]]) -> None:
    for connection, _ in connections:
        connection.close()
