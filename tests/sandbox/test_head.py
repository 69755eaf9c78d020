"""`HEAD` requests, which monitors and media players send."""

import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from aiohttp import web

from sandbox.demo import server as demo
from sandbox.demo.settings import Settings as DemoSettings
from sandbox.upstream.server import build_app
from sandbox.upstream.settings import read_settings
from sandbox.upstream.state import open_upstream
from tests.support.upstream_process import KEY, ROOT, RunningUpstream


def apps(folder: Path) -> list[web.Application]:
    """Return the servers' applications without serving them."""
    environment = {"SANDBOX_DIR": str(folder), "SYNC_API_KEY": KEY, "JWT_SECRET": "x" * 32}
    upstream = open_upstream(read_settings(environment), time.time)
    upstream.database.close()
    return [build_app(upstream), demo.create_app(DemoSettings.read(environment))]


def test_every_get_route_has_head(tmp_path: Path) -> None:
    """Each route of the upstream and the demo that accepts GET accepts HEAD."""
    for app in apps(tmp_path):
        methods: dict[str, set[str]] = {}
        for resource in app.router.resources():
            methods.setdefault(resource.canonical, set()).update(route.method for route in resource)
        assert len(methods) >= 5
        for path, known in methods.items():
            assert "GET" not in known or known & {"HEAD", "*"}, path


@pytest.fixture
def paths(upstream: RunningUpstream) -> list[str]:
    """One path of each kind that GET can request, some of them refused."""
    upstream.behave(generationSeconds=0)
    asset = upstream.asset((ROOT / "sandbox" / "samples" / "sample.mp4").read_bytes())
    body = {
        "model": "lipsync-2",
        "input": [
            {"type": "video", "url": asset["url"]},
            {"type": "audio", "url": asset["url"]},
        ],
    }
    generation = upstream.call("POST", "/v2/generate", json=body).json()
    done = upstream.call("GET", f"/v2/generate/{generation['id']}").json()
    output = urlsplit(done["outputUrl"])
    return [
        "/",
        "/_sandbox/behavior",
        "/_sandbox/faults",
        "/v2/assets",
        f"/v2/assets/{asset['id']}",
        f"/v2/assets/uploaded?type=VIDEO&contentSha256={'0' * 64}",
        f"/v2/generate/{generation['id']}",
        "/v2/generations",
        "/v2/voices",
        urlsplit(asset["url"]).path,
        f"/media/{asset['id']}",
        f"/thumbnails/{asset['id']}.jpg",
        f"{output.path}?{output.query}",
        "/v2/assets/unknown",
        "/assets/unknown/name",
        "/storage/unknown/name",
        "/nowhere",
    ]


def test_head_matches_get(upstream: RunningUpstream, paths: list[str]) -> None:
    """HEAD has the status and the type of GET, and no body."""
    for path in paths:
        got, head = (upstream.call(method, path) for method in ("GET", "HEAD"))
        assert head.status_code == got.status_code, path
        assert head.headers["Content-Type"] == got.headers["Content-Type"], path
        assert head.content == b""
        assert "Content-Length" in head.headers, path


def test_head_needs_key(upstream: RunningUpstream) -> None:
    """HEAD is refused without the key, as GET is."""
    assert requests.head(f"{upstream.url}/v2/assets", timeout=5).status_code == 401
