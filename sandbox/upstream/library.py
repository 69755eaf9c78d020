"""The asset calls other than presign and register."""

import re
import sqlite3
import uuid
from typing import TypeGuard

from aiohttp import web

from sandbox.upstream.assets import TYPES, VISIBILITIES
from sandbox.upstream.bodies import choice, read_body, text
from sandbox.upstream.cors import cross_origin
from sandbox.upstream.listing import list_page, parse_query
from sandbox.upstream.objects import StoredObject
from sandbox.upstream.problems import Problem, asset_not_found, invalid
from sandbox.upstream.state import Upstream, note, upstream_of
from sandbox.upstream.storage import SERVED_HEADERS, serve

routes = web.RouteTableDef()

_LARGEST_BATCH = 100
_DIGEST = re.compile(r"[0-9a-f]{64}")


@routes.get("/v2/assets")
async def list_assets(request: web.Request) -> web.Response:
    """Return a page of assets, by default newest first."""
    upstream = upstream_of(request)
    query = parse_query(request.query)
    rows, cursor, total = list_page(
        upstream.database, query, upstream.behavior, now=upstream.clock()
    )
    page = {"items": [upstream.assets.to_json(row, upstream.behavior) for row in rows]}
    note(request, f"listed {len(rows)} of {total}")
    # `nextCursor` is optional: the last page has none.
    more = {} if cursor is None else {"nextCursor": cursor}
    return web.json_response({**page, **more, "totalCount": total})


# This route precedes `{id}`, which would match "uploaded" too.
@routes.get("/v2/assets/uploaded")
async def find_uploaded(request: web.Request) -> web.Response:
    """Return the newest asset with a digest, or null."""
    upstream = upstream_of(request)
    digest = request.query.get("contentSha256", "")
    if not _DIGEST.fullmatch(digest):
        raise invalid("contentSha256", "must be 64 lower-case hexadecimal digits")
    asset_type = choice(dict(request.query), "type", TYPES)
    row = upstream.assets.find_by_digest(digest, asset_type)
    shown = None if row is None else upstream.assets.to_json(row, upstream.behavior)
    return web.json_response({"asset": shown})


@routes.post("/v2/assets/batch")
async def get_batch(request: web.Request) -> web.Response:
    """Return an array of the requested assets that exist, in the order of the request."""
    upstream = upstream_of(request)
    ids = (await read_body(request)).get("ids")
    if not _is_batch(ids):
        raise invalid("ids", f"must be an array of 1 to {_LARGEST_BATCH} strings")
    rows = [upstream.assets.find(item) for item in dict.fromkeys(ids)]
    return web.json_response(
        [upstream.assets.to_json(row, upstream.behavior) for row in rows if row is not None]
    )


def _is_batch(ids: object) -> TypeGuard[list[str]]:
    return (
        isinstance(ids, list)
        and 1 <= len(ids) <= _LARGEST_BATCH
        and all(isinstance(item, str) for item in ids)
    )


@routes.get("/v2/assets/{id}")
async def get_asset(request: web.Request) -> web.Response:
    """Return one asset."""
    upstream = upstream_of(request)
    row = find_asset(upstream, request.match_info["id"])
    return web.json_response(upstream.assets.to_json(row, upstream.behavior))


@routes.patch("/v2/assets/{id}")
async def change_asset(request: web.Request) -> web.Response:
    """Change an asset's name or visibility, and return it."""
    upstream = upstream_of(request)
    row = find_asset(upstream, request.match_info["id"])
    body = await read_body(request)
    name = text(body, "name", longest=1024, status=422, required=False)
    visibility = choice(body, "visibility", VISIBILITIES, default=row["visibility"], status=422)
    upstream.assets.change(
        row["id"],
        name=row["name"] if name is None else name,
        visibility=visibility,
        now=upstream.now(),
    )
    row = find_asset(upstream, row["id"])
    note(request, f"changed {row['id']}")
    return web.json_response(upstream.assets.to_json(row, upstream.behavior))


@routes.delete("/v2/assets/{id}")
async def delete_asset(request: web.Request) -> web.Response:
    """Delete an asset, and its bytes if no other asset uses them."""
    upstream = upstream_of(request)
    row = find_asset(upstream, request.match_info["id"])
    if upstream.behavior.delete_forbidden:
        raise Problem(403, "You may not delete this asset", code="asset_forbidden")
    upstream.assets.delete(row["id"])
    upstream.probe.thumbnail(row["id"]).unlink(missing_ok=True)
    if not upstream.assets.uses(row["object_key"]):
        upstream.objects.delete(row["object_key"])
    note(request, f"deleted {row['id']}")
    return web.json_response({"id": row["id"]})


def find_asset(upstream: Upstream, asset_id: str) -> sqlite3.Row:
    """Return the asset with an id.

    Raises:
        Problem: No asset has the id.
    """
    row = upstream.assets.find(asset_id)
    if row is not None:
        return row
    status = upstream.behavior.malformed_id_status
    if status == 400 and not _is_uuid(asset_id):  # noqa: PLR2004 - one of the behaviour's two values
        raise Problem(status, "Invalid asset ID format", code="invalid_asset_id_format")
    raise asset_not_found(asset_id)


def _is_uuid(value: str) -> bool:
    try:
        return str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


@routes.get("/thumbnails/{id}.jpg")
async def get_thumbnail(request: web.Request) -> web.StreamResponse:
    """Return an asset's thumbnail."""
    upstream = upstream_of(request)
    row = find_asset(upstream, request.match_info["id"])
    if not row["has_thumbnail"]:
        raise asset_not_found(row["id"])
    headers = {**SERVED_HEADERS, **cross_origin(request)}
    return web.FileResponse(upstream.probe.thumbnail(row["id"]), headers=headers)


@routes.get("/media/{id}")
async def get_rewritten(request: web.Request) -> web.StreamResponse:
    """Return an asset's bytes, at the URL that it has with `assetUrl: rewritten`."""
    upstream = upstream_of(request)
    row = find_asset(upstream, request.match_info["id"])
    stored = upstream.objects.find(row["object_key"])
    if not isinstance(stored, StoredObject):
        raise asset_not_found(row["id"])
    return serve(request, stored)
