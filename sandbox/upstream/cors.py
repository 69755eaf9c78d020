"""The storage's CORS headers. The vendor documents none, so they can be switched off."""

from aiohttp import web

from sandbox.upstream.state import upstream_of


def cross_origin(request: web.Request) -> dict[str, str]:
    """Return the headers that let the requesting page read a response of the storage."""
    upstream = upstream_of(request)
    if not upstream.behavior.storage_cors:
        return {}
    origin = request.headers.get("Origin", "")
    if not origin or not {origin, "*"}.intersection(upstream.settings.origins):
        return {"Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "ETag",
        "Vary": "Origin",
    }
