"""The gate before a program that aiohttp serves."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from sandbox import gate


def guarding(before: gate.Gate) -> Middleware:
    """Return a middleware that refuses what the gate refuses. It must be the first."""

    @web.middleware
    async def guarded(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        reason = before.refusal(request.method, request.raw_path, request.headers.items())
        if reason is None:
            return await handler(request)
        response = web.Response(status=gate.STATUS, text=f"{reason}\n", headers=gate.HEADERS)
        response.force_close()
        return response

    return guarded
