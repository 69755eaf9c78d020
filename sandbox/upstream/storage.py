"""The storage host: takes what a presigned URL allows, and serves what has landed."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NoReturn
from urllib.parse import quote
from xml.sax.saxutils import escape

from aiohttp import ClientPayloadError, web

from sandbox.upstream.cors import cross_origin
from sandbox.upstream.faults import CutBody, Slow
from sandbox.upstream.objects import IncomingFile, Place, StoredObject
from sandbox.upstream.pipeline import sever
from sandbox.upstream.signing import SignatureMismatchError, UnsignedError, UrlExpiredError
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


class StorageRefusal(Exception):  # noqa: N818 - S3's word for it is an error code, kept in `code`
    """A refusal as S3 writes it.

    Args:
        status: HTTP status.
        code: S3's error code.
        message: S3's message.
        details: Further elements of the XML body.
    """

    def __init__(
        self, status: int, code: str, message: str, details: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        elements = {"Code": code, "Message": message, **(details or {})}
        inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in elements.items())
        self.body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'


def storage_path(place: Place) -> str:
    """Give the path of an object's presigned URL, percent-encoded."""
    return f"/storage/{place.key}/{quote(place.file_name, safe='')}"


def asset_path(place: Place) -> str:
    """Give the path by which an object is read, percent-encoded."""
    return f"/assets/{place.key}/{quote(place.file_name, safe='')}"


def _refuse(request: web.Request, refusal: StorageRefusal) -> web.Response:
    note(request, f"refused: {refusal.code}")
    response = web.Response(
        status=refusal.status,
        text=refusal.body,
        content_type="application/xml",
        headers=cross_origin(request),
    )
    # What is left of the body is not read any more, so the connection cannot be used again.
    response.force_close()
    return response


@routes.options("/storage/{tail:.*}")
@routes.options("/assets/{tail:.*}")
async def preflight(request: web.Request) -> web.Response:
    """Answer a browser's question before its PUT."""
    headers = cross_origin(request)
    if "Access-Control-Allow-Origin" not in headers:
        refusal = StorageRefusal(
            403, "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket."
        )
        return _refuse(request, refusal)
    note(request, "preflight")
    headers["Access-Control-Allow-Methods"] = "GET, HEAD, PUT"
    asked = request.headers.get("Access-Control-Request-Headers")
    if asked:
        headers["Access-Control-Allow-Headers"] = asked
    headers["Access-Control-Max-Age"] = _PREFLIGHT_AGE
    return web.Response(headers=headers)


@routes.route("*", "/storage/{key}/{name}")
async def put_object(request: web.Request) -> web.Response:
    """Take an object's bytes, if the URL and the headers are those that were signed."""
    try:
        _check(request)
        stored = await _receive(request)
    except StorageRefusal as refusal:
        await _drain(request)
        return _refuse(request, refusal)
    note(request, f"stored {stored.size} bytes")
    headers = {"ETag": f'"{stored.etag}"', **cross_origin(request)}
    return web.Response(headers=headers)


def _check(request: web.Request) -> None:
    """Check all that S3 checks before it reads the body: a slow PUT may land after the expiry."""
    upstream = upstream_of(request)
    headers = {
        name.lower(): ",".join(request.headers.getall(name)) for name in set(request.headers)
    }
    try:
        upstream.signer.verify(request.method, request.raw_path, headers, now=upstream.now())
    except UnsignedError as error:
        raise StorageRefusal(403, "AccessDenied", "Access Denied") from error
    except SignatureMismatchError as error:
        raise StorageRefusal(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.",
        ) from error
    except UrlExpiredError as error:
        details = {
            "X-Amz-Expires": str(error.expires_in),
            "Expires": f"{error.expired_at:%Y-%m-%dT%H:%M:%SZ}",
            "ServerTime": f"{datetime.fromtimestamp(upstream.now(), UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        raise StorageRefusal(403, "AccessDenied", "Request has expired", details) from error
    if request.content_length is None:
        raise StorageRefusal(
            411, "MissingContentLength", "You must provide the Content-Length HTTP header."
        )
    if request.content_length > _LARGEST_PUT:
        raise StorageRefusal(
            400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size"
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
        stored = upstream.objects.land(request.match_info["key"], incoming)
    if stored is None:
        raise StorageRefusal(404, "NoSuchKey", "The specified key does not exist.")
    return stored


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
        chunk = await request.content.read(wanted) if wanted else b""
        if chunk:
            await asyncio.to_thread(incoming.write, chunk)
        if cut is not None and incoming.size >= cut.after_bytes:
            note(request, "fault: cut-body")
            sever(request)
        if not chunk:
            return
        if slow is not None:
            await asyncio.sleep(len(chunk) / slow.bytes_per_second)


async def _drain(request: web.Request) -> None:
    """Read and forget a refused body, up to a bound."""
    left = _DRAIN_BYTES
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0 and (chunk := await request.content.read(_CHUNK)):
                left -= len(chunk)
    except (TimeoutError, ConnectionError, ClientPayloadError, web.RequestPayloadError):
        return


@routes.get("/assets/{key}/{name}")
async def get_object(request: web.Request) -> web.StreamResponse:
    """Serve an object that has landed, with ranges, as a media element asks for them."""
    stored = upstream_of(request).objects.find(request.match_info["key"])
    if not isinstance(stored, StoredObject) or stored.file_name != request.match_info["name"]:
        return _refuse(
            request, StorageRefusal(404, "NoSuchKey", "The specified key does not exist.")
        )
    return serve(request, stored)


def serve(request: web.Request, stored: StoredObject) -> web.StreamResponse:
    """Answer with an object's bytes."""
    headers = {
        "Content-Type": stored.content_type,
        **SERVED_HEADERS,
        **cross_origin(request),
    }
    return web.FileResponse(stored.path, headers=headers)
