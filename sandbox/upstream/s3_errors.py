"""Refusals as S3 writes them: an XML body with a code, and an id that support would ask for."""

import secrets
from xml.sax.saxutils import escape

from aiohttp import web

from sandbox.upstream.cors import cross_origin
from sandbox.upstream.state import note


class StorageRefusal(Exception):  # noqa: N818 - S3's word for it is an error code, kept in `code`
    """A refusal by the storage.

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
    """Return the two headers that name a request to S3."""
    return {
        "x-amz-request-id": secrets.token_hex(8).upper(),
        "x-amz-id-2": secrets.token_urlsafe(48),
    }


def render_refusal(request: web.Request, refusal: StorageRefusal) -> web.Response:
    """Return the response for a refusal, which pages may read, and note it in the journal."""
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
        # A header that is quoted may hold bytes that are no text.
        body=body.encode(errors="replace"),
        content_type="application/xml",
        headers={**ids, **cross_origin(request)},
    )
    # What is left of the body is not read any more, so the connection cannot be used again.
    response.force_close()
    return response
