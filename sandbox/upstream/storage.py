"""The storage host: takes what a presigned URL allows, and serves what has landed."""

import asyncio
from typing import NoReturn
from urllib.parse import quote, unquote

from aiohttp import ClientPayloadError, hdrs, web

from sandbox.upstream.cors import cross_origin
from sandbox.upstream.faults import CutBody, Slow
from sandbox.upstream.objects import IncomingFile, Place, StoredObject
from sandbox.upstream.pipeline import sever
from sandbox.upstream.presigned import Received, check
from sandbox.upstream.s3_errors import StorageRefusal, render_refusal, request_ids
from sandbox.upstream.state import ACTIONS, note, upstream_of

routes = web.RouteTableDef()

_CHUNK = 1_048_576  # bytes handed to the disk at once
_LARGEST_PUT = 5_368_709_120  # S3's limit for one PUT, in bytes
# A refused body is read so far, so that a browser, which sends all before it reads, sees why.
_DRAIN_BYTES = 268_435_456
_DRAIN_SECONDS = 10.0
_PREFLIGHT_AGE = "3000"  # seconds
# Pages on other ports of this machine show what was uploaded; the gate keeps out all others.
SERVED_HEADERS = {"Cross-Origin-Resource-Policy": "cross-origin"}


def storage_path(place: Place) -> str:
    """Give the path of an object's presigned URL, percent-encoded."""
    return f"/storage/{place.key}/{quote(place.file_name, safe='')}"


def asset_path(place: Place) -> str:
    """Give the path by which an object is read, percent-encoded."""
    return f"/assets/{place.key}/{quote(place.file_name, safe='')}"


@routes.options("/storage/{place:(?s:.*)}")
@routes.options("/assets/{place:(?s:.*)}")
async def preflight(request: web.Request) -> web.Response:
    """Answer a browser's question before its PUT."""
    headers = cross_origin(request)
    if "Access-Control-Allow-Origin" not in headers:
        raise StorageRefusal(
            403, "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket."
        )
    note(request, "preflight")
    headers["Access-Control-Allow-Methods"] = "GET, HEAD, PUT"
    asked = request.headers.get("Access-Control-Request-Headers")
    if asked:
        headers["Access-Control-Allow-Headers"] = asked
    headers["Access-Control-Max-Age"] = _PREFLIGHT_AGE
    return web.Response(headers=headers)


async def _expect(_request: web.Request) -> None:
    """Leave a client that waits for "100 Continue" waiting, until its URL has been checked."""


@routes.route("*", "/storage/{place:(?s:.*)}", expect_handler=_expect)
async def put_object(request: web.Request) -> web.Response:
    """Take an object's bytes, if the URL and the headers are those that were signed."""
    is_waiting = request.headers.get("Expect", "").lower() == "100-continue"
    try:
        check_presigned(request, request.method)
        _check_length(request)
        if is_waiting:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # else aiohttp takes it for the response
            is_waiting = False
        stored = await _receive(request)
    except StorageRefusal as refusal:
        # A client that waits for "100 Continue", or stopped sending, sends nothing to be read.
        if not is_waiting and refusal.code != "RequestTimeout":
            await _drain(request)
        return render_refusal(request, refusal)
    note(request, f"stored {stored.size} bytes")
    headers = {"ETag": f'"{stored.etag}"', **request_ids(), **cross_origin(request)}
    return web.Response(headers=headers)


def check_presigned(request: web.Request, method: str) -> None:
    """Check a presigned URL for a method as S3 does: all of it before the body is read.

    Raises:
        StorageRefusal: S3 would refuse it.
    """
    upstream = upstream_of(request)
    headers = {
        name.lower(): ",".join(request.headers.getall(name)) for name in set(request.headers)
    }
    check(upstream.signer, Received(method, request.raw_path, headers), now=upstream.now())


def _check_length(request: web.Request) -> None:
    if hdrs.TRANSFER_ENCODING in request.headers:
        raise StorageRefusal(
            501,
            "NotImplemented",
            "A header you provided implies functionality that is not implemented",
            Header=hdrs.TRANSFER_ENCODING,
        )
    if request.content_length is None:
        raise StorageRefusal(
            411, "MissingContentLength", "You must provide the Content-Length HTTP header."
        )
    if request.content_length > _LARGEST_PUT:
        raise StorageRefusal(
            400,
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
            ProposedSize=str(request.content_length),
            MaxSizeAllowed=str(_LARGEST_PUT),
        )


async def _receive(request: web.Request) -> StoredObject:
    upstream = upstream_of(request)
    with upstream.objects.incoming() as incoming:
        try:
            await _copy(request, incoming)
        except (ConnectionError, ClientPayloadError, web.RequestPayloadError) as error:
            _lost(request, incoming, error)
        if incoming.size != request.content_length:
            _lost(request, incoming, None)
        key, _ = _place(request)
        stored = upstream.objects.land(key, incoming)
    if stored is None:
        raise _no_such_key(key)
    return stored


def _place(request: web.Request) -> tuple[str, str]:
    """Return an object's key and file name from the path, which no route's pattern has touched."""
    path = request.raw_path.partition("?")[0]
    key, _, name = path.removeprefix("/").partition("/")[2].partition("/")
    return key, unquote(name)


def _no_such_key(key: str) -> StorageRefusal:
    return StorageRefusal(404, "NoSuchKey", "The specified key does not exist.", Key=key)


def _lost(request: web.Request, incoming: IncomingFile, error: Exception | None) -> NoReturn:
    note(request, f"the client went away after {incoming.size} bytes")
    raise ConnectionResetError("the body ended early") from error


async def _copy(request: web.Request, incoming: IncomingFile) -> None:
    """Write the body to disk as it comes, with the trouble that was ordered for it."""
    slow = next((action for action in request[ACTIONS] if isinstance(action, Slow)), None)
    cut = next((action for action in request[ACTIONS] if isinstance(action, CutBody)), None)
    step = _CHUNK if slow is None else max(1, min(_CHUNK, slow.bytes_per_second // 10))
    while True:
        wanted = step if cut is None else min(step, cut.after_bytes - incoming.size)
        chunk = await _read(request, wanted) if wanted else b""
        if chunk:
            await asyncio.to_thread(incoming.write, chunk)
        if cut is not None and incoming.size >= cut.after_bytes:
            note(request, "fault: cut-body")
            sever(request)
        if not chunk:
            return
        if slow is not None:
            await asyncio.sleep(len(chunk) / slow.bytes_per_second)


async def _read(request: web.Request, wanted: int) -> bytes:
    idle = upstream_of(request).behavior.storage_idle_seconds
    try:
        async with asyncio.timeout(idle):
            return await request.content.read(wanted)
    except TimeoutError as error:
        raise StorageRefusal(
            400,
            "RequestTimeout",
            "Your socket connection to the server was not read from or written to within the"
            " timeout period. Idle connections will be closed.",
        ) from error


async def _drain(request: web.Request) -> None:
    """Read and forget a refused body, up to a bound."""
    left = _DRAIN_BYTES
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0 and (chunk := await request.content.read(_CHUNK)):
                left -= len(chunk)
    except (TimeoutError, ConnectionError, ClientPayloadError, web.RequestPayloadError):
        return


@routes.route("*", "/assets/{place:(?s:.*)}")
async def get_object(request: web.Request) -> web.StreamResponse:
    """Serve an object that has landed, with ranges, as a media element asks for them."""
    if request.method not in {"GET", "HEAD"}:
        raise StorageRefusal(
            405,
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
            Method=request.method,
        )
    key, name = _place(request)
    stored = upstream_of(request).objects.find(key)
    if not isinstance(stored, StoredObject) or stored.file_name != name:
        raise _no_such_key(key)
    return serve(request, stored)


def serve(request: web.Request, stored: StoredObject) -> web.StreamResponse:
    """Answer with an object's bytes."""
    headers = {
        "Content-Type": stored.content_type,
        **SERVED_HEADERS,
        **cross_origin(request),
    }
    return web.FileResponse(stored.path, headers=headers)
