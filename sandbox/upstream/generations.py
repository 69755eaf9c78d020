"""`/v2/generate`: it generates nothing, but its calls behave as documented.

The output is the input's video, or the sandbox's sample if the input is a URL.
"""

import asyncio
import re
from pathlib import Path

from aiohttp import web

from sandbox.upstream.bodies import query_number, read_body
from sandbox.upstream.generation_input import check_generation
from sandbox.upstream.generation_records import (
    STATUSES,
    add_generation,
    find_by_key,
    find_generation,
    generation_json,
    progress_of,
)
from sandbox.upstream.listing import parse_list
from sandbox.upstream.objects import StoredObject
from sandbox.upstream.problems import Problem, invalid
from sandbox.upstream.state import note, upstream_of
from sandbox.upstream.storage import SERVED_HEADERS, check_presigned, serve
from sandbox.upstream.webhooks import schedule_webhook

routes = web.RouteTableDef()

_RETRY_AFTER = {"Retry-After": "2"}  # seconds; documented
_LONGEST_WAIT = 10  # seconds; documented
_MARGIN = 0.01  # seconds; by the upstream's clock, a sleep may end a little early
_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_SAMPLE = Path(__file__).parents[1] / "samples" / "sample.mp4"


@routes.post("/v2/generate")
async def create_generation(request: web.Request) -> web.Response:
    """Start a generation, and return it; return the earlier one for a repeated key."""
    upstream = upstream_of(request)
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise Problem(400, "Invalid Idempotency-Key", code="INVALID_IDEMPOTENCY_KEY")
    body = await read_body(request)
    row = find_by_key(upstream, key, body)
    if row is None:
        check_generation(request, body)
        row = add_generation(upstream, body, key)
        schedule_webhook(upstream, row["id"])
        note(request, f"generation {row['id']}")
    else:
        note(request, f"generation {row['id']} again")
    return web.json_response(generation_json(upstream, row), status=201)


@routes.get("/v2/generate/{id}")
async def get_generation(request: web.Request) -> web.Response:
    """Return a generation; with `wait`, when it has ended or the timeout is over."""
    upstream = upstream_of(request)
    row = find_generation(upstream, request.match_info["id"])
    until_ready = row["ready_at"] + _MARGIN - upstream.clock()
    await asyncio.sleep(max(0.0, min(_wait_seconds(request), until_ready)))
    shown = generation_json(upstream, row)
    if request.query.get("include") == "progress":
        shown["progress_percent"] = round(100 * progress_of(upstream, row))
    return web.json_response(shown, headers=_RETRY_AFTER)


def _wait_seconds(request: web.Request) -> int:
    timeout = query_number(request.query, "timeout", default=_LONGEST_WAIT, highest=_LONGEST_WAIT)
    return timeout if request.query.get("wait", "false") in {"true", "1", ""} else 0


@routes.get("/v2/generations")
async def list_generations(request: web.Request) -> web.Response:
    """Return the generations with some statuses or ids, newest first."""
    upstream = upstream_of(request)
    statuses, ids = parse_list(request.query, "status"), parse_list(request.query, "ids")
    if not set(statuses) <= set(STATUSES):
        raise invalid("status", f"must each be one of: {', '.join(STATUSES)}")
    rows = upstream.database.rows("SELECT * FROM generations ORDER BY seq DESC")
    shown = [generation_json(upstream, row) for row in rows if not ids or row["id"] in ids]
    return web.json_response([item for item in shown if not statuses or item["status"] in statuses])


@routes.get("/outputs/{id}/{name:(?s:.*)}")
async def get_output(request: web.Request) -> web.StreamResponse:
    """Return a generation's output for its signed URL, which is valid for HEAD too."""
    upstream = upstream_of(request)
    check_presigned(request, "GET")
    row = find_generation(upstream, request.match_info["id"])
    stored = upstream.objects.find(row["source_key"] or "")
    if isinstance(stored, StoredObject):
        return serve(request, stored)
    return web.FileResponse(_SAMPLE, headers=SERVED_HEADERS)
