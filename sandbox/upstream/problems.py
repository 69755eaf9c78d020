"""Sync's error bodies.

`Problem` is an error in the vendor's documented shape: `message`, `statusCode`, and `errorCode` and
`error` if they are known. If a code has no documented status, `Behavior` has a switch for it.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any


class Problem(Exception):  # noqa: N818 - RFC 9457's word for such a body
    """A call is refused.

    Args:
        status: HTTP status.
        message: For developers; clients branch on `code`.
        code: The `errorCode`, left out if None.
        field: The invalid field of the input, left out if None.
        headers: Further headers of the response.
        terse: Leave out `error`, as the second known shape of a 401 does.
    """

    def __init__(  # noqa: PLR0913 - each is one field of the vendor's body
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
        """Return the JSON body.

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
    """Return the refusal of an invalid field; `message` continues after the field's name."""
    return Problem(status, f"{field} {message}", field=field)


def rate_limited(retry_after: float | None) -> Problem:
    """Return the documented 429.

    Args:
        retry_after: Seconds until a call is allowed, or None to send no `Retry-After`.
    """
    headers = {} if retry_after is None else {"Retry-After": str(max(1, math.ceil(retry_after)))}
    return Problem(
        429,
        "Rate limit exceeded. Please try again later.",
        code="rate_limit_exceeded",
        headers=headers,
    )


def key_missing() -> Problem:
    """Return the 401 for a call without a key."""
    return Problem(401, "Either Cookie or x-api-key header must be provided")


def key_wrong() -> Problem:
    """Return the 401 for a call with an unknown key."""
    return Problem(401, "Unauthorized", terse=True)


def asset_not_found(asset_id: str) -> Problem:
    """Return the 404 for an id that no asset has."""
    return Problem(404, f"Asset {asset_id} not found", code="asset_not_found")


def project_not_found(project_id: str) -> Problem:
    """Return the 422 for a project that is deleted or of another organisation."""
    return Problem(
        422, f"Project {project_id} not found", code="project_not_found", field="projectId"
    )
