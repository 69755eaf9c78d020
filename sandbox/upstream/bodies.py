"""JSON bodies of the API: read, and their members checked."""

import json
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from multidict import MultiMapping

from sandbox.upstream.problems import Problem, invalid, project_not_found
from sandbox.upstream.state import upstream_of


async def read_json(request: web.Request) -> Any:
    """Give the body as JSON.

    Raises:
        Problem: 400.
    """
    try:
        body = json.loads(await request.read())
        # JSON can escape half of a surrogate pair, which no database and no URL can hold.
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Problem(400, "The request's body is not valid JSON") from error
    return body


async def read_body(request: web.Request) -> dict[str, Any]:
    """Give the body, which must be a JSON object.

    Raises:
        Problem: 400.
    """
    body = await read_json(request)
    if not isinstance(body, dict):
        raise Problem(400, "The request's body must be a JSON object")
    return body


def text(
    body: dict[str, Any], name: str, *, longest: int, status: int = 400, required: bool = True
) -> str | None:
    """Give a member that is a string of 1 to `longest` characters; null counts as absent.

    Raises:
        Problem: It is something else, or it is missing and required.
    """
    value = body.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise invalid(name, f"must be a string of 1 to {longest} characters", status)
    return value


def choice(
    body: dict[str, Any],
    name: str,
    options: tuple[str, ...],
    default: str | None = None,
    status: int = 400,
) -> str:
    """Give a member that is one of a few strings.

    Raises:
        Problem: It is none of them.
    """
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or value not in options:
        raise invalid(name, f"must be one of the following values: {', '.join(options)}", status)
    return value


def query_number(parameters: MultiMapping[str], name: str, *, default: int, highest: int) -> int:
    """Give a parameter that is a whole number from 1 on.

    Raises:
        Problem: It is none.
    """
    value = parameters.get(name) or str(default)
    # int() refuses thousands of digits with an error of its own, so their number is looked at.
    fits = value.isascii() and value.isdigit() and len(value) <= len(str(highest))
    if not fits or not 1 <= int(value) <= highest:
        raise invalid(name, f"must be a whole number from 1 to {highest}")
    return int(value)


def is_public_url(value: str) -> bool:
    """Tell whether a string is a URL that could be fetched."""
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def project(request: web.Request, body: dict[str, Any]) -> str | None:
    """Give `projectId`, which must be one of this organisation's when it is there.

    Raises:
        Problem: 400, or 422 `project_not_found`.
    """
    project_id = text(body, "projectId", longest=255, required=False)
    if project_id is not None and project_id not in upstream_of(request).behavior.projects:
        raise project_not_found(project_id)
    return project_id
