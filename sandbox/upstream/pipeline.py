"""What surrounds every call: the gate, the journal, the faults, refusals in the vendor's shape.

gate ( recorded ( faulty ( rendered ( authorized ( handler ) ) ) ) )
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
from sandbox.upstream.faults import Answer, Cut, Delay
from sandbox.upstream.problems import Problem, key_missing, key_wrong
from sandbox.upstream.s3_errors import StorageRefusal, render_refusal
from sandbox.upstream.state import ACTIONS, ENTRY, Upstream, note, upstream_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger(__name__)
_LOGGED_PATH = 100  # characters

# Looking at the journal, at a page or at a picture is not what tests count.
_UNRECORDED = ("/_sandbox/", "/assets/", "/media/", "/thumbnails/", "/outputs/")
_CONTROL = "/_sandbox/"
_S3 = ("/storage/", "/assets/")
# What was uploaded, or ordered as a fault's answer, may be a page or an SVG: it may be looked at,
# but it runs nothing and has no origin.
_PROTECTION = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self';"
        " style-src 'unsafe-inline'"
    ),
}


class Severed(Exception):  # noqa: N818 - it is no error: it was ordered
    """The connection was reset on order; there is nobody left to answer."""


def sever(request: web.Request) -> NoReturn:
    """Reset the connection, and leave the handler.

    Raises:
        Severed: Always.
    """
    transport = request.transport
    if transport is not None:
        # Lingering for zero seconds makes the kernel send a reset instead of an orderly end.
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    raise Severed


async def protected(request: web.Request, response: web.StreamResponse) -> None:
    """Take an answer's power, whatever headers were ordered for it."""
    if REFUSED not in request:  # else they are the gate's, and stricter
        response.headers.update(_PROTECTION)


@web.middleware
async def recorded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep the journal."""
    path = request.raw_path.partition("?")[0]
    if path == "/" or path.startswith(_UNRECORDED):
        return await handler(request)
    upstream = upstream_of(request)
    entry = upstream.journal.open(time=upstream.clock(), method=request.method, path=path)
    request[ENTRY] = entry
    try:
        response = await handler(request)
    except (Severed, ConnectionError):
        if entry.outcome == "in progress":
            entry.outcome = "the client went away"
        # aiohttp wants an answer all the same; it notices by itself that nobody is there.
        return web.Response()
    entry.status = response.status
    if entry.outcome == "in progress":
        entry.outcome = "answered" if response.status < 400 else f"refused: {response.status}"  # noqa: PLR2004 - the first status of an error
    return response


@web.middleware
async def faulty(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Make the trouble that was ordered for a request."""
    request[ACTIONS] = ()
    path = request.raw_path.partition("?")[0]
    if path.startswith(_CONTROL):
        return await handler(request)
    actions = upstream_of(request).faults.take(request.method, path)
    request[ACTIONS] = actions
    response: web.StreamResponse | None = None
    for action in actions:
        if isinstance(action, Delay | Answer | Cut) and action.when == "before":
            response = await _strike(request, action)
            if response is not None:
                return response
    response = await handler(request)
    for action in actions:
        if isinstance(action, Delay | Answer | Cut) and action.when == "after":
            response = await _strike(request, action) or response
    return response


async def _strike(request: web.Request, action: Delay | Answer | Cut) -> web.Response | None:
    name = f"fault: {action.kind}-{action.when}"
    done = request[ENTRY].outcome if ENTRY in request else "in progress"
    note(request, name if done == "in progress" else f"{done}; {name}")
    if isinstance(action, Delay):
        if action.when == "before" and not request.path.startswith("/storage/"):
            # Work that starts late is done though its client has gone meanwhile, as anywhere else.
            await request.read()
        await asyncio.sleep(action.seconds)
        if action.when == "before":
            note(request, "in progress")
        return None
    if isinstance(action, Cut):
        sever(request)
    headers = {"Content-Type": "application/json", **action.headers}
    if request.path.startswith("/storage/"):
        headers |= cross_origin(request)
    return web.Response(status=action.status, body=action.body, headers=headers)


@web.middleware
async def rendered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn refusals and mishaps into the vendor's error bodies."""
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
    except (Severed, ConnectionError):
        raise
    except Exception:  # noqa: BLE001 - the last resort, so that one mishap is one 500
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
async def authorized(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let nobody into the API without the key."""
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
