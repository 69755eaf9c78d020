"""The gate as a middleware of aiohttp."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox import gate

REFUSED = web.RequestKey("refused", bool)


def gate_middleware(port_gate: gate.Gate) -> Middleware:
    """Return a middleware that refuses what the gate refuses. It must be the first one.

    A refused request carries `REFUSED`, and its response has the gate's headers.
    """

    @web.middleware
    async def guarded(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        reason = port_gate.refusal(request.method, request.raw_path, request.headers.items())
        if reason is None:
            return await handler(request)
        request[REFUSED] = True
        response = web.Response(status=gate.STATUS, text=f"{reason}\n", headers=gate.HEADERS)
        response.force_close()
        return response

    return guarded
