"""The middlewares of every call: the gate, the journal, the faults, the errors, the key.

gate ( record_requests ( inject_faults ( render_errors ( require_key ( handler ) ) ) ) )
"""

import asyncio
import hmac
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import NoReturn

from aiohttp import web

from sandbox.aiohttp_gate import REFUSED
from sandbox.gate import STORAGE_PATHS
from sandbox.upstream.cors import cross_origin
from sandbox.upstream.faults import Cut, Delay, Respond
from sandbox.upstream.problems import Problem, key_missing, key_wrong
from sandbox.upstream.s3_errors import StorageRefusal, render_refusal
from sandbox.upstream.state import ACTIONS, ENTRY, Upstream, note, upstream_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)
_LOGGED_PATH = 100  # characters

# Tests count API calls and uploads, not reads of the journal or of media.
_UNRECORDED = ("/_sandbox/", "/assets/", "/media/", "/thumbnails/", "/outputs/")
_CONTROL = "/_sandbox/"
_S3 = ("/storage/", "/assets/")
# An uploaded file or the response of a fault may be a page or an SVG. A browser may show it, but
# it must not run scripts or have an origin.
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self';"
        " style-src 'unsafe-inline'"
    ),
}


class ConnectionCut(Exception):  # noqa: N818 - a fault demanded it, so it is not an error
    """A fault has reset the connection, so no response can be sent."""


def cut_connection(request: web.Request) -> NoReturn:
    """Reset the connection, and leave the handler.

    Raises:
        ConnectionCut: Always.
    """
    transport = request.transport
    if transport is not None:
        # With a linger time of zero, the kernel resets the connection instead of closing it.
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    raise ConnectionCut


async def set_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set the security headers, which replace the headers of a fault's response."""
    if REFUSED not in request:  # The gate has set stricter headers.
        response.headers.update(_SECURITY_HEADERS)


@web.middleware
async def record_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Record the request and its outcome in the journal."""
    path = request.raw_path.partition("?")[0]
    if path == "/" or path.startswith(_UNRECORDED):
        return await handler(request)
    upstream = upstream_of(request)
    entry = upstream.journal.open(time=upstream.clock(), method=request.method, path=path)
    request[ENTRY] = entry
    try:
        response = await handler(request)
    except (ConnectionCut, ConnectionError):
        if entry.outcome == "in progress":
            entry.outcome = "the client went away"
        elif entry.outcome.endswith(("delay-before", "delay-after")):
            entry.outcome += "; the client went away"
        # aiohttp requires a response, and discards it when the connection is closed.
        return web.Response()
    entry.status = response.status
    if entry.outcome == "in progress":
        entry.outcome = "answered" if response.status < 400 else f"refused: {response.status}"  # noqa: PLR2004 - the first status of an error
    return response


@web.middleware
async def inject_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Carry out the actions of the fault that matches the request."""
    request[ACTIONS] = ()
    path = request.raw_path.partition("?")[0]
    if path.startswith(_CONTROL):
        return await handler(request)
    actions = upstream_of(request).faults.take(request.method, path)
    request[ACTIONS] = actions
    response: web.StreamResponse | None = None
    for action in actions:
        if isinstance(action, Delay | Respond | Cut) and action.when == "before":
            response = await _apply(request, action)
            if response is not None:
                return response
    response = await handler(request)
    for action in actions:
        if isinstance(action, Delay | Respond | Cut) and action.when == "after":
            response = await _apply(request, action) or response
    return response


async def _apply(request: web.Request, action: Delay | Respond | Cut) -> web.Response | None:
    name = f"fault: {action.kind}-{action.when}"
    done = request[ENTRY].outcome if ENTRY in request else "in progress"
    note(request, name if done == "in progress" else f"{done}; {name}")
    if isinstance(action, Delay):
        if action.when == "before" and not request.path.startswith("/storage/"):
            # The delayed request must be handled even if the client disconnects in between.
            await request.read()
        await asyncio.sleep(action.seconds)
        if action.when == "before":
            note(request, "in progress")
        return None
    if isinstance(action, Cut):
        cut_connection(request)
    headers = {"Content-Type": "application/json", **action.headers}
    if request.path.startswith("/storage/"):
        headers |= cross_origin(request)
    return web.Response(status=action.status, body=action.body, headers=headers)


@web.middleware
async def render_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn exceptions into responses with the vendor's error bodies."""
    try:
        return await handler(request)
    except Problem as problem:
        return _render(request, problem)
    except StorageRefusal as refusal:
        return render_refusal(request, refusal)
    except web.HTTPException as error:
        message = f"Cannot {request.method} {request.path}"
        if error.status not in {404, 405}:
            message = error.reason
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _render(request, Problem(error.status, message, headers=headers))
    except (ConnectionCut, ConnectionError):
        raise
    except Exception:  # noqa: BLE001 - any other exception is a 500
        _log.exception("%s %s failed", request.method, request.path[:_LOGGED_PATH])
        if request.path.startswith(_S3):
            message = "We encountered an internal error. Please try again."
            return render_refusal(request, StorageRefusal(500, "InternalError", message))
        return _render(request, Problem(500, "Internal server error"))


def _render(request: web.Request, problem: Problem) -> web.Response:
    note(request, f"refused: {problem.code or problem.status}")
    shape = upstream_of(request).behavior.message_shape
    headers = dict(problem.headers)
    if request.path.startswith(STORAGE_PATHS):
        headers |= cross_origin(request)
    return web.json_response(problem.body(shape), status=problem.status, headers=headers)


@web.middleware
async def require_key(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse calls of the API without the key."""
    if request.path.startswith("/v2/"):
        _check_key(request, upstream_of(request))
    return await handler(request)


def _check_key(request: web.Request, upstream: Upstream) -> None:
    given = request.headers.get("x-api-key", "")
    expected = upstream.settings.api_key
    if hmac.compare_digest(
        given.encode(errors="surrogateescape"), expected.encode(errors="surrogateescape")
    ):
        return
    shape = upstream.behavior.unauthorized_shape
    if shape == "header" or (shape == "byCause" and not given):
        raise key_missing()
    raise key_wrong()
