"""The only HTTP to sync.: time-outs and retries. `replies.py` reads what comes.

A POST that registers is sent once. It is repeated only when no connection came about, because
sync. knows no idempotency key there. A presign makes nothing that lasts, and a look-up only
reads: both are repeated once after a failure that may pass.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from chalicelib import errors, observability, replies
from chalicelib.attempts import Candidates
from chalicelib.connections import Admission, AdmittingAdapter
from chalicelib.keys import Secret
from chalicelib.uploads import AssetType, Json, Presigned, Upload, are_assets, asset_of, made_at

CONNECT_SECONDS = 3.05  # a little over one TCP retransmission, as requests' manual advises
MAX_ANSWER_BYTES = 4 * 1024 * 1024  # a page of 100 assets is about 60 kB
MAX_LOOK_PAGES = 20  # in one call; the next one goes on
LONGEST_SIGNED = 7 * 86_400  # seconds; SigV4 signs for no longer
MOST_WITNESSES = 100  # recorded assets among so many show whether sync. keeps addresses
# A connection that rested longer may have been cut without a word, while the container was frozen.
# A POST on it would end with its outcome unknown, so a new one is opened instead.
IDLE_SECONDS = 20.0


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for sync., in seconds, connecting and all repetitions included.

    API Gateway gives up after 29 s: a registration, and the look-up after a lost answer, fit in.
    """

    presign: float = 12.0
    register: float = 18.0
    look: float = 7.0
    read: float = 3.0


class Upstream:
    """sync.'s asset API.

    Args:
        base_url: Without a slash at the end.
        api_key: sync.'s key. A 401 makes it be read again, and the request be repeated with it.
        timeouts: How long to wait.
        monotonic: Seconds of a clock that never jumps.
    """

    def __init__(
        self,
        base_url: str,
        api_key: Secret,
        timeouts: Timeouts = Timeouts(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._timeouts = timeouts
        self._monotonic = monotonic
        self._last_used = monotonic()
        self._session = requests.Session()
        # Neither proxies nor .netrc of the machine may see or replace the key.
        self._session.trust_env = False
        adapter = AdmittingAdapter(pool_connections=2, pool_maxsize=32, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

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
            raise errors.UpstreamFault("sync. answered the presign with something else.")
        return Presigned(upload_url, url, int(min(expires_in, LONGEST_SIGNED)))

    def register(
        self, url: str, asset_type: AssetType, name: str | None, project: str | None
    ) -> Json:
        """Make an asset of what lies at an address. Never sent twice.

        Returns:
            sync.'s asset, with an `id` for certain.

        Raises:
            OutcomeUnknown: It was sent, and it may have been carried out.
            BrokerError: It was not carried out; by the table of this module.
        """
        body: Json = {"url": url, "type": asset_type}
        if name is not None:
            body["name"] = name
        if project is not None:
            body["projectId"] = project
        asset = self._call("POST", "/v2/assets", self._timeouts.register, body=body)
        if not isinstance(asset.get("id"), str) or not asset["id"]:
            raise errors.UpstreamFault("sync. answered the registration without an id.")
        return asset_of(asset)

    def read(self, asset_id: str) -> Json:
        """Read an asset.

        Raises:
            BrokerError: By the table of this module.
        """
        path = f"/v2/assets/{quote(asset_id, safe='')}"
        return asset_of(self._call("GET", path, self._timeouts.read))

    def look(self, upload: Upload, since: int, cursor: str | None) -> Candidates:
        """Look for the asset of a registration whose answer was lost, as far as time allows.

        Args:
            upload: The upload, any of whose addresses may have been in the lost registration.
            since: Milliseconds since 1970; older assets can't be it.
            cursor: Where an earlier look stopped; None to begin with the newest asset.

        Raises:
            BrokerError: Nothing of the list could be read, so nothing more is known.
        """
        found: dict[str, list[Json]] = {"matching": [], "undecided": [], "elsewhere": []}
        witnesses: dict[str, Json] = {}
        for page, next_cursor in self._newest_first(upload, cursor):
            cursor = next_cursor
            for asset in map(asset_of, page):
                created = made_at(asset)
                is_over = created is not None and created < since
                if is_over:
                    cursor = None
                    break
                # The list may move on between two pages, and show one asset on both.
                if asset["type"] == upload.type and asset["id"] not in witnesses:
                    witnesses[asset["id"]] = asset
                    if kind := _kind(upload, asset):
                        found[kind].append(asset)
            # A file's address is its own, so there is nothing else to be found.
            if cursor is None or (upload.is_file and found["matching"]):
                cursor = None
                break
        return Candidates(
            tuple(reversed(found["matching"])),
            tuple(found["undecided"]),
            tuple(found["elsewhere"]),
            tuple(witnesses.values())[:MOST_WITNESSES],
            cursor,
        )

    def delete(self, asset_id: str) -> None:
        """Delete an asset; one that is not there any more is as good as deleted.

        Raises:
            BrokerError: It may still be there.
        """
        try:
            self._twice("DELETE", f"/v2/assets/{quote(asset_id, safe='')}", self._timeouts.look)
        except errors.UpstreamError as error:
            if error.upstream_status != HTTPStatus.NOT_FOUND:
                raise

    def _newest_first(
        self, upload: Upload, cursor: str | None
    ) -> Iterator[tuple[list[Json], str | None]]:
        """Give pages of the list, each with where it goes on, until the time is over."""
        query: dict[str, str] = {"sortBy": "dateDesc", "limit": "100", "types": upload.type}
        if upload.project_id is not None:
            query["projectId"] = upload.project_id
        deadline = self._monotonic() + self._timeouts.look
        for number in range(MAX_LOOK_PAGES):
            if cursor is not None:
                query["cursor"] = cursor
            try:
                left = deadline - self._monotonic()
                if left <= 0:
                    return
                page = self._twice("GET", "/v2/assets", left, query=query)
                items, cursor = page.get("items"), page.get("nextCursor") or None
                # What can't be read may be the very asset that is sought.
                if not are_assets(items) or not isinstance(cursor, str | None):
                    raise errors.UpstreamFault("sync. answered the list with something else.")
            except errors.BrokerError:
                if number == 0:
                    raise
                return
            yield items, cursor

    def _twice(self, method: str, path: str, seconds: float, **request: Any) -> Json:
        """Send what may be repeated; the time limit is for both tries together."""
        deadline = self._monotonic() + seconds
        try:
            return self._call(method, path, seconds, **request)
        except (errors.OutcomeUnknown, errors.UpstreamUnreachable):
            left = deadline - self._monotonic()
            if left < 1:
                raise
            return self._call(method, path, left, **request)

    def _call(self, method: str, path: str, seconds: float, **request: Any) -> Json:
        """Send one request; if its key was refused, and there is another one now, once more."""
        key = self._api_key.current()
        try:
            try:
                return self._send(method, path, seconds, key, **request)
            except errors.UpstreamUnauthorized as error:
                # A request whose key was refused was not carried out, a registration included.
                is_refused = error.upstream_status == HTTPStatus.UNAUTHORIZED
                if not is_refused or not self._api_key.refresh(key):
                    raise
                return self._send(method, path, seconds, self._api_key.current(), **request)
        except errors.UpstreamError as error:
            # What sync. says for people stays out of it: it may say back what a caller sent.
            observability.event(
                "upstream_error",
                code=error.code,
                upstreamStatus=error.upstream_status,
                upstreamCode=error.upstream_code,
                call=f"{method} {path}",
            )
            raise

    def _send(self, method: str, path: str, seconds: float, key: str, **request: Any) -> Json:
        """Send one request and read its whole answer within a number of seconds."""
        admission = Admission(request.get("admit"), self._monotonic)
        started = self._monotonic()
        if started - self._last_used > IDLE_SECONDS:
            self._session.close()
        try:
            with (
                admission.for_this_thread(),
                self._session.request(
                    method,
                    self._base_url + path,
                    params=request.get("query"),
                    json=request.get("body"),
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
                ) as response,
            ):
                # What is said back of the key goes no further: it could reach a browser or a log.
                deadline = started + admission.seconds + seconds
                content = self._read(response, deadline).replace(key.encode(), b"***")
        except requests.RequestException as error:
            raise _failure(error) from error
        except ReadTimeoutError as error:
            raise errors.UpstreamTimeout("sync. did not answer in time.") from error
        except HTTPError as error:
            raise errors.UpstreamFault("The connection to sync. broke off.") from error
        finally:
            self._last_used = self._monotonic()
            if not admission.is_refused:
                observability.count_upstream(self._last_used - started - admission.seconds)
        return replies.read(response.status_code, response.headers.get("Retry-After"), content)

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        content = bytearray()
        # The time-out is for each packet, and a read that waited for a full block would wait for
        # many of them: so a trickle is measured packet by packet.
        while chunk := response.raw.read1(65536, decode_content=True):
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                raise errors.UpstreamFault("sync.'s answer has no end.")
            if self._monotonic() > deadline:
                raise errors.UpstreamTimeout("sync. did not answer in time.")
        return bytes(content)


def _is_url(text: str) -> bool:
    try:
        return bool(urlsplit(text).hostname)
    except ValueError:
        return False


def _kind(upload: Upload, asset: Json) -> str | None:
    """Say what an asset of the upload's type may be to it, by the names of `Candidates`."""
    is_same = (asset["name"], asset["projectId"]) == (upload.name, upload.project_id)
    # Nobody documents that sync. tells names and projects always, keeps them as they were sent, and
    # adds none of its own.
    may_be = _may_be(asset["name"], upload.name) and _may_be(asset["projectId"], upload.project_id)
    is_here = upload.is_at(asset["url"])
    if is_here and is_same:
        return "matching"
    if is_here or (not asset["url"] and may_be):
        return "undecided"
    return "elsewhere" if may_be else None


def _may_be(told: Any, sent: str | None) -> bool:
    """Say whether sync. may tell this of what was sent; spaces and case may have changed."""
    if told is None or sent is None:
        return True
    return str(told).casefold().split() == sent.casefold().split()


def _failure(error: requests.RequestException) -> errors.UpstreamError:
    """Map an exception of requests: was anything sent?"""
    if isinstance(error, requests.ConnectTimeout):
        return errors.UpstreamUnreachable("No connection to sync.")
    if isinstance(error, requests.Timeout):
        return errors.UpstreamTimeout("sync. did not answer in time.")
    if isinstance(error, requests.ConnectionError) and _never_connected(error):
        return errors.UpstreamUnreachable("No connection to sync.")
    return errors.UpstreamFault("The connection to sync. broke off.")


def _never_connected(error: requests.ConnectionError) -> bool:
    """Tell a refused connection from one that broke off: urllib3 names the cause."""
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return type(reason).__name__ in {"NewConnectionError", "NameResolutionError"}
