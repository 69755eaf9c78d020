"""`/v2/voices`: it checks a voice's name and sample as documented, but clones nothing."""

from typing import Any

from aiohttp import web

from sandbox.upstream.assets import new_id
from sandbox.upstream.bodies import choice, read_body, text
from sandbox.upstream.library import find_asset
from sandbox.upstream.problems import Problem, invalid, rate_limited
from sandbox.upstream.registration import storage_path_of, stored_object
from sandbox.upstream.state import Upstream, note, upstream_of

routes = web.RouteTableDef()

_VOICES_PER_HOUR = 10  # documented
_LARGEST_VIDEO = 1_073_741_824  # bytes; documented as 1 GiB


@routes.post("/v2/voices")
async def create_voice(request: web.Request) -> web.Response:
    """Create a voice, and return it."""
    upstream = upstream_of(request)
    wait = upstream.voices.acquire(upstream.clock(), _VOICES_PER_HOUR, "sliding")
    if wait is not None:
        raise rate_limited(wait if upstream.behavior.retry_after_on429 else None)
    body = await read_body(request)
    name = text(body, "name", longest=100) or ""
    choice(body, "provider", ("elevenlabs",))
    _check_sample(upstream, body)
    if upstream.database.one("SELECT 1 FROM voices WHERE name = ?", (name,)) is not None:
        raise Problem(409, f"A voice named {name} exists", code="voice_name_conflict")
    voice_id = new_id()
    upstream.database.run("INSERT INTO voices VALUES (?, ?, ?)", (voice_id, upstream.now(), name))
    note(request, f"voice {voice_id}")
    return web.json_response(_voice_json(voice_id, name), status=201)


@routes.get("/v2/voices")
async def list_voices(request: web.Request) -> web.Response:
    """Return an array of all voices, oldest first."""
    rows = upstream_of(request).database.rows("SELECT * FROM voices ORDER BY created_at")
    return web.json_response([_voice_json(row["id"], row["name"]) for row in rows])


def _voice_json(voice_id: str, name: str) -> dict[str, str]:
    return {"id": voice_id, "voiceId": voice_id, "name": name}


def _check_sample(upstream: Upstream, body: dict[str, Any]) -> None:
    url = text(body, "url", longest=8192, required=False)
    asset_id = text(body, "assetId", longest=255, required=False)
    if (url is None) == (asset_id is None):
        raise invalid("url", "or assetId must be given, but not both")
    if asset_id is not None:
        row = find_asset(upstream, asset_id)
        is_video, size = row["type"] == "VIDEO", row["size"]
    else:
        path = storage_path_of(upstream, url or "")
        if path is None:
            raise Problem(
                422, "The sample must be uploaded first", code="voice_sample_upload_required"
            )
        stored = stored_object(upstream, path)
        is_video, size = stored.content_type.startswith("video/"), stored.size
    if is_video and size > _LARGEST_VIDEO:
        raise Problem(413, "The sample's video is over 1 GiB", code="voice_sample_source_too_large")
