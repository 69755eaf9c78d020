"""The OpenAPI 3.1 document, made from the declared operations and from `schemas/`."""

import re
from collections.abc import Iterable
from typing import Any

from chalicelib import validation
from chalicelib.api import answers
from chalicelib.aws import codec
from chalicelib.core import errors
from chalicelib.core.types import Json
from chalicelib.responses import Operation

VERSION = "0.1.0"
_TAGS = {  # by the module of the operations
    "uploads": "Files from a browser, from their beginning to their end.",
    "assets": "What has been registered, and the registration of public URLs.",
    "service": "What the broker says of itself, and what you may upload.",
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
        "description": "How many at most.",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": validation.MAX_PAGE,
            "default": validation.DEFAULT_PAGE,
        },
    },
    {
        "name": "cursor",
        "in": "query",
        "description": "The `nextCursor` of the page before.",
        "schema": {"type": "string", "minLength": 1, "maxLength": codec.MAX_CURSOR},
    },
)


_KEY_PARAMETER: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and body give the same upload for 24 hours.",
    "schema": {"type": "string", "pattern": validation.KEY_PATTERN},
}


_TICKET_PARAMETER: Json = {
    "name": "Upload-Ticket",
    "in": "header",
    "description": "The `ticket` that came with a turn in the line; any other text proves none.",
    "schema": {"type": "string"},
}


def document(operations: Iterable[Operation], prefix: str) -> Json:
    """Write the document.

    Args:
        operations: What the broker can do.
        prefix: What stands before the paths outside.
    """
    paths: dict[str, Json] = {}
    for operation in operations:
        path = paths.setdefault(_camel(operation.path), {})
        path[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sync upload broker",
            "version": VERSION,
            "description": "Uploads from browsers to Sync without the API key.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": prefix or "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": {name: _schema(name) for name in validation.schema_names()},
            "headers": answers.HEADERS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _operation(operation: Operation) -> Json:
    summary = (operation.handler.__doc__ or "").strip().partition("\n")[0]
    module = operation.handler.__module__.rpartition(".")[2]
    described: Json = {
        "operationId": module.title() + operation.handler.__name__.title().replace("_", ""),
        "tags": [module],
        "summary": summary,
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": _IDS[name]}
              for name in re.findall(r"{(\w+)}", _camel(operation.path))),
            *(_LIST_PARAMETERS if operation.is_list else ()),
            *((_KEY_PARAMETER,) if operation.body else ()),
            *((_TICKET_PARAMETER,) if operation.is_in_line else ()),
        ],
        "responses": _responses(operation),
    }  # fmt: skip
    if operation.body:
        described["requestBody"] = {"required": True, "content": _json(operation.body)}
    if operation.is_public:
        described["security"] = []
    return described


def _responses(operation: Operation) -> Json:
    responses: Json = {}
    for status, schema in operation.answers.items():
        response: Json = {"description": "Done" if status != 202 else "Not decided yet"}  # noqa: PLR2004
        if schema:
            response["content"] = _json(schema)
        elif status == 200:  # noqa: PLR2004 - an answer with a body that no schema describes
            response["content"] = {"application/json": {"schema": {"type": "object"}}}
        responses[str(status)] = response | {"headers": answers.headers(operation, status)}
        if links := answers.links(operation, status):
            responses[str(status)]["links"] = links
    kinds: list[type[errors.BrokerError]] = [*operation.problems, *_EVERYWHERE]
    if not operation.is_public:
        kinds += _WITH_TOKEN
    for kind in sorted(set(kinds), key=lambda one: (one.status, one.code)):
        response = responses.setdefault(
            str(kind.status),
            {
                "description": "",
                "headers": answers.headers(operation, kind.status),
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
    rewritten: Json = _rewrite(validation.schema(name))
    return {key: value for key, value in rewritten.items() if key != "$schema"}


def _rewrite(node: Any) -> Any:
    """Point from file to file inside the one document."""
    if isinstance(node, str) and re.fullmatch(r"[a-z-]+\.json", node):
        return f"#/components/schemas/{node.removesuffix('.json')}"
    if isinstance(node, dict):
        return {key: _rewrite(value) for key, value in node.items()}
    return [_rewrite(item) for item in node] if isinstance(node, list) else node


def _camel(path: str) -> str:
    """Name the path's parameters as the API names everything: `{upload_id}` is `{uploadId}`."""
    return re.sub(r"_(\w)", lambda match: match[1].upper(), path)
