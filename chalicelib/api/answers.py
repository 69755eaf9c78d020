"""What an answer's status tells of it: its headers, and where one goes on from it."""

from chalicelib.core.types import Json
from chalicelib.responses import Operation

HEADERS: dict[str, Json] = {
    "X-Request-Id": {
        "description": "Names the request in the broker's log.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$"},
    },
    "Cache-Control": {
        "description": "Nothing may be kept.",
        "required": True,
        "schema": {"const": "no-store"},
    },
    "Location": {
        "description": "The upload's path.",
        "required": True,
        "schema": {"type": "string", "pattern": "/uploads/[0-9a-f]{32}$"},
    },
    "Link": {
        "description": "The next page, with `rel=next`; absent on the last one.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds until it makes sense to ask again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "What is wrong with the token, by RFC 6750.",
        "required": True,
        "schema": {"type": "string", "pattern": "^Bearer "},
    },
}
_BY_STATUS = {
    201: ("Location",),
    202: ("Retry-After",),
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_ON_UPLOADS = ("UploadsRead", "UploadsCancel", "UploadsComplete", "UploadsRenew")


def headers(operation: Operation, status: int) -> Json:
    """Describe the headers of an answer."""
    names = ["X-Request-Id", "Cache-Control", *_BY_STATUS.get(status, ())]
    if operation.is_list and status == 200:  # noqa: PLR2004 - a page
        names.append("Link")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def links(operation: Operation, status: int) -> Json:
    """Describe what can be done with the upload that an answer has made."""
    if status != 201:  # noqa: PLR2004 - only what was made is a start
        return {}
    upload = {"uploadId": "$response.body#/id"}
    if operation.path == "/uploads":
        return {name: {"operationId": name, "parameters": dict(upload)} for name in _ON_UPLOADS}
    asset = {"assetId": "$response.body#/asset/id"}
    return {
        "UploadsRead": {"operationId": "UploadsRead", "parameters": upload},
        "AssetsRead": {"operationId": "AssetsRead", "parameters": asset},
    }
