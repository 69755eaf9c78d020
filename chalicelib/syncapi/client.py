"""Sync's asset API, and which of its calls are repeated.

A registration is sent once, because Sync accepts no idempotency key for it. It is repeated only if
the API key was refused. A presign creates nothing that lasts, a page of the list is only read, and
a deletion is idempotent. So these three are repeated once after an ambiguous outcome or if Sync
could not be reached. The read of a single asset is not. While Sync is down, nothing is sent.
`transport.py` sends, `responses.py` reads, `breaker.py` knows whether Sync is down.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeGuard
from urllib.parse import quote

from chalicelib.aws.secrets import CachedSecret
from chalicelib.core import errors, log, urls
from chalicelib.core.clock import DAY_SECONDS, Clock
from chalicelib.core.types import Json
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi import responses
from chalicelib.syncapi.breaker import CircuitBreaker
from chalicelib.syncapi.models import Asset, AssetType, Presigned
from chalicelib.syncapi.transport import Transport

MAX_PAGES = 20  # of one lookup; the next one continues at its cursor
MAX_URL_SECONDS = 7 * DAY_SECONDS  # a signature of SigV4 is valid for no longer
PREPARE_SECONDS = 1.0  # to connect before there is a request
_REQUIRED_FIELDS = ("id", "createdAt", "type")  # reconciliation can't do without them


@dataclass(frozen=True)
class Timeouts:
    """How many seconds a call may take, including its connection and its repetitions.

    API Gateway gives up after 29 s, so a registration and a lookup together must take less.
    """

    presign: float = 12.0
    register: float = 18.0
    lookup: float = 7.0
    read: float = 3.0


class SyncClient:
    """A client of Sync's asset API.

    Args:
        base_url: Sync's URL, without a slash at the end.
        api_key: Sync's API key. After a 401 it is read again; if it has changed, the request is
            repeated with the new one.
        clock: The time.
        timeouts: How long the calls may take.
    """

    def __init__(
        self,
        base_url: str,
        api_key: CachedSecret,
        clock: Clock,
        timeouts: Timeouts = Timeouts(),
    ) -> None:
        self._transport = Transport(base_url, clock)
        self._api_key = api_key
        self._timeouts = timeouts
        self._clock = clock
        self._breaker = CircuitBreaker(self._probe, clock)

    def check_available(self) -> None:
        """Refuse a request that needs Sync, before anything is done for it, while Sync is down.

        If the last requests failed, this asks Sync whether it responds.

        Raises:
            UpstreamUnavailable: Sync is down.
            SecretsUnavailable: The key, which Sync is asked with, can't be read.
            Misconfigured: The key's content is wrong.
        """
        self._breaker.probe()

    def responds(self) -> bool:
        """Whether Sync is not down, as `check_available` finds out."""
        try:
            self.check_available()
        except errors.BrokerError:
            return False
        return True

    def prepare(self) -> None:
        """Read the key and open a connection, so that the first call only has to send.

        Raises:
            SecretsUnavailable: The key can't be read.
            Misconfigured: The key's content is wrong.
            UpstreamUnreachable: There is no connection.
        """
        self._api_key.current()
        self._transport.prepare(PREPARE_SECONDS)

    def presign(
        self, file_name: str, content_type: str, size: int, acquire_permit: Callable[[], None]
    ) -> Presigned:
        """Return a URL to PUT a file to.

        Args:
            file_name: The file's name.
            content_type: Its media type.
            size: Its size in bytes.
            acquire_permit: Called before each request, once its connection is open, because Sync
                counts each of them. If it raises, nothing is sent.

        Raises:
            BrokerError: As `responses.read` maps it.
        """
        response = self._call_twice(
            "POST",
            "/v2/assets/upload",
            self._timeouts.presign,
            body={"fileName": file_name, "contentType": content_type, "size": size},
            acquire_permit=acquire_permit,
        )
        upload_url, url = response.get("uploadUrl"), response.get("url")
        expires_in = response.get("expiresIn")
        if (
            not isinstance(upload_url, str)
            or not isinstance(url, str)
            or isinstance(expires_in, bool)
            or not isinstance(expires_in, int | float)
            or not expires_in >= 1  # NaN is not >= 1 either
            or not (urls.host(upload_url) and urls.host(url))
        ):
            raise sync_errors.UpstreamFault
        return Presigned(upload_url, url, int(min(expires_in, MAX_URL_SECONDS)))

    def register(
        self, url: str, asset_type: AssetType, name: str | None, project_id: str | None
    ) -> Asset:
        """Make the file at a URL an asset. It is never sent twice.

        Raises:
            OutcomeUnknown: The request was sent and may have been carried out.
            BrokerError: The request was not carried out.
        """
        body: Json = {"url": url, "type": asset_type}
        if name is not None:
            body["name"] = name
        if project_id is not None:
            body["projectId"] = project_id
        response = self._call("POST", "/v2/assets", self._timeouts.register, body=body)
        asset = Asset.parse(response)
        if not asset.id:
            raise sync_errors.UpstreamFault
        return asset

    def read(self, asset_id: str) -> Asset:
        """Return an asset.

        Raises:
            BrokerError: As `responses.read` maps it.
        """
        path = f"/v2/assets/{quote(asset_id, safe='')}"
        return Asset.parse(self._call("GET", path, self._timeouts.read))

    def newest_assets(
        self, asset_type: AssetType, project_id: str | None, cursor: str | None
    ) -> Iterator[tuple[list[Asset], str | None]]:
        """Yield pages of the list of assets, each with the cursor of the next one.

        It ends at the last page, after `MAX_PAGES`, when the time is over, or at a page that can't
        be read.

        Raises:
            BrokerError: The first page could not be read.
        """
        query: dict[str, str] = {"sortBy": "dateDesc", "limit": "100", "types": asset_type}
        if project_id is not None:
            query["projectId"] = project_id
        deadline = self._clock.monotonic() + self._timeouts.lookup
        for number in range(MAX_PAGES):
            if cursor is not None:
                query["cursor"] = cursor
            try:
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    return
                page = self._call_twice("GET", "/v2/assets", left, query=query)
                items, cursor = page.get("items"), page.get("nextCursor") or None
                # An item that can't be read may be the very asset that is sought.
                if not _are_assets(items) or not isinstance(cursor, str | None):
                    raise sync_errors.UpstreamFault
            except errors.BrokerError:
                if number == 0:
                    raise
                return
            yield [Asset.parse(item) for item in items], cursor
            if cursor is None:
                return

    def delete(self, asset_id: str) -> None:
        """Delete an asset. An asset that does not exist counts as deleted.

        Raises:
            BrokerError: It may still exist.
        """
        path = f"/v2/assets/{quote(asset_id, safe='')}"
        try:
            self._call_twice("DELETE", path, self._timeouts.lookup)
        except sync_errors.UpstreamError as error:
            if error.upstream_status != HTTPStatus.NOT_FOUND:
                raise

    def _probe(self) -> None:
        """Ask whether Sync responds, by reading an asset that does not exist."""
        path = f"/v2/assets/{uuid.UUID(int=0)}"
        response = self._transport.send("GET", path, self._timeouts.lookup, self._api_key.current())
        responses.read(*response, self._clock.now())

    def _call_twice(self, method: str, path: str, seconds: float, **request: Any) -> Json:
        """Send an idempotent request, and once more after a failure, in one time limit for both."""
        deadline = self._clock.monotonic() + seconds
        try:
            return self._call(method, path, seconds, **request)
        except (sync_errors.OutcomeUnknown, sync_errors.UpstreamUnreachable):
            left = deadline - self._clock.monotonic()
            if left < 1:
                raise
            return self._call(method, path, left, **request)

    def _call(self, method: str, path: str, seconds: float, **request: Any) -> Json:
        """Send a request; if its key was refused and there is a new one, send it again."""
        key = self._api_key.current()
        self._breaker.check()
        try:
            try:
                return self._send(method, path, seconds, key, **request)
            except sync_errors.UpstreamUnauthorized as error:
                # Sync did not carry out a request whose key it refused, not even a registration.
                is_refused = error.upstream_status == HTTPStatus.UNAUTHORIZED
                if not is_refused or not self._api_key.refresh(key):
                    raise
                return self._send(method, path, seconds, self._api_key.current(), **request)
        except sync_errors.UpstreamError as error:
            # A final refusal is about the caller's file. It is not a failure of Sync.
            if not (isinstance(error, sync_errors.UpstreamRefused) and error.is_final):
                # Sync's message is not logged, because it may quote the caller's input.
                log.event(
                    "upstream_error",
                    code=error.code,
                    upstreamStatus=error.upstream_status,
                    upstreamCode=error.upstream_code,
                    call=f"{method} {path}",
                )
            raise

    def _send(self, method: str, path: str, seconds: float, key: str, **request: Any) -> Json:
        """Send a request once and return the JSON object of its response."""
        with self._breaker.counted():
            response = self._transport.send(method, path, seconds, key, **request)
            return responses.read(*response, self._clock.now())


def _are_assets(items: object) -> TypeGuard[list[Json]]:
    """Whether a value is a list of assets with the required fields."""
    return isinstance(items, list) and all(
        isinstance(item, dict)
        and all(isinstance(item.get(name), str) and item[name] for name in _REQUIRED_FIELDS)
        for item in items
    )
