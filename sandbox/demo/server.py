"""The demo's routes: the page, the client that it imports, the sample files, the tokens."""

import json
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from sandbox import gate
from sandbox.aiohttp_gate import REFUSED, gate_middleware
from sandbox.demo import tokens
from sandbox.demo.settings import Settings

_HERE = Path(__file__).resolve().parent
_PAGE = _HERE / "page"
_SAMPLES = _HERE.parent / "samples"
_CLIENT = _HERE.parent.parent / "client"
_USERS = ("alice", "bob", "carol")
_SETTINGS = web.AppKey("settings", Settings)

# A proxy between two parts of the sandbox listens on another port of this machine.
_LOOPBACK = "http://127.0.0.1:* http://localhost:*"
# The page shows an asset that was added by its public URL from that URL.
_MEDIA = f"'self' https: {_LOOPBACK}"
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        f"connect-src 'self' {_LOOPBACK}",
        f"img-src {_MEDIA}",
        f"media-src {_MEDIA}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def create_app(settings: Settings) -> web.Application:
    """Build the demo's web application."""
    port_gate = gate.demo_gate(settings.demo_port, settings.origins)
    app = web.Application(middlewares=[gate_middleware(port_gate)])
    app[_SETTINGS] = settings
    app.on_response_prepare.append(_set_headers)
    app.router.add_get("/", _index)
    app.router.add_get("/token", _token)
    app.router.add_get("/config.json", _config)
    app.router.add_static("/page", _PAGE)
    app.router.add_static("/client", _CLIENT)
    app.router.add_static("/samples", _SAMPLES)
    return app


async def _set_headers(request: web.Request, response: web.StreamResponse) -> None:
    if REFUSED in request:
        return  # The gate has set stricter headers.
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    # The storage serves media only to pages whose origin it knows from `Referer`.
    response.headers["Referrer-Policy"] = "strict-origin"
    # A reload shows edited files, and an unchanged file costs only a 304.
    response.headers.setdefault("Cache-Control", "no-cache")


async def _index(_request: web.Request) -> web.FileResponse:
    return web.FileResponse(_PAGE / "index.html")


async def _token(request: web.Request) -> web.Response:
    """Return a token. The gate has refused all pages that may not have one."""
    response = _token_response(request)
    response.headers["Vary"] = "Origin"
    origin = request.headers.get("Origin")
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
    return response


def _token_response(request: web.Request) -> web.Response:
    subjects = request.query.getall("sub", [])
    try:
        token = tokens.issue(subjects[0] if len(subjects) == 1 else "", request.app[_SETTINGS])
    except tokens.SubjectError as error:
        return _problem(400, str(error))
    return _json({"token": token, "expiresIn": tokens.LIFETIME})


async def _config(request: web.Request) -> web.Response:
    settings = request.app[_SETTINGS]
    samples = f"http://127.0.0.1:{settings.demo_port}/samples"
    return _json(
        {
            "brokerUrl": f"http://127.0.0.1:{settings.broker_port}",
            "upstreamUrl": f"http://127.0.0.1:{settings.upstream_port}",
            "users": _USERS,
            "samples": [
                {"url": f"{samples}/sample.mp4", "type": "VIDEO"},
                {"url": f"{samples}/sample.wav", "type": "AUDIO"},
                {"url": f"{samples}/sample.png", "type": "IMAGE"},
            ],
        }
    )


def _problem(status: int, detail: str) -> web.Response:
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return _json(body, status=status, content_type="application/problem+json")


def _json(
    body: object, *, status: int = 200, content_type: str = "application/json"
) -> web.Response:
    return web.Response(
        text=json.dumps(body),
        status=status,
        content_type=content_type,
        headers={"Cache-Control": "no-store"},
    )
