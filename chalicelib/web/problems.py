"""Errors as problem details (RFC 9457)."""

import math

from chalicelib.core import errors, log
from chalicelib.core.types import Json
from chalicelib.web.messages import Response

DEFAULT_BROKER_RETRY_AFTER = 5  # seconds, for a 429 or 503 without a better value


def problem(error: errors.BrokerError) -> Json:
    """Return an error's body, without the fields that belong to one request."""
    body: Json = {
        "type": f"urn:sync-upload-broker:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail or error.title,
        "code": error.code,
        "retryable": error.retryable,
    }
    if error.errors:
        body["errors"] = list(error.errors)
    return body | error.fields


def response(error: Exception, instance: str, request_id: str) -> Response:
    """Return the response to any failure; only the text of a BrokerError is sent.

    Args:
        error: The failure.
        instance: The request's path.
        request_id: The request's id.
    """
    if not isinstance(error, errors.BrokerError):
        log.failure("unexpected", error)
        error = errors.InternalError("The request failed inside the broker.")
    log.note(code=error.code)
    headers = dict(error.headers)
    retry_after = error.retry_after
    if retry_after is None and error.status in {429, 503}:
        retry_after = DEFAULT_BROKER_RETRY_AFTER
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    body = problem(error) | {"instance": instance, "requestId": request_id}
    return Response(error.status, body, headers)
