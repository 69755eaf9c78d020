"""Sync's error bodies, in one place.

`Problem` is a refusal in the vendor's documented shape: `message`, `statusCode`, and where it is
known `errorCode` and `error`. Codes without a documented status come with a status of `Behavior`.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any


class Problem(Exception):  # noqa: N818 - the word of RFC 9457 for what it renders
    """A call is refused.

    Args:
        status: HTTP status.
        message: For people; clients branch on `code`.
        code: The `errorCode`, left out when None.
        field: The input's field that is to blame, left out when None.
        headers: Further headers of the answer.
        terse: Leave out `error`, as the second known shape of a 401 does.
    """

    def __init__(  # noqa: PLR0913 - each is one member of the vendor's body
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        terse: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.field = field
        self.headers = dict(headers or {})
        self.terse = terse

    def body(self, message_shape: str) -> dict[str, Any]:
        """Give the JSON body.

        Args:
            message_shape: `string`, or `list` for a list of one string; both are documented.
        """
        body: dict[str, Any] = {
            "statusCode": self.status,
            "message": [self.message] if message_shape == "list" else self.message,
        }
        if self.code is not None:
            body["errorCode"] = self.code
        if self.field is not None:
            body["field"] = self.field
        if not self.terse:
            body["error"] = HTTPStatus(self.status).phrase
        return body


def invalid(field: str, message: str, status: int = 400) -> Problem:
    """Input that cannot be used; `message` goes on where the field's name ends."""
    return Problem(status, f"{field} {message}", field=field)


def rate_limited(retry_after: float | None) -> Problem:
    """429 exactly as documented.

    Args:
        retry_after: Seconds until a place is free, or None to send no `Retry-After`.
    """
    headers = {} if retry_after is None else {"Retry-After": str(max(1, math.ceil(retry_after)))}
    return Problem(
        429,
        "Rate limit exceeded. Please try again later.",
        code="rate_limit_exceeded",
        headers=headers,
    )


def key_missing() -> Problem:
    """401 for a call without a key."""
    return Problem(401, "Either Cookie or x-api-key header must be provided")


def key_wrong() -> Problem:
    """401 for a call with a key that nobody has."""
    return Problem(401, "Unauthorized", terse=True)


def asset_not_found(asset_id: str) -> Problem:
    """404 for an id that no live asset has."""
    return Problem(404, f"Asset {asset_id} not found", code="asset_not_found")


def project_not_found(project_id: str) -> Problem:
    """422 for a foreign or stale project."""
    return Problem(
        422, f"Project {project_id} not found", code="project_not_found", field="projectId"
    )
