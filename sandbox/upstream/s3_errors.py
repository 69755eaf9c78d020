"""Errors in the form of S3: an XML body with a code, and the ids that AWS support asks for."""

import secrets
from xml.sax.saxutils import escape

from aiohttp import web

from sandbox.upstream.cors import cross_origin
from sandbox.upstream.state import note


class StorageRefusal(Exception):  # noqa: N818 - `code` is S3's error code
    """The storage refuses a request.

    Args:
        status: HTTP status.
        code: S3's error code.
        message: S3's message.
        details: Further elements of the XML body.
    """

    def __init__(self, status: int, code: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.elements = {"Code": code, "Message": message, **details}


def request_ids() -> dict[str, str]:
    """Return the two headers with the ids of a request to S3."""
    return {
        "x-amz-request-id": secrets.token_hex(8).upper(),
        "x-amz-id-2": secrets.token_urlsafe(48),
    }


def render_refusal(request: web.Request, refusal: StorageRefusal) -> web.Response:
    """Return the response for a refusal, with CORS headers, and record it in the journal."""
    note(request, f"refused: {refusal.code}")
    ids = request_ids()
    elements = {
        **refusal.elements,
        "RequestId": ids["x-amz-request-id"],
        "HostId": ids["x-amz-id-2"],
    }
    inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in elements.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'
    response = web.Response(
        status=refusal.status,
        # A quoted header may have bytes that are not text.
        body=body.encode(errors="replace"),
        content_type="application/xml",
        headers={**ids, **cross_origin(request)},
    )
    # The rest of the body is not read, so the connection cannot be used again.
    response.force_close()
    return response
