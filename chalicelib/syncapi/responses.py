"""Sync's responses: a JSON object, or an exception by one table of statuses and codes. Pure."""

import json
from email.utils import parsedate_to_datetime

from chalicelib.core import log
from chalicelib.core.types import Json
from chalicelib.syncapi import errors as sync_errors

# A code decides before a status does.
_BY_CODE: dict[str, type[sync_errors.UpstreamError]] = {
    **dict.fromkeys(sync_errors.FINAL_CODES, sync_errors.UpstreamRefused),
    "rate_limit_exceeded": sync_errors.UpstreamBusy,
    "concurrency_limit_reached": sync_errors.UpstreamBusy,
}
_BY_STATUS: dict[int, type[sync_errors.UpstreamError]] = {
    401: sync_errors.UpstreamUnauthorized,
    402: sync_errors.UpstreamUnauthorized,
    403: sync_errors.UpstreamUnauthorized,
    408: sync_errors.UpstreamTimeout,
    429: sync_errors.UpstreamBusy,
    504: sync_errors.UpstreamTimeout,
}
DEFAULT_SYNC_RETRY_AFTER = 10.0  # seconds, after a 429 without `Retry-After`
MAX_RETRY_AFTER = 3600.0  # seconds, however long Sync asks to wait
_MAX_MESSAGE = 500  # characters


def read(status: int, retry_after: str | None, content: bytes, now: int) -> Json:
    """Return the JSON object of a response.

    Args:
        status: The HTTP status.
        retry_after: The header `Retry-After`, or None.
        content: The body.
        now: Milliseconds since 1970.

    Raises:
        OutcomeUnknown: The request may have been carried out: 408, 5xx, or no JSON object.
        UpstreamError: Sync refused the request, by the tables above.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if 200 <= status < 300:  # noqa: PLR2004 - the range of success
        if not isinstance(body, dict):
            raise sync_errors.UpstreamFault
        return body
    problem = body if isinstance(body, dict) else {}
    code = problem.get("errorCode") or problem.get("error_code")
    raise _failure(
        status,
        code if isinstance(code, str) else None,
        _message(problem),
        _seconds(retry_after, now),
    )


def _failure(
    status: int, code: str | None, message: str, retry_after: float | None
) -> sync_errors.UpstreamError:
    """Return the exception for a status and an `errorCode`."""
    log.note(upstreamStatus=status, upstreamCode=code)
    # Only a 4xx means that nothing was done, so the code of any other response is ignored.
    is_refusal = 400 <= status < 500  # noqa: PLR2004 - the range of refusals
    by_code = _BY_CODE.get(code or "") if is_refusal else None
    kind = by_code or _BY_STATUS.get(status)
    if kind is None:
        kind = sync_errors.UpstreamRefused if is_refusal else sync_errors.UpstreamFault
    if kind is sync_errors.UpstreamBusy and retry_after is None:
        retry_after = DEFAULT_SYNC_RETRY_AFTER
    # The browser gets only a refusal's message: another one may be about the key or the plan.
    detail = message if kind is sync_errors.UpstreamRefused else ""
    return kind(detail, retry_after=retry_after, upstream_status=status, upstream_code=code)


def _message(problem: Json) -> str:
    """Return `message`, which Sync sends as a string or as a list of strings."""
    message = problem.get("message")
    if isinstance(message, list):
        message = "; ".join(part for part in message if isinstance(part, str))
    return message[:_MAX_MESSAGE] if isinstance(message, str) else ""


def _seconds(retry_after: str | None, now: int) -> float | None:
    """Return the seconds of `Retry-After`, which is a number of them or a date."""
    if not retry_after:
        return None
    try:
        if retry_after.isascii() and retry_after.isdigit():
            seconds = float(retry_after[:9])
        else:
            seconds = parsedate_to_datetime(retry_after).timestamp() - now / 1000
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER)
