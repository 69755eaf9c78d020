"""`POST /v2/assets`: register an uploaded object or a public URL as an asset."""

from typing import Any
from urllib.parse import unquote, urlsplit

from aiohttp import web

from sandbox.upstream.assets import TYPES, VISIBILITIES, NewAsset, new_id
from sandbox.upstream.bodies import choice, project, read_body, text
from sandbox.upstream.fetching import fetch
from sandbox.upstream.objects import StoredObject
from sandbox.upstream.presigning import oversize
from sandbox.upstream.problems import Problem
from sandbox.upstream.state import Upstream, note, upstream_of

routes = web.RouteTableDef()


@routes.post("/v2/assets")
async def register(request: web.Request) -> web.Response:
    """Register an asset, and return it."""
    upstream = upstream_of(request)
    body = await read_body(request)
    url = text(body, "url", longest=8192) or ""
    asset_type = choice(body, "type", TYPES)
    visibility = choice(body, "visibility", VISIBILITIES, default="USER")
    name = text(body, "name", longest=1024, required=False)
    project_id = project(request, body)
    path = storage_path_of(upstream, url)
    stored = stored_object(upstream, path) if path is not None else await fetch(upstream, url)
    if stored.size > upstream.behavior.plan_max_bytes:
        raise oversize(upstream)
    if stored.size == 0 and upstream.behavior.empty_object == "refused":
        raise Problem(422, "The file is empty", field="url")
    asset_id, unnamed = new_id(), upstream.behavior.unnamed_asset
    new = NewAsset(
        type=asset_type,
        visibility=visibility,
        name=stored.file_name if name is None and unnamed == "fileName" else name,
        url=url,
        object_key=stored.key,
        size=stored.size,
        sha256=stored.sha256 if upstream.behavior.records_digest else None,
        input_type="URL" if path is None else "UPLOAD",
        project_id=project_id,
        facts=await upstream.probe.examine(stored.path, stored.file_name, asset_id),
    )
    # Without an await between query and insertion, two simultaneous calls make one asset.
    row = upstream.assets.find_by_url(url) if upstream.behavior.duplicate_url == "same" else None
    if row is None:
        row = upstream.assets.add(asset_id, new, now=upstream.now(), registered_at=upstream.clock())
    note(request, f"asset {row['id']}")
    asset: dict[str, Any] = upstream.assets.to_json(row, upstream.behavior)
    return web.json_response(asset, status=201)


def storage_path_of(upstream: Upstream, url: str) -> str | None:
    """Return the path of a URL of this storage, or None for any other URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if f"{parts.scheme}://{parts.netloc}" != upstream.settings.origin:
        return None
    return parts.path if parts.path.startswith("/assets/") else None


def stored_object(upstream: Upstream, path: str) -> StoredObject:
    """Return the object at a path of this storage.

    Raises:
        Problem: The object has no bytes, or the key is unknown.
    """
    behavior = upstream.behavior
    key, _, name = path.removeprefix("/assets/").partition("/")
    stored = upstream.objects.find(key)
    if stored is None or unquote(name) != stored.file_name:
        raise Problem(
            behavior.foreign_status,
            "The file is not in this organization's storage",
            code="file_not_in_org_storage",
        )
    is_missing = isinstance(stored, StoredObject) and stored.size == 0
    is_missing &= behavior.empty_object == "notFound"
    if is_missing or not isinstance(stored, StoredObject):
        raise Problem(
            behavior.not_uploaded_status,
            "Uploaded file not found",
            code="uploaded_file_not_found" if behavior.not_uploaded_code else None,
        )
    return stored
