"""`POST /v2/assets/upload`: create a presigned URL for one file."""

from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.upstream.bodies import read_body, text
from sandbox.upstream.problems import Problem, invalid, rate_limited
from sandbox.upstream.state import Upstream, note, upstream_of
from sandbox.upstream.storage import asset_path, storage_path

routes = web.RouteTableDef()

LARGEST = 5_368_709_120  # bytes; documented as 5 GiB


@routes.post("/v2/assets/upload")
async def presign(request: web.Request) -> web.Response:
    """Create a presigned URL, and return `uploadUrl`, `url` and `expiresIn`."""
    upstream = upstream_of(request)
    behavior = upstream.behavior
    # The limit is checked first, so that calls with an invalid body count too.
    wait = upstream.presigns.acquire(
        upstream.clock(), behavior.presigns_per_minute, behavior.rate_window
    )
    if wait is not None:
        raise rate_limited(wait if behavior.retry_after_on429 else None)
    file_name, content_type = _check(await read_body(request), upstream)
    reserved = upstream.objects.reserve(file_name, content_type)
    origin = upstream.settings.origin
    upload_url = upstream.signer.presign(
        "PUT",
        origin,
        storage_path(reserved),
        {"content-type": content_type, "host": urlsplit(origin).netloc},
        now=upstream.now(),
        expires_in=behavior.expires_in,
    )
    note(request, "presigned")
    presigned = {
        "uploadUrl": upload_url,
        "url": origin + asset_path(reserved),
        "expiresIn": behavior.expires_in,
    }
    return web.json_response(presigned, status=201)


def _check(body: dict[str, Any], upstream: Upstream) -> tuple[str, str]:
    behavior = upstream.behavior
    file_name = text(body, "fileName", longest=255) or ""
    content_type = text(body, "contentType", longest=255) or ""
    # The client must send it unchanged as a header.
    printable = content_type.isascii() and content_type.isprintable()
    if not printable or content_type != content_type.strip():
        raise invalid("contentType", "must be a media type")
    size = body.get("size")
    if type(size) is not int:
        raise invalid("size", "must be a whole number of bytes")
    if not 1 <= size <= LARGEST:
        raise invalid("size", f"must be from 1 to {LARGEST}", behavior.size_range_status)
    if size > behavior.plan_max_bytes:
        raise oversize(upstream)
    if any(fnmatchcase(content_type, pattern) for pattern in behavior.refused_content_types):
        raise invalid("contentType", "is not supported", behavior.content_type_status)
    return _segment(file_name), content_type


def _segment(file_name: str) -> str:
    """Return a name that every client treats as one segment of a path, unlike `..` and `a/b`."""
    name = file_name.replace("/", "_").replace("\\", "_")
    return "_" if name in {".", ".."} else name


def oversize(upstream: Upstream) -> Problem:
    """Return the refusal of a file that is larger than the plan allows."""
    behavior = upstream.behavior
    return Problem(
        behavior.oversize_status,
        f"The file is larger than this plan's {behavior.plan_max_bytes} bytes",
        code="file_size_exceeds_plan_limit" if behavior.oversize_code else None,
    )
