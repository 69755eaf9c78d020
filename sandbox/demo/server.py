"""The demo's routes: the page, the client that it imports, the sample files, the tokens."""

import json
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from sandbox import gate
from sandbox.aiohttp_gate import REFUSED, guarding
from sandbox.demo import tokens
from sandbox.demo.settings import Settings

_HERE = Path(__file__).resolve().parent
_PAGE = _HERE / "page"
_SAMPLES = _HERE.parent / "samples"
_CLIENT = _HERE.parent.parent / "client"
_USERS = ("alice", "bob", "carol")
_SETTINGS = web.AppKey("settings", Settings)

# Whatever is put between the parts of the sandbox listens on this machine too, on its own port.
_LOOPBACK = "http://127.0.0.1:* http://localhost:*"
# An asset that was registered by its public URL is shown from there.
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
    before = gate.before_demo(settings.demo_port, settings.origins)
    app = web.Application(middlewares=[guarding(before)])
    app[_SETTINGS] = settings
    app.on_response_prepare.append(_protect)
    app.router.add_get("/", _index)
    app.router.add_get("/token", _token)
    app.router.add_get("/config.json", _config)
    app.router.add_static("/page", _PAGE)
    app.router.add_static("/client", _CLIENT)
    app.router.add_static("/samples", _SAMPLES)
    return app


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    if REFUSED in request:
        return  # Its headers are the gate's, and stricter.
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    # Storage tells the pictures on this page from those on other sites' pages by its origin.
    response.headers["Referrer-Policy"] = "strict-origin"
    # An edited file shows at the next reload: unchanged ones still cost no more than a 304.
    response.headers.setdefault("Cache-Control", "no-cache")


async def _index(_request: web.Request) -> web.FileResponse:
    return web.FileResponse(_PAGE / "index.html")


async def _token(request: web.Request) -> web.Response:
    """Give a token to a page that may use the sandbox; the gate has kept out every other."""
    answer = _token_for(request)
    answer.headers["Vary"] = "Origin"
    origin = request.headers.get("Origin")
    if origin is not None:
        answer.headers["Access-Control-Allow-Origin"] = origin
    return answer


def _token_for(request: web.Request) -> web.Response:
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
