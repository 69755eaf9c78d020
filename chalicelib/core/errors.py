"""The base of all errors, and those that belong to no capability or to several.

`docs/errors.md` lists every code and draws the tree. A `RequestError` is a fault of the request;
`syncapi/errors.py` has the failures of Sync, `uploads/errors.py` those of uploads.
"""

from typing import ClassVar


class BrokerError(Exception):
    """The base of all failures that have a code and a documented meaning.

    Attributes:
        status: HTTP status of the response.
        code: One of the closed list in `docs/errors.md`.
        title: The same for every error of the class.
        retryable: Whether the same request may succeed later.
        default_detail: The detail of an error that is raised without one.
        detail: What happened this time, in words for end users.
        errors: For invalid input, what is wrong with each field: dictionaries with `detail` and
            one of `pointer` (JSON pointer into the body), `parameter` or `header`.
        retry_after: Seconds until a retry makes sense, or None.
        headers: Further headers of the response.
        fields: Further fields of the problem.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "The broker failed"
    retryable: ClassVar[bool] = False
    default_detail: ClassVar[str] = ""

    def __init__(
        self,
        detail: str = "",
        *,
        errors: tuple[dict[str, str], ...] = (),
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
        fields: dict[str, str | int] | None = None,
    ) -> None:
        self.detail = detail or self.default_detail
        super().__init__(self.detail)
        self.errors = errors
        self.retry_after = retry_after
        self.headers = headers or {}
        self.fields = fields or {}


class RequestError(BrokerError):
    """The request is at fault."""


class InvalidJson(RequestError):
    """The body is missing, or is not a JSON object."""

    status = 400
    code = "invalid_json"
    title = "The body is not a JSON object"


class InvalidIdempotencyKey(RequestError):
    """The `Idempotency-Key` is malformed."""

    status = 400
    code = "invalid_idempotency_key"
    title = "The Idempotency-Key is malformed"


class RequestInProgress(RequestError):
    """The first request with the same key is still running."""

    status = 409
    code = "request_in_progress"
    title = "The first request with this key is still running"
    retryable = True


class IdempotencyKeyReused(RequestError):
    """The same key was used with another body."""

    status = 422
    code = "idempotency_key_reused"
    title = "This Idempotency-Key belongs to another request"


class Unauthorized(RequestError):
    """The request has no valid token."""

    status = 401
    code = "unauthorized"
    title = "A valid bearer token is required"


class ForbiddenOrigin(RequestError):
    """The broker needs no token, and a page of another site may have sent the request."""

    status = 403
    code = "forbidden_origin"
    title = "Requests from other sites are refused"


class NotFound(RequestError):
    """The resource does not exist, or belongs to another caller."""

    status = 404
    code = "not_found"
    title = "Not found"


class MethodNotAllowed(RequestError):
    """The path exists, but not with this method."""

    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"


class BodyTooLarge(RequestError):
    """The request's body is too large."""

    status = 413
    code = "body_too_large"
    title = "The request's body is too large"


class UnsupportedMediaType(RequestError):
    """The request's body is not declared as JSON."""

    status = 415
    code = "unsupported_media_type"
    title = "The body must be application/json"


class InvalidInput(RequestError):
    """A field of the body, a parameter or a header is invalid."""

    status = 422
    code = "invalid_input"
    title = "The request has invalid fields"


class QuotaExceeded(RequestError):
    """The caller has used up a quota."""

    status = 429
    code = "quota_exceeded"
    title = "Your quota is used up"
    retryable = True


class RateLimited(RequestError):
    """Too much is asked of Sync, by the caller or by all, so that this has to wait."""

    status = 429
    code = "rate_limited"
    title = "Too many requests"
    retryable = True


class QueueFull(RateLimited):
    """So many callers wait that there will be room only after twice the longest wait."""

    status = 503
    code = "queue_full"
    title = "Too many requests are waiting"
    retryable = True


class StoreUnavailable(BrokerError):
    """DynamoDB can't be reached or refuses the broker."""

    status = 503
    code = "store_unavailable"
    title = "The broker's records can't be reached"
    retryable = True


class SecretsUnavailable(BrokerError):
    """The API key, or the secret of the tokens, can't be read."""

    status = 503
    code = "secrets_unavailable"
    title = "The broker's secrets can't be read"
    retryable = True


class Misconfigured(BrokerError):
    """A setting is missing or contradicts another."""

    status = 503
    code = "misconfigured"
    title = "The broker is not configured"
    default_detail = "This service is not set up correctly. Tell those who run it."


class InternalError(BrokerError):
    """The broker has a defect."""


def all_kinds(base: type[BrokerError] = BrokerError) -> "list[type[BrokerError]]":
    """Return the classes that have a code each, in the order of the tree."""
    below = [kind for child in base.__subclasses__() for kind in all_kinds(child)]
    # The root's code is that of a defect, which has a class below it.
    has_code = not below or ("code" in vars(base) and base is not BrokerError)
    return [base, *below] if has_code else below


def by_code(code: str) -> type[BrokerError]:
    """Return the class of a code; an unknown code is a defect."""
    return next((kind for kind in all_kinds() if kind.code == code), InternalError)
