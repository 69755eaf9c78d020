"""Sync's responses: a JSON object, or one exception for each status and code."""

import json
from email.utils import formatdate
from typing import Any

import pytest

from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi import responses
from chalicelib.syncapi.responses import DEFAULT_SYNC_RETRY_AFTER, MAX_RETRY_AFTER

NOW = 1_800_000_000_000


def failure(
    status: int, body: Any = None, retry_after: str | None = None
) -> sync_errors.UpstreamError:
    """Return the exception that a response raises."""
    with pytest.raises(sync_errors.UpstreamError) as raised:
        responses.read(status, retry_after, json.dumps(body).encode(), NOW)
    return raised.value


@pytest.mark.parametrize("status", [200, 201, 299])
def test_success_is_its_object(status: int) -> None:
    """A success with a JSON object gives that object."""
    assert responses.read(status, None, b'{"a": 1}', NOW) == {"a": 1}


@pytest.mark.parametrize("content", [b"", b"[]", b"<html>", b'"a"', b"[" * 100_000])
def test_success_without_object_is_a_fault(content: bytes) -> None:
    """A success without a JSON object is a fault, with an ambiguous outcome."""
    with pytest.raises(sync_errors.UpstreamFault):
        responses.read(200, None, content, NOW)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (199, None, sync_errors.UpstreamFault),
        (300, None, sync_errors.UpstreamFault),
        (400, None, sync_errors.UpstreamRefused),
        (401, None, sync_errors.UpstreamUnauthorized),
        (402, None, sync_errors.UpstreamUnauthorized),
        (403, None, sync_errors.UpstreamUnauthorized),
        (404, None, sync_errors.UpstreamRefused),
        (408, None, sync_errors.UpstreamTimeout),
        (429, None, sync_errors.UpstreamBusy),
        (499, None, sync_errors.UpstreamRefused),
        (500, None, sync_errors.UpstreamFault),
        (503, None, sync_errors.UpstreamFault),
        (504, None, sync_errors.UpstreamTimeout),
        (400, "rate_limit_exceeded", sync_errors.UpstreamBusy),
        (403, "concurrency_limit_reached", sync_errors.UpstreamBusy),
        (403, "project_not_found", sync_errors.UpstreamRefused),
        (400, "another", sync_errors.UpstreamRefused),
        (500, "rate_limit_exceeded", sync_errors.UpstreamFault),
        (302, "project_not_found", sync_errors.UpstreamFault),
    ],
)
@pytest.mark.parametrize("field", ["errorCode", "error_code"])
def test_failure_depends_on_status_and_code(
    status: int, code: str | None, kind: type[sync_errors.UpstreamError], field: str
) -> None:
    """A refusal's code decides before its status. The code of a fault is ignored."""
    error = failure(status, {field: code})
    assert type(error) is kind
    assert (error.upstream_status, error.upstream_code) == (status, code)


@pytest.mark.parametrize("status", [302, 401, 408, 429, 500])
def test_only_refusals_message_reaches_callers(status: int) -> None:
    """A failure that is no refusal has its class's sentence, not Sync's message."""
    error = failure(status, {"message": "about the key"})
    assert error.detail == type(error).default_detail != ""
    assert failure(400, {"message": "about the file"}).detail == "about the file"


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("3601", MAX_RETRY_AFTER),
        ("9" * 400, MAX_RETRY_AFTER),
        (formatdate(NOW / 1000 + 30, usegmt=True), 30),
        (formatdate(NOW / 1000 - 30, usegmt=True), 0),
        (formatdate(NOW / 1000 + 86_400, usegmt=True), MAX_RETRY_AFTER),
        ("soon", DEFAULT_SYNC_RETRY_AFTER),
        ("-7", DEFAULT_SYNC_RETRY_AFTER),
        ("7.5", DEFAULT_SYNC_RETRY_AFTER),
        ("\N{ARABIC-INDIC DIGIT SEVEN}", DEFAULT_SYNC_RETRY_AFTER),
        ("", DEFAULT_SYNC_RETRY_AFTER),
        (None, DEFAULT_SYNC_RETRY_AFTER),
    ],
)
def test_retry_after_is_bounded(sent: str | None, seconds: float) -> None:
    """`Retry-After` is seconds or a date, an hour at most, and ten seconds if it can't be read."""
    assert failure(429, retry_after=sent).retry_after == seconds


@pytest.mark.parametrize("status", [400, 401, 500, 504])
def test_only_busy_sync_has_retry_after(status: int) -> None:
    """Without the header, only a 429 has a time to wait."""
    assert failure(status).retry_after is None


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        ("No.", "No."),
        (["a", 5, "b"], "a; b"),
        ("x" * 501, "x" * 500),
        (["x" * 300, "y" * 300], "x" * 300 + "; " + "y" * 198),
        ({"a": 1}, ""),
        (None, ""),
    ],
)
def test_refusal_has_sync_message(message: Any, detail: str) -> None:
    """The detail of a refusal is Sync's message, up to 500 characters."""
    assert failure(400, {"message": message}).detail == detail


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 504])
def test_other_failure_has_own_message(status: int) -> None:
    """Sync's message about its key, its plan or its faults does not reach the browser."""
    error = failure(status, {"message": "the key sk-1 is over its plan"})
    assert error.detail
    assert "sk-1" not in error.detail


@pytest.mark.parametrize("body", [None, [], "text", {"errorCode": 5}, {"errorCode": ["a"]}])
def test_malformed_code_is_ignored(body: Any) -> None:
    """A refusal without a code, or with a malformed one, has none."""
    assert failure(400, body).upstream_code is None
