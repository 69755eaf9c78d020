"""What sync. answers: JSON, or a failure by the one table of its statuses and codes. Pure."""

import json
from email.utils import parsedate_to_datetime

from chalicelib.core import errors, log
from chalicelib.core.types import Json
from chalicelib.syncapi import errors as sync_errors

_BY_STATUS: dict[int, type[sync_errors.UpstreamError]] = {
    401: sync_errors.UpstreamUnauthorized,
    402: sync_errors.UpstreamUnauthorized,
    403: sync_errors.UpstreamUnauthorized,
    408: sync_errors.UpstreamTimeout,
    429: sync_errors.UpstreamBusy,
    504: sync_errors.UpstreamTimeout,
}
_BY_CODE: dict[str, type[sync_errors.UpstreamError]] = {
    **dict.fromkeys(sync_errors.FINAL_CODES, sync_errors.UpstreamRefused),
    "rate_limit_exceeded": sync_errors.UpstreamBusy,
    "concurrency_limit_reached": sync_errors.UpstreamBusy,
}
MAX_RETRY_AFTER = 3600.0  # seconds; whatever sync. says, an hour later is worth another try
_DETAILS: dict[type[sync_errors.UpstreamError], str] = {
    sync_errors.UpstreamBusy: "Sync is busy. Try again in a moment.",
    sync_errors.UpstreamTimeout: "Sync did not respond in time. Try again in a moment.",
    sync_errors.UpstreamFault: "Sync failed. Try again in a moment.",
    sync_errors.UpstreamUnauthorized: (
        "This service can't use Sync at the moment. Tell those who run it."
    ),
}
DEFAULT_RETRY_AFTER = 10.0  # seconds, when sync. says "too many" and not until when


def read(status: int, retry_after: str | None, content: bytes, now: int) -> Json:
    """Turn an answer into its JSON object, or raise what it means."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if 200 <= status < 300:  # noqa: PLR2004 - the range of success
        if not isinstance(body, dict):
            raise sync_errors.UpstreamFault("Sync failed. Try again in a moment.")
        return body
    problem = body if isinstance(body, dict) else {}
    code = problem.get("errorCode") or problem.get("error_code")
    raise _refusal(
        status,
        code if isinstance(code, str) else None,
        _message(problem),
        _seconds(retry_after, now),
    )


def _refusal(
    status: int, code: str | None, message: str, retry_after: float | None
) -> errors.BrokerError:
    """The one table: what a status and an `errorCode` of sync. mean here."""
    log.note(upstreamStatus=status, upstreamCode=code)
    # Any other status does not say that nothing was done, whatever its body says.
    is_refusal = 400 <= status < 500  # noqa: PLR2004 - the range of refusals
    by_code = _BY_CODE.get(code or "") if is_refusal else None
    kind = by_code or _BY_STATUS.get(status)
    if kind is None:
        kind = sync_errors.UpstreamRefused if is_refusal else sync_errors.UpstreamFault
    if kind is sync_errors.UpstreamBusy and retry_after is None:
        retry_after = DEFAULT_RETRY_AFTER
    # What sync. says about the key or the plan is for the operator's log, not for the browser.
    detail = message if kind is sync_errors.UpstreamRefused else _DETAILS.get(kind, "")
    return kind(detail, retry_after=retry_after, upstream_status=status, upstream_code=code)


def _message(problem: Json) -> str:
    """Read `message`, which is a string or a list of strings."""
    message = problem.get("message")
    if isinstance(message, list):
        return "; ".join(part for part in message if isinstance(part, str))[:500]
    return message[:500] if isinstance(message, str) else ""


def _seconds(retry_after: str | None, now: int) -> float | None:
    """Read `Retry-After`: whole seconds, or a date."""
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
