"""What the broker says of itself."""

from chalicelib import wiring
from chalicelib.api import openapi, render
from chalicelib.responses import Answer, Request, Routes

routes = Routes(__name__, wiring.broker, wiring.allowed_origins)


@routes.operation("GET", "/", {200: "service"}, is_public=True)
def index(request: Request) -> Answer:
    """Read which service this is, and where it describes itself."""
    return Answer(
        200,
        {
            "service": "sync-upload-broker",
            "version": openapi.VERSION,
            "openapi": f"{request.prefix}/openapi.json",
            "health": f"{request.prefix}/health",
        },
    )


@routes.operation("GET", "/limits", {200: "limits"})
def limits(request: Request) -> Answer:
    """Read what you may upload, to refuse early in the browser."""
    allowed = request.caller.limits
    lifecycle = wiring.broker().lifecycle
    used, line = lifecycle.used(request.caller), lifecycle.line_standing(request.caller)
    return Answer(
        200,
        {
            "maxUploadBytes": allowed.max_upload_bytes,
            "contentTypes": list(allowed.content_types),
            **render.quota(used, allowed),
            "line": render.line(line),
        },
        render.rate_limit(used, allowed, line),
    )


@routes.operation("GET", "/health", {200: "health"}, is_public=True)
def health(_: Request) -> Answer:
    """Say whether the broker runs and is configured."""
    return Answer(200, {"status": "ok"})


@routes.operation("GET", "/openapi.json", {200: None}, is_public=True)
def document(request: Request) -> Answer:
    """Read this API's description."""
    # Imported late: it lists the operations of the modules that import this one.
    from chalicelib import api  # noqa: PLC0415 - as above

    operations = [operation for routes in api.ALL for operation in routes.operations]
    return Answer(200, openapi.document(operations, request.prefix))
