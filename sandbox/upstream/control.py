"""`/_sandbox/*`: what no real upstream has, for tests and for people."""

from aiohttp import web

from sandbox.upstream.behavior import BehaviorError
from sandbox.upstream.bodies import read_json
from sandbox.upstream.faults import FaultError
from sandbox.upstream.problems import Problem
from sandbox.upstream.state import upstream_of

routes = web.RouteTableDef()


@routes.get("/")
async def about(_request: web.Request) -> web.Response:
    """Say what this is."""
    return web.json_response(
        {
            "service": "sandbox of Sync's asset API, with its storage",
            "documentation": "docs/sandbox.md",
            "api": ["/v2/assets", "/v2/assets/upload", "/v2/generate", "/v2/voices"],
            "control": [
                "/_sandbox/behavior",
                "/_sandbox/faults",
                "/_sandbox/requests",
                "/_sandbox/reset",
            ],
        }
    )


@routes.get("/_sandbox/behavior")
async def get_behavior(request: web.Request) -> web.Response:
    """Answer every behaviour and its value."""
    return web.json_response(upstream_of(request).behavior.to_json())


@routes.patch("/_sandbox/behavior")
async def change_behavior(request: web.Request) -> web.Response:
    """Change some behaviours, and answer all."""
    upstream = upstream_of(request)
    try:
        upstream.behavior = upstream.behavior.changed(await read_json(request))
    except BehaviorError as error:
        raise Problem(400, str(error)) from error
    return web.json_response(upstream.behavior.to_json())


@routes.delete("/_sandbox/behavior")
async def restore_behavior(request: web.Request) -> web.Response:
    """Go back to the behaviours that the process was started with, and answer them."""
    upstream = upstream_of(request)
    upstream.behavior = upstream.settings.behavior
    return web.json_response(upstream.behavior.to_json())


@routes.get("/_sandbox/requests")
async def get_requests(request: web.Request) -> web.Response:
    """Answer the journal."""
    return web.json_response(upstream_of(request).journal.to_json())


@routes.post("/_sandbox/faults")
async def arm_fault(request: web.Request) -> web.Response:
    """Take an order for trouble, and answer it as it was understood."""
    try:
        fault = upstream_of(request).faults.arm(await read_json(request))
    except FaultError as error:
        raise Problem(400, str(error)) from error
    return web.json_response(fault.to_json(), status=201)


@routes.get("/_sandbox/faults")
async def get_faults(request: web.Request) -> web.Response:
    """Answer the orders that are still open."""
    return web.json_response(upstream_of(request).faults.to_json())


@routes.delete("/_sandbox/faults")
async def disarm_faults(request: web.Request) -> web.Response:
    """Disarm all."""
    upstream_of(request).faults.clear()
    return web.Response(status=204)


@routes.post("/_sandbox/reset")
async def reset(request: web.Request) -> web.Response:
    """Forget everything."""
    upstream_of(request).reset()
    return web.Response(status=204)
