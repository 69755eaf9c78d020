"""Reads JSON bodies and queries, and checks their fields."""

import json
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from multidict import MultiMapping

from sandbox.upstream.problems import Problem, invalid, project_not_found
from sandbox.upstream.state import upstream_of


async def read_json(request: web.Request) -> Any:
    """Return the body as JSON.

    Raises:
        Problem: 400.
    """
    try:
        body = json.loads(await request.read())
        # JSON can escape a lone surrogate, which neither the database nor a URL can contain.
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Problem(400, "The request's body is not valid JSON") from error
    return body


async def read_body(request: web.Request) -> dict[str, Any]:
    """Return the body as a JSON object.

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
    """Return a field that is a string of 1 to `longest` characters; null counts as missing.

    Raises:
        Problem: The field has another value, or is required and missing.
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
    """Return a field that is one of a few strings.

    Raises:
        Problem: The field has another value.
    """
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or value not in options:
        raise invalid(name, f"must be one of the following values: {', '.join(options)}", status)
    return value


def query_number(parameters: MultiMapping[str], name: str, *, default: int, highest: int) -> int:
    """Return a parameter of the query that is a whole number from 1 to `highest`.

    Raises:
        Problem: The parameter has another value.
    """
    value = parameters.get(name) or str(default)
    # int() raises for thousands of digits, so their number is checked first.
    fits = value.isascii() and value.isdigit() and len(value) <= len(str(highest))
    if not fits or not 1 <= int(value) <= highest:
        raise invalid(name, f"must be a whole number from 1 to {highest}")
    return int(value)


def is_public_url(value: str) -> bool:
    """Whether a string is a URL that could be fetched."""
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def project(request: web.Request, body: dict[str, Any]) -> str | None:
    """Return `projectId`, or None without one.

    Raises:
        Problem: 400, or 422 `project_not_found` for a project of another organisation.
    """
    project_id = text(body, "projectId", longest=255, required=False)
    if project_id is not None and project_id not in upstream_of(request).behavior.projects:
        raise project_not_found(project_id)
    return project_id
