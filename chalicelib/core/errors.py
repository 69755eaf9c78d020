"""Every failure that a caller can meet. `docs/errors.md` lists the same codes.

A `RequestError` is the caller's to mend. The failures of Sync are in `upstream_errors`; the others
are the broker's own.
"""

from typing import ClassVar


class BrokerError(Exception):
    """The base of all failures that have a code and a documented meaning.

    Attributes:
        status: HTTP status of the answer.
        code: One of the closed list in `docs/errors.md`.
        title: The same for every error of the class.
        retryable: Whether the same request may succeed later.
        detail: What happened this time, in words for users.
        errors: For invalid input, what is wrong with which field: dictionaries with `detail`
            and one of `pointer` (JSON pointer into the body), `parameter` or `header`.
        retry_after: Seconds until a retry makes sense, or None.
        headers: Further headers of the response.
        fields: Further fields of the problem.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "The broker failed"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str = "",
        *,
        errors: tuple[dict[str, str], ...] = (),
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
        fields: dict[str, str | int] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after
        self.headers = headers or {}
        self.fields = fields or {}


class RequestError(BrokerError):
    """The request can't be carried out as it stands."""


class InvalidJson(RequestError):
    """The body is missing, is no JSON, or is no JSON object."""

    status = 400
    code = "invalid_json"
    title = "The body is not a JSON object"


class InvalidIdempotencyKey(RequestError):
    """The header is not as it must be."""

    status = 400
    code = "invalid_idempotency_key"
    title = "The Idempotency-Key is malformed"


class RequestInProgress(RequestError):
    """The first request with the same key has not been answered yet."""

    status = 409
    code = "request_in_progress"
    title = "The first request with this key is still running"
    retryable = True


class IdempotencyKeyReused(RequestError):
    """The same key came with another body."""

    status = 422
    code = "idempotency_key_reused"
    title = "This Idempotency-Key belongs to another request"


class Unauthorized(RequestError):
    """No token, or one that does not hold."""

    status = 401
    code = "unauthorized"
    title = "A valid bearer token is required"


class ForbiddenOrigin(RequestError):
    """The broker asks for no token, and another site's page may have sent the request."""

    status = 403
    code = "forbidden_origin"
    title = "Requests from other sites are refused"


class NotFound(RequestError):
    """There is no such thing, or it belongs to somebody else."""

    status = 404
    code = "not_found"
    title = "Not found"


class MethodNotAllowed(RequestError):
    """The path exists, the method on it does not."""

    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"


class BodyTooLarge(RequestError):
    """The request's body is over the broker's bound."""

    status = 413
    code = "body_too_large"
    title = "The request's body is too large"


class UnsupportedMediaType(RequestError):
    """The request's body is not declared as JSON."""

    status = 415
    code = "unsupported_media_type"
    title = "The body must be application/json"


class InvalidInput(RequestError):
    """A member of the body, a parameter or a header is not as it must be."""

    status = 422
    code = "invalid_input"
    title = "The request has invalid members"


class QuotaExceeded(RequestError):
    """The caller has used up one of the quotas."""

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


class QueueFull(RequestError):
    """So many callers wait that no time can be promised."""

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
    """The API key or the tokens' secret can't be read from where it is kept."""

    status = 503
    code = "secrets_unavailable"
    title = "The broker's secrets can't be read"
    retryable = True


class Misconfigured(BrokerError):
    """A setting is missing or contradicts another."""

    status = 503
    code = "misconfigured"
    title = "The broker is not configured"


class InternalError(BrokerError):
    """A defect of the broker."""


def all_kinds(base: type[BrokerError] = BrokerError) -> "list[type[BrokerError]]":
    """List the classes that stand for one code each, in the order of the tree."""
    below = [kind for child in base.__subclasses__() for kind in all_kinds(child)]
    return below or [base]


def by_code(code: str) -> type[BrokerError]:
    """Return the class of a code; a code that this version does not know is a defect."""
    return next((kind for kind in all_kinds() if kind.code == code), InternalError)
