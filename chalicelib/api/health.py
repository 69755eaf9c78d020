"""What the broker reports of itself."""

import json
from functools import cache
from pathlib import Path

from chalicelib import VERSION
from chalicelib.bootstrap import Broker
from chalicelib.core.types import Json
from chalicelib.web.messages import Request, Response
from chalicelib.web.router import Routes

routes = Routes[Broker](__name__)


@routes.operation("GET", "/", "ServiceIndex", {200: "service"}, is_public=True)
def index(request: Request, _: Broker) -> Response:
    """Read which service this is, and where it describes itself."""
    return Response(
        200,
        {
            "service": "sync-upload-broker",
            "version": VERSION,
            "openapi": f"{request.prefix}/openapi.json",
            "health": f"{request.prefix}/health",
        },
    )


@routes.operation("GET", "/health", "ServiceHealth", {200: "health"}, is_public=True)
def health(_: Request, __: Broker) -> Response:
    """Read whether the broker runs and is configured."""
    return Response(200, {"status": "ok"})


@routes.operation("GET", "/openapi.json", "ServiceDocument", {200: None}, is_public=True)
def document(request: Request, _: Broker) -> Response:
    """Read this API's description."""
    return Response(200, {**openapi(), "servers": [{"url": request.prefix or "/"}]})


@cache
def openapi() -> Json:
    """Return the OpenAPI document, which `scripts/openapi.py` writes from routes and schemas."""
    content: Json = json.loads(Path(__file__).with_name("openapi.json").read_text("utf-8"))
    return content
