"""The only HTTP of the probe: an allow-list of calls, within a number of presigns and a time.

Nothing here costs money at Sync: there is no way to name another path than those of `Call`. The key
goes to Sync's base URL alone, in the header `x-api-key`. No redirect is followed.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from chalicelib.core import urls
from chalicelib.core.clock import Clock
from chalicelib.core.types import Json
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.models import Presigned
from chalicelib.syncapi.transport import Response, Transport
from ops.checks import web
from ops.terminal import Problem

MAX_PRESIGNS = 12  # of one run, including those that are repeated after a 429
SECONDS = 20.0  # for a call; the time of a plain request is the same
DEFAULT_WAIT = 5.0  # seconds, after a 429 without `Retry-After`
_MAX_REPETITIONS = 5  # of one call after 429s
_BUSY = 429
# A path must not leave `/v2/assets/`, and `.` and `..` are segments with a meaning.
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
# Paths below `/v2/assets/` that are other calls.
_RESERVED = frozenset({"upload", "uploaded", "batch", "count"})


class Call(Enum):
    """The calls of Sync's API that the probe may make: method and path."""

    PRESIGN = ("POST", "/v2/assets/upload")
    REGISTER = ("POST", "/v2/assets")
    LIST = ("GET", "/v2/assets")
    UPLOADED = ("GET", "/v2/assets/uploaded")
    READ = ("GET", "/v2/assets/{id}")
    HEAD = ("HEAD", "/v2/assets/{id}")
    DELETE = ("DELETE", "/v2/assets/{id}")
    PROJECTS = ("GET", "/v2/projects")


class NotDone(Exception):  # noqa: N818 - the reason why there is no response
    """A call has no response.

    Args:
        reason: Why, as the end of a sentence that begins with the call.
        is_ambiguous: Whether the call may have been carried out.
    """

    def __init__(self, reason: str, *, is_ambiguous: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_ambiguous = is_ambiguous


@dataclass(frozen=True)
class Exchange:
    """A response.

    Attributes:
        status: The HTTP status.
        body: The JSON object, or None if the body is another one.
        text: The body's beginning, for the report.
    """

    status: int
    body: Json | None = None
    text: str = field(default="", repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the range of success

    @property
    def is_busy(self) -> bool:
        """Whether the rate limit is reached."""
        return self.status == _BUSY

    @property
    def code(self) -> str | None:
        """The `errorCode`, or None."""
        code = (self.body or {}).get("errorCode")
        return code if isinstance(code, str) else None

    @property
    def message(self) -> str:
        """The `message`; a list of texts becomes one text."""
        message = (self.body or {}).get("message", "")
        parts = message if isinstance(message, list) else [message]
        return "; ".join(part for part in parts if isinstance(part, str))

    @classmethod
    def read(cls, status: int, content: bytes) -> "Exchange":
        """Return the response with a body."""
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        text = content[:2000].decode(errors="replace")
        return cls(status, body if isinstance(body, dict) else None, text)


class Caller:
    """Make the allowed calls.

    Args:
        base_url: Sync's URL, without a slash at the end.
        key: The API key.
        clock: The time.
        seconds: How long the calls may take together; `extend` allows more.

    Attributes:
        presigns: How many presigns were requested.
    """

    def __init__(self, base_url: str, key: str, clock: Clock, seconds: float) -> None:
        self.base_url = base_url
        self.presigns = 0
        self._key = key
        self._clock = clock
        self._ends_at = clock.monotonic() + seconds
        self._transport = Transport(base_url, clock)

    def extend(self, seconds: float) -> None:
        """Allow further seconds, for the deletion of what was made."""
        self._ends_at += seconds

    @property
    def left(self) -> float:
        """How many seconds are left."""
        return self._ends_at - self._clock.monotonic()

    def send(  # noqa: PLR0913 - the parts of a request
        self,
        call: Call,
        asset_id: str = "",
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        seconds: float = SECONDS,
        key: str | None = None,
    ) -> Exchange:
        """Make a call, again after a 429 as long as there is time, and return its response.

        Args:
            call: The call.
            asset_id: The asset, for a call that has one in its path.
            query: Query parameters.
            body: Sent as JSON.
            seconds: How long one try may take.
            key: Another key than the real one.

        Raises:
            NotDone: There is no response.
        """
        method, path = call.value
        if "{id}" in path:
            if not is_usable(asset_id):
                raise NotDone(f"was not sent: {asset_id[:60]!r} can't be in a path")
            path = path.replace("{id}", asset_id)
        for repetition in range(_MAX_REPETITIONS):
            response = self._once(call, (method, path), query, body, seconds, key or self._key)
            exchange = Exchange.read(response.status, response.content)
            wait = _wait(response)
            if not exchange.is_busy or repetition == _MAX_REPETITIONS - 1 or wait > self.left:
                break
            self._clock.sleep(wait)
        return exchange

    def _once(  # noqa: PLR0913, PLR0917 - the parts of a request
        self,
        call: Call,
        target: tuple[str, str],
        query: Mapping[str, str] | None,
        body: Json | None,
        seconds: float,
        key: str,
    ) -> Response:
        allowed = self._time(1.0)
        if call is Call.PRESIGN:
            if self.presigns >= MAX_PRESIGNS:
                raise NotDone(f"was not sent: a run makes at most {MAX_PRESIGNS} presigns")
            self.presigns += 1
        method, path = target
        try:
            return self._transport.send(
                method, path, min(seconds, allowed), key, query=query, body=body
            )
        except sync_errors.UpstreamUnreachable:
            raise NotDone("was not sent: Sync can't be reached") from None
        except sync_errors.UpstreamTimeout:
            raise NotDone("had no response in time", is_ambiguous=True) from None
        except sync_errors.OutcomeUnknown:
            raise NotDone("had no response: the connection broke", is_ambiguous=True) from None

    def without_key(self) -> Exchange:
        """Read the list without any key."""
        self._time(SECONDS)
        return _plain("GET", f"{self.base_url}{Call.LIST.value[1]}?limit=1", {})

    def put(self, presigned: Presigned, content_type: str, content: bytes) -> Exchange:
        """PUT bytes to a presigned URL, without the key."""
        self._time(SECONDS)
        url = self._storage_url(presigned.upload_url)
        return _plain("PUT", url, {"Content-Type": content_type}, content)

    def head(self, presigned: Presigned) -> Exchange:
        """Read the headers of an object at its URL, without the key."""
        self._time(SECONDS)
        return _plain("HEAD", self._storage_url(presigned.url), {})

    def preflight(self, presigned: Presigned, origin: str) -> str:
        """Send the preflight of a page's PUT, and return why a browser would not send the PUT."""
        self._time(SECONDS)
        url = self._storage_url(presigned.upload_url)
        try:
            return web.preflight(url, origin, "PUT", "content-type")
        except Problem as problem:
            raise NotDone(f"had no response: {problem.message}") from None

    def _storage_url(self, url: str) -> str:
        """Check that a URL of a presign is https, or on this machine if Sync is, too."""
        try:
            urls.url(url)
        except ValueError:
            is_fine = False
        else:
            is_fine = url.startswith("https:") or _is_plain_http(self.base_url)
        if not is_fine:
            raise NotDone("was not sent: the URL of the presign is not https")
        return url

    def _time(self, least: float) -> float:
        """Return the seconds left, if they are enough."""
        if self.left < least:
            raise NotDone("was not sent: the time of the run is over")
        return self.left


def is_usable(asset_id: str) -> bool:
    """Whether an asset's id can be in a path."""
    return _ID.fullmatch(asset_id) is not None and asset_id not in _RESERVED


def _is_plain_http(url: str) -> bool:
    return urlsplit(url).scheme == "http"


def _plain(
    method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
) -> Exchange:
    try:
        response = web.send(method, url, headers, content)
    except Problem as problem:
        raise NotDone(f"had no response: {problem.message}", is_ambiguous=True) from None
    return Exchange.read(response.status_code, response.content)


def _wait(response: Response) -> float:
    given = response.retry_after or ""
    return float(given[:9]) if given.isascii() and given.isdigit() else DEFAULT_WAIT
