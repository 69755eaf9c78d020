"""Errors as problem details: their fields, and their `Retry-After`."""

import pytest

from chalicelib.core import errors
from chalicelib.web import problems
from chalicelib.web.problems import DEFAULT_BROKER_RETRY_AFTER

KINDS = errors.all_kinds()


def headers(error: Exception) -> dict[str, str]:
    """Return the headers of the response to an error."""
    return problems.response(error, "/uploads", "an-id").headers


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_default_retry_after(kind: type[errors.BrokerError]) -> None:
    """An error without a time has a `Retry-After` only with the statuses that need one."""
    expected = str(DEFAULT_BROKER_RETRY_AFTER) if kind.status in {429, 503} else None
    assert headers(kind("x")).get("Retry-After") == expected


@pytest.mark.parametrize(
    ("seconds", "header"), [(0, "1"), (0.2, "1"), (1, "1"), (1.1, "2"), (7, "7"), (59.01, "60")]
)
def test_retry_after_is_whole(seconds: float, header: str) -> None:
    """A time is rounded up to whole seconds, at least one, whatever the status."""
    for kind in (errors.NotFound, errors.RateLimited, errors.StoreUnavailable):
        assert headers(kind("x", retry_after=seconds))["Retry-After"] == header


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_problem_has_all_fields(kind: type[errors.BrokerError]) -> None:
    """A problem has the fields of RFC 9457, those of the class, and those of the request."""
    response = problems.response(kind("What happened."), "/uploads", "an-id")
    assert response.status == kind.status
    assert response.body == {
        "type": f"urn:sync-upload-broker:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": "What happened.",
        "code": kind.code,
        "retryable": kind.retryable,
        "instance": "/uploads",
        "requestId": "an-id",
    }


def test_problem_has_fields_of_error() -> None:
    """An error without a detail repeats its title; its own fields and headers are sent along."""
    violation = {"pointer": "/size", "detail": "is required"}
    error = errors.InvalidInput(errors=(violation,), headers={"A": "b"}, fields={"limit": 5})
    response = problems.response(error, "/uploads", "an-id")
    body: dict[str, object] = dict(response.body or {})
    assert (body["detail"], body["errors"], body["limit"]) == (error.title, [violation], 5)
    assert response.headers == {"A": "b"}


def test_defect_reveals_nothing() -> None:
    """Any other exception is an internal error, and its text is not sent."""
    response = problems.response(ValueError("private"), "/uploads", "an-id")
    assert response.status == 500
    assert "private" not in str(response)
