"""Values as the API returns them, by the schemas in `schemas/`."""

import math
import re
from datetime import UTC, datetime

from chalicelib.core import errors
from chalicelib.core.types import Json
from chalicelib.quotas import usage
from chalicelib.quotas.limits import Limits
from chalicelib.quotas.usage import Usage
from chalicelib.ratelimit.limiter import RateLimitState
from chalicelib.uploads.models import Page, Upload
from chalicelib.uploads.outcomes import Outcome
from chalicelib.web import pagination
from chalicelib.web.messages import Request, Response
from chalicelib.web.problems import problem


def upload(one: Upload) -> Json:
    """Return an upload."""
    return {
        "id": one.id,
        "status": one.status,
        "fileName": one.file_name,
        "contentType": one.content_type,
        "size": one.size,
        "type": one.type,
        "name": one.name,
        "projectId": one.project_id,
        "sourceUrl": one.source_url,
        "createdAt": _time(one.created_at),
        "updatedAt": _time(one.updated_at),
        "asset": one.asset.fields if one.asset else None,
        "error": problem(errors.by_code(one.error["code"])(one.error["detail"]))
        if one.error
        else None,
    }


def pending(one: Upload, relay: str | None, now: int) -> Json:
    """Return a pending upload with everything that the PUT needs.

    Args:
        one: The upload.
        relay: The origin that relays to storage, or None. The signature stays valid: it covers the
            storage's host, to which the relay sends path and query unchanged.
        now: Milliseconds since 1970, from which `expiresIn` counts.
    """
    target = one.targets[-1]
    left = (target.expires_at - now) / 1000
    return upload(one) | {
        "uploadUrl": _by(relay, target.upload_url),
        "method": "PUT",
        "headers": {"Content-Type": one.content_type},
        "expiresIn": max(0, int(left)),
        "expiresAt": _time(target.expires_at),
    }


def _by(relay: str | None, upload_url: str) -> str:
    if relay is None:
        return upload_url
    # Cut, not parsed and joined: the signed part must stay the same, byte for byte.
    return relay + re.sub(r"^https?://[^/?#]+", "", upload_url, flags=re.IGNORECASE)


def outcome(one: Outcome, request: Request, status: int) -> Response:
    """Return the response with a registered upload, or 202 with where and when to ask again."""
    headers = {"Location": location(request, one.upload)}
    if one.retry_after is None:
        return Response(status, upload(one.upload), headers if status == 201 else {})  # noqa: PLR2004 - a new upload
    return Response(202, upload(one.upload), headers | {"Retry-After": str(one.retry_after)})


def page(one: Page, limit: int) -> Response:
    """Return the response with a page of a list, and a link to the next one."""
    body: Json = {"items": [upload(item) for item in one.items]}
    if one.next_cursor is None:
        return Response(200, body)
    body["nextCursor"] = one.next_cursor
    return Response(200, body, pagination.next_link(limit, one.next_cursor))


def location(request: Request, one: Upload) -> str:
    """Return the path of an upload as clients see it."""
    return f"{request.prefix}/uploads/{one.id}"


def quota(used: Usage, limits: Limits, now: int) -> Json:
    """Return what is left of a caller's quotas, by `schemas/limits.json`."""
    resets = {"resetsIn": usage.seconds_left(now)}
    return {
        "openUploads": _left(limits.max_open_uploads, used.open),
        "uploadsPerDay": _left(limits.uploads_per_day, used.uploads) | resets,
        "bytesPerDay": None
        if limits.bytes_per_day is None
        else _left(limits.bytes_per_day, used.bytes) | resets,
    }


def _left(limit: int, used: int) -> Json:
    return {"limit": limit, "left": max(0, limit - used)}


def presigns(state: RateLimitState) -> Json:
    """Return the state of the rate limiter for presigns, by `schemas/limits.json`."""
    return {
        "perMinute": state.budget.permits,
        "available": state.available,
        "waiting": state.waiting,
        "waitSeconds": math.ceil(state.wait_seconds),
    }


def rate_limit(
    used: Usage, limits: Limits, state: RateLimitState | None, now: int
) -> dict[str, str]:
    """Return the headers with what is left of a caller's quotas, and of the rate limit."""
    headers = usage.rate_limit(used, limits, now)
    if state is None:
        return headers
    return {name: f"{headers[name]}, {value}" for name, value in state.headers().items()}


def _time(milliseconds: int) -> str:
    when = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
