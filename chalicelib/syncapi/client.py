"""What the broker asks of sync., and what is repeated. `connections.py` sends, `replies.py` reads.

A POST that registers is sent once. It is repeated only when no connection came about, because
sync. knows no idempotency key there. A presign makes nothing that lasts, and a look-up only
reads: both are repeated once after a failure that may pass.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import quote, urlsplit

from chalicelib.aws.secrets import CachedSecret
from chalicelib.core import errors, log
from chalicelib.core.clock import Clock
from chalicelib.core.types import Json
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi import responses
from chalicelib.syncapi.models import Asset, AssetType, Presigned

if TYPE_CHECKING:
    from chalicelib.syncapi.transport import Client

MAX_LOOK_PAGES = 20  # in one call; the next one goes on
_ALWAYS = ("id", "createdAt", "type")  # fields of every asset that reconciliation needs
LONGEST_SIGNED = 7 * 86_400  # seconds; SigV4 signs for no longer


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for sync., in seconds, connecting and all repetitions included.

    API Gateway gives up after 29 s: a registration, and the look-up after a lost answer, fit in.
    """

    presign: float = 12.0
    register: float = 18.0
    look: float = 7.0
    read: float = 3.0


class SyncClient:
    """sync.'s asset API.

    Args:
        base_url: Without a slash at the end.
        api_key: sync.'s key. A 401 makes it be read again, and the request be repeated with it.
        timeouts: How long to wait.
        clock: The time.
    """

    def __init__(
        self,
        base_url: str,
        api_key: CachedSecret,
        clock: Clock,
        timeouts: Timeouts = Timeouts(),
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._timeouts = timeouts
        self._clock = clock

    @cached_property
    def _client(self) -> "Client":
        # Imported here, so that a route that asks nothing of sync. starts without an HTTP client.
        from chalicelib.syncapi.transport import Client  # noqa: PLC0415 - as above

        return Client(self._clock)

    def presign(
        self, file_name: str, content_type: str, size: int, admit: Callable[[], None]
    ) -> Presigned:
        """Ask for an address to PUT a file to.

        Args:
            file_name: The file's name.
            content_type: Its media type.
            size: Its bytes.
            admit: Called before each request that is sent, once its connection is open, since each
                counts for sync.'s limit; it raises where there is no place in the line.

        Raises:
            BrokerError: By the table of this module, or by `admit`.
        """
        body = {"fileName": file_name, "contentType": content_type, "size": size}
        path, seconds = "/v2/assets/upload", self._timeouts.presign
        answer = self._twice("POST", path, seconds, body=body, admit=admit)
        upload_url, url = answer.get("uploadUrl"), answer.get("url")
        expires_in = answer.get("expiresIn")
        if (
            not isinstance(upload_url, str)
            or not isinstance(url, str)
            or isinstance(expires_in, bool)
            or not isinstance(expires_in, int | float)
            or not expires_in >= 1  # NaN is neither
            or not (_is_url(upload_url) and _is_url(url))
        ):
            raise sync_errors.UpstreamFault("Sync failed. Try again in a moment.")
        return Presigned(upload_url, url, int(min(expires_in, LONGEST_SIGNED)))

    def register(
        self, url: str, asset_type: AssetType, name: str | None, project_id: str | None
    ) -> Asset:
        """Make an asset of the bytes at a URL. The request is never repeated.

        Raises:
            OutcomeUnknown: It was sent, and it may have been carried out.
            BrokerError: It was not carried out.
        """
        body: Json = {"url": url, "type": asset_type}
        if name is not None:
            body["name"] = name
        if project_id is not None:
            body["projectId"] = project_id
        response = self._call("POST", "/v2/assets", self._timeouts.register, body=body)
        asset = Asset.parse(response)
        if not asset.id:
            raise sync_errors.UpstreamFault("Sync failed. Try again in a moment.")
        return asset

    def read(self, asset_id: str) -> Asset:
        """Return an asset.

        Raises:
            BrokerError: It can't be read.
        """
        path = f"/v2/assets/{quote(asset_id, safe='')}"
        return Asset.parse(self._call("GET", path, self._timeouts.read))

    def newest_assets(
        self, asset_type: AssetType, project_id: str | None, cursor: str | None
    ) -> Iterator[tuple[list[Asset], str | None]]:
        """Yield pages of the list of assets, each with the cursor behind it, until time is up.

        Raises:
            BrokerError: Not even the first page could be read.
        """
        query: dict[str, str] = {"sortBy": "dateDesc", "limit": "100", "types": asset_type}
        if project_id is not None:
            query["projectId"] = project_id
        deadline = self._clock.monotonic() + self._timeouts.look
        for number in range(MAX_LOOK_PAGES):
            if cursor is not None:
                query["cursor"] = cursor
            try:
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    return
                page = self._twice("GET", "/v2/assets", left, query=query)
                items, cursor = page.get("items"), page.get("nextCursor") or None
                # An item that can't be read may be the asset that is sought.
                if not _are_assets(items) or not isinstance(cursor, str | None):
                    raise sync_errors.UpstreamFault("Sync failed. Try again in a moment.")
            except errors.BrokerError:
                if number == 0:
                    raise
                return
            yield [Asset.parse(item) for item in items], cursor

    def delete(self, asset_id: str) -> None:
        """Delete an asset; one that is not there any more is as good as deleted.

        Raises:
            BrokerError: It may still be there.
        """
        try:
            self._twice("DELETE", f"/v2/assets/{quote(asset_id, safe='')}", self._timeouts.look)
        except sync_errors.UpstreamError as error:
            if error.upstream_status != HTTPStatus.NOT_FOUND:
                raise

    def _twice(self, method: str, path: str, seconds: float, **request: Any) -> Json:
        """Send what may be repeated; the time limit is for both tries together."""
        deadline = self._clock.monotonic() + seconds
        try:
            return self._call(method, path, seconds, **request)
        except (sync_errors.OutcomeUnknown, sync_errors.UpstreamUnreachable):
            left = deadline - self._clock.monotonic()
            if left < 1:
                raise
            return self._call(method, path, left, **request)

    def _call(self, method: str, path: str, seconds: float, **request: Any) -> Json:
        """Send one request; if its key was refused, and there is another one now, once more."""
        key = self._api_key.current()
        try:
            try:
                return self._send(method, path, seconds, key, **request)
            except sync_errors.UpstreamUnauthorized as error:
                # A request whose key was refused was not carried out, a registration included.
                is_refused = error.upstream_status == HTTPStatus.UNAUTHORIZED
                if not is_refused or not self._api_key.refresh(key):
                    raise
                return self._send(method, path, seconds, self._api_key.current(), **request)
        except sync_errors.UpstreamError as error:
            # A final refusal is about the caller's file, and no trouble with Sync.
            if not (isinstance(error, sync_errors.UpstreamRefused) and error.is_final):
                # Sync's message stays out of the log: it may repeat what a caller sent.
                log.event(
                    "upstream_error",
                    code=error.code,
                    upstreamStatus=error.upstream_status,
                    upstreamCode=error.upstream_code,
                    call=f"{method} {path}",
                )
            raise

    def _send(self, method: str, path: str, seconds: float, key: str, **request: Any) -> Json:
        """Send one request and read its whole answer within a number of seconds."""
        answer = self._client.send(method, self._base_url + path, seconds, key, **request)
        return responses.read(*answer, self._clock.now())


def _is_url(text: str) -> bool:
    try:
        return bool(urlsplit(text).hostname)
    except ValueError:
        return False


def _are_assets(items: object) -> TypeGuard[list[Json]]:
    """Whether a value is a list of assets, by the fields that each asset has."""
    return isinstance(items, list) and all(
        isinstance(item, dict)
        and all(isinstance(item.get(name), str) and item[name] for name in _ALWAYS)
        for item in items
    )
