"""The storage: it accepts uploads by presigned URL, and serves the stored objects."""

import asyncio
from typing import NoReturn
from urllib.parse import quote, unquote

from aiohttp import ClientPayloadError, hdrs, web

from sandbox.upstream.cors import cross_origin
from sandbox.upstream.faults import CutBody, Slow
from sandbox.upstream.objects import IncomingFile, ReservedObject, StoredObject
from sandbox.upstream.pipeline import cut_connection
from sandbox.upstream.presigned import ReceivedRequest, check
from sandbox.upstream.s3_errors import StorageRefusal, render_refusal, request_ids
from sandbox.upstream.state import ACTIONS, note, upstream_of

routes = web.RouteTableDef()

_CHUNK = 1_048_576  # bytes of one write
_LARGEST_PUT = 5_368_709_120  # S3's limit for one PUT, in bytes
# A browser sends the whole body before it reads the response, so a refused body is read up to here.
_DRAIN_BYTES = 268_435_456
_DRAIN_SECONDS = 10.0
_PREFLIGHT_AGE = "3000"  # seconds
# Pages on other ports of this machine show uploaded files; the gate refuses all other pages.
SERVED_HEADERS = {"Cross-Origin-Resource-Policy": "cross-origin"}


def storage_path(target: ReservedObject) -> str:
    """Return the path of an object's presigned URL, percent-encoded."""
    return f"/storage/{target.key}/{quote(target.file_name, safe='')}"


def asset_path(target: ReservedObject) -> str:
    """Return the path of an object's public URL, percent-encoded."""
    return f"/assets/{target.key}/{quote(target.file_name, safe='')}"


@routes.options("/storage/{path:(?s:.*)}")
@routes.options("/assets/{path:(?s:.*)}")
async def preflight(request: web.Request) -> web.Response:
    """Return the response to the CORS preflight of a PUT."""
    headers = cross_origin(request)
    if "Access-Control-Allow-Origin" not in headers:
        raise StorageRefusal(
            403, "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket."
        )
    note(request, "preflight")
    headers["Access-Control-Allow-Methods"] = "GET, HEAD, PUT"
    requested = request.headers.get("Access-Control-Request-Headers")
    if requested:
        headers["Access-Control-Allow-Headers"] = requested
    headers["Access-Control-Max-Age"] = _PREFLIGHT_AGE
    return web.Response(headers=headers)


async def _expect(_request: web.Request) -> None:
    """Send no "100 Continue" yet: the handler checks the URL first."""


@routes.route("*", "/storage/{path:(?s:.*)}", expect_handler=_expect)
async def put_object(request: web.Request) -> web.Response:
    """Store an object's bytes, if the URL and the headers have a valid signature."""
    is_waiting = request.headers.get("Expect", "").lower() == "100-continue"
    try:
        check_presigned(request, request.method)
        _check_length(request)
        if is_waiting:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # aiohttp must not count it as the response
            is_waiting = False
        stored = await _receive(request)
    except StorageRefusal as refusal:
        # A client that waits for "100 Continue" or has stopped sending has nothing to read.
        if not is_waiting and refusal.code != "RequestTimeout":
            await _drain(request)
        return render_refusal(request, refusal)
    note(request, f"stored {stored.size} bytes")
    headers = {"ETag": f'"{stored.etag}"', **request_ids(), **cross_origin(request)}
    return web.Response(headers=headers)


def check_presigned(request: web.Request, method: str) -> None:
    """Check a presigned URL for a method as S3 does, before the body is read.

    Raises:
        StorageRefusal: S3 would refuse the request.
    """
    upstream = upstream_of(request)
    headers = {
        name.lower(): ",".join(request.headers.getall(name)) for name in set(request.headers)
    }
    check(upstream.signer, ReceivedRequest(method, request.raw_path, headers), now=upstream.now())


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
            _abort(request, incoming, error)
        if incoming.size != request.content_length:
            _abort(request, incoming, None)
        key, _ = _key_and_name(request)
        stored = upstream.objects.store(key, incoming)
    if stored is None:
        raise _no_such_key(key)
    return stored


def _key_and_name(request: web.Request) -> tuple[str, str]:
    """Return an object's key and file name from the raw path, since routes decode it."""
    path = request.raw_path.partition("?")[0]
    key, _, name = path.removeprefix("/").partition("/")[2].partition("/")
    return key, unquote(name)


def _no_such_key(key: str) -> StorageRefusal:
    return StorageRefusal(404, "NoSuchKey", "The specified key does not exist.", Key=key)


def _abort(request: web.Request, incoming: IncomingFile, error: Exception | None) -> NoReturn:
    note(request, f"the client went away after {incoming.size} bytes")
    raise ConnectionResetError("the body ended early") from error


async def _copy(request: web.Request, incoming: IncomingFile) -> None:
    """Write the body to disk while it arrives, and carry out the request's faults."""
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
            cut_connection(request)
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
    """Read and discard a refused body, up to a limit."""
    left = _DRAIN_BYTES
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0 and (chunk := await request.content.read(_CHUNK)):
                left -= len(chunk)
    except (TimeoutError, ConnectionError, ClientPayloadError, web.RequestPayloadError):
        return


@routes.route("*", "/assets/{path:(?s:.*)}")
async def get_object(request: web.Request) -> web.StreamResponse:
    """Return a stored object, or the ranges of it that a media element requests."""
    if request.method not in {"GET", "HEAD"}:
        raise StorageRefusal(
            405,
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
            Method=request.method,
        )
    key, name = _key_and_name(request)
    stored = upstream_of(request).objects.find(key)
    if not isinstance(stored, StoredObject) or stored.file_name != name:
        raise _no_such_key(key)
    return serve(request, stored)


def serve(request: web.Request, stored: StoredObject) -> web.StreamResponse:
    """Return a response with an object's bytes."""
    headers = {
        "Content-Type": stored.content_type,
        **SERVED_HEADERS,
        **cross_origin(request),
    }
    return web.FileResponse(stored.path, headers=headers)
