"""Write chalicelib/api/openapi.json from the routes and the schemas: `make openapi`.

The broker serves the file unchanged. A test fails if the file is not up to date.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from chalicelib import VERSION, api, schemas
from chalicelib.aws import codec
from chalicelib.core import errors
from chalicelib.core.types import Json
from chalicelib.web import bodies, pagination
from chalicelib.web.router import Operation

TARGET = Path(__file__).parents[1] / "chalicelib" / "api" / "openapi.json"
_TAGS = {
    "uploads": "Uploads of files from a browser.",
    "assets": "Registered assets, and the registration of public URLs.",
    "service": "The broker's health and documents, and your limits.",
}
_EVERYWHERE = (errors.InternalError, errors.Misconfigured, errors.ForbiddenOrigin)
_WITH_TOKEN = (errors.Unauthorized, errors.SecretsUnavailable, errors.StoreUnavailable)
_IDS: dict[str, Json] = {
    "uploadId": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "assetId": {"type": "string", "pattern": "^[A-Za-z0-9._~:-]{1,128}$"},
}
_LIST_PARAMETERS: tuple[Json, ...] = (
    {
        "name": "limit",
        "in": "query",
        "description": "The maximum number of items.",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": pagination.MAX_PAGE,
            "default": pagination.DEFAULT_PAGE,
        },
    },
    {
        "name": "cursor",
        "in": "query",
        "description": "The `nextCursor` of the previous page.",
        "schema": {"type": "string", "minLength": 1, "maxLength": codec.MAX_CURSOR},
    },
)


_KEY_PARAMETER: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "For 24 hours, the same key and body return the same upload.",
    "schema": {"type": "string", "pattern": bodies.KEY_PATTERN},
}


_TICKET_PARAMETER: Json = {
    "name": "Upload-Ticket",
    "in": "header",
    "description": "The `ticket` of an earlier 429, which keeps your queue position.",
    "schema": {"type": "string"},
}


_HEADERS: dict[str, Json] = {
    "X-Request-Id": {
        "description": "The id of the request in the broker's log.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$"},
    },
    "Cache-Control": {
        "description": "The response must not be stored.",
        "required": True,
        "schema": {"const": "no-store"},
    },
    "Location": {
        "description": "The upload's path.",
        "required": True,
        "schema": {"type": "string", "pattern": "/uploads/[0-9a-f]{32}$"},
    },
    "Link": {
        "description": "The next page, with `rel=next`; absent on the last page.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "The seconds to wait before the next request.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "The problem with the token (RFC 6750). API Gateway renames this header.",
        "schema": {"type": "string", "pattern": "^Bearer "},
    },
    "x-amzn-Remapped-WWW-Authenticate": {
        "description": "What API Gateway makes of `WWW-Authenticate`.",
        "schema": {"type": "string", "pattern": "^Bearer "},
    },
}
_BY_STATUS = {
    201: ("Location",),
    202: ("Retry-After",),
    401: ("WWW-Authenticate", "x-amzn-Remapped-WWW-Authenticate"),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_ON_UPLOADS = ("UploadsRead", "UploadsCancel", "UploadsComplete", "UploadsRenew")


def _headers(operation: Operation[Any], status: int) -> Json:
    """Return the headers of a response."""
    names = ["X-Request-Id", "Cache-Control", *_BY_STATUS.get(status, ())]
    if operation.is_list and status == 200:  # noqa: PLR2004 - a page of a list
        names.append("Link")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _links(operation: Operation[Any], status: int) -> Json:
    """Return the links from a response that created an upload."""
    if status != 201:  # noqa: PLR2004 - other responses create nothing
        return {}
    upload = {"uploadId": "$response.body#/id"}
    if operation.path == "/uploads":
        return {name: {"operationId": name, "parameters": dict(upload)} for name in _ON_UPLOADS}
    asset = {"assetId": "$response.body#/asset/id"}
    return {
        "UploadsRead": {"operationId": "UploadsRead", "parameters": upload},
        "AssetsRead": {"operationId": "AssetsRead", "parameters": asset},
    }


def document() -> Json:
    """Return the OpenAPI document."""
    paths: dict[str, Json] = {}
    for operation in (one for routes in api.ALL for one in routes.operations):
        path = paths.setdefault(_camel(operation.path), {})
        path[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sync upload broker",
            "version": VERSION,
            "description": "Uploads from browsers to Sync without the API key.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": {name: _schema(name) for name in schemas.names()},
            "headers": _HEADERS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _operation(operation: Operation[Any]) -> Json:
    summary = (operation.handler.__doc__ or "").strip().partition("\n")[0]
    described: Json = {
        "operationId": operation.id,
        "tags": [_tag(operation)],
        "summary": summary,
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": _IDS[name]}
                for name in re.findall(r"{(\w+)}", _camel(operation.path))
            ),
            *(_LIST_PARAMETERS if operation.is_list else ()),
            *((_KEY_PARAMETER,) if operation.body else ()),
            *((_TICKET_PARAMETER,) if operation.is_rate_limited else ()),
        ],
        "responses": _responses(operation),
    }
    if operation.body:
        described["requestBody"] = {"required": True, "content": _json(operation.body)}
    if operation.is_public:
        described["security"] = []
    return described


def _responses(operation: Operation[Any]) -> Json:
    responses: Json = {}
    for status, schema in operation.responses.items():
        response: Json = {"description": "Success" if status != 202 else "Still processing"}  # noqa: PLR2004 - no outcome yet
        if schema:
            response["content"] = _json(schema)
        elif status == 200:  # noqa: PLR2004 - a response whose body has no schema
            response["content"] = {"application/json": {"schema": {"type": "object"}}}
        responses[str(status)] = response | {"headers": _headers(operation, status)}
        if links := _links(operation, status):
            responses[str(status)]["links"] = links
    kinds: list[type[errors.BrokerError]] = [*operation.problems, *_EVERYWHERE]
    if not operation.is_public:
        kinds += _WITH_TOKEN
    for kind in sorted(set(kinds), key=lambda one: (one.status, one.code)):
        response = responses.setdefault(
            str(kind.status),
            {
                "description": "",
                "headers": _headers(operation, kind.status),
                "content": {"application/problem+json": {"schema": _reference("problem")}},
            },
        )
        words = f"`{kind.code}`: {kind.title}."
        response["description"] = f"{response['description']} {words}".strip()
    return responses


def _json(schema: str) -> Json:
    return {"application/json": {"schema": _reference(schema)}}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _schema(name: str) -> Json:
    rewritten: Json = _rewrite(schemas.load(name))
    return {key: value for key, value in rewritten.items() if key != "$schema"}


def _rewrite(node: Any) -> Any:
    """Return a schema whose references to files are references inside the document."""
    if isinstance(node, str) and re.fullmatch(r"[a-z-]+\.json", node):
        return f"#/components/schemas/{node.removesuffix('.json')}"
    if isinstance(node, dict):
        return {key: _rewrite(value) for key, value in node.items()}
    return [_rewrite(item) for item in node] if isinstance(node, list) else node


def _camel(path: str) -> str:
    """Return a path whose parameters are in camel case: `{uploadId}` for `{upload_id}`."""
    return re.sub(r"_(\w)", lambda match: match[1].upper(), path)


def _tag(operation: Operation[Any]) -> str:
    """Return the tag of an operation, which is the first word of its id: `uploads`."""
    return (re.match("[A-Z][a-z]+", operation.id) or [""])[0].lower()


if __name__ == "__main__":
    TARGET.write_text(json.dumps(document(), indent=1) + "\n", "utf-8")
