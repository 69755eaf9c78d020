"""`/_sandbox/*`: the controls of the sandbox, which the vendor does not have."""

from aiohttp import web

from sandbox.upstream.behavior import BehaviorError
from sandbox.upstream.bodies import read_json
from sandbox.upstream.faults import FaultError
from sandbox.upstream.problems import Problem
from sandbox.upstream.state import upstream_of

routes = web.RouteTableDef()


@routes.get("/")
async def about(_request: web.Request) -> web.Response:
    """Return a description of the sandbox."""
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
    """Return the value of every behaviour."""
    return web.json_response(upstream_of(request).behavior.to_json())


@routes.patch("/_sandbox/behavior")
async def change_behavior(request: web.Request) -> web.Response:
    """Change some behaviours, and return all of them."""
    upstream = upstream_of(request)
    try:
        upstream.behavior = upstream.behavior.changed(await read_json(request))
    except BehaviorError as error:
        raise Problem(400, str(error)) from error
    return web.json_response(upstream.behavior.to_json())


@routes.delete("/_sandbox/behavior")
async def restore_behavior(request: web.Request) -> web.Response:
    """Restore the behaviours that the process started with, and return them."""
    upstream = upstream_of(request)
    upstream.behavior = upstream.settings.behavior
    return web.json_response(upstream.behavior.to_json())


@routes.get("/_sandbox/requests")
async def get_requests(request: web.Request) -> web.Response:
    """Return the journal."""
    return web.json_response(upstream_of(request).journal.to_json())


@routes.post("/_sandbox/faults")
async def add_fault(request: web.Request) -> web.Response:
    """Add a fault, and return it."""
    try:
        fault = upstream_of(request).faults.add(await read_json(request))
    except FaultError as error:
        raise Problem(400, str(error)) from error
    return web.json_response(fault.to_json(), status=201)


@routes.get("/_sandbox/faults")
async def get_faults(request: web.Request) -> web.Response:
    """Return the faults that are still due."""
    return web.json_response(upstream_of(request).faults.to_json())


@routes.delete("/_sandbox/faults")
async def delete_faults(request: web.Request) -> web.Response:
    """Delete all faults."""
    upstream_of(request).faults.clear()
    return web.Response(status=204)


@routes.post("/_sandbox/reset")
async def reset(request: web.Request) -> web.Response:
    """Delete all data, as if the data folder were new."""
    upstream_of(request).reset()
    return web.Response(status=204)
