"""Failures of Sync. After an `OutcomeUnknown` the request may have been carried out."""

from chalicelib.core.errors import BrokerError

# The `errorCode`s of refusals that a repetition of the same request can't change. Any other refusal
# may mean that the file has not been uploaded yet, because Sync does not document that one.
FINAL_CODES = frozenset(
    {"file_size_exceeds_plan_limit", "file_not_in_org_storage", "project_not_found"}
)


class UpstreamError(BrokerError):
    """Sync failed, or its response is unusable.

    Attributes:
        upstream_status: The HTTP status of Sync's response, or None without a response.
        upstream_code: The `errorCode` of Sync's response, or None.
    """

    status = 502

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: float | None = None,
        upstream_status: int | None = None,
        upstream_code: str | None = None,
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.upstream_status = upstream_status
        self.upstream_code = upstream_code


class UpstreamRefused(UpstreamError):
    """Sync refused the request."""

    code = "upstream_refused"
    title = "Sync refused the request"

    @property
    def is_final(self) -> bool:
        """Whether the same request can never succeed."""
        return self.upstream_code in FINAL_CODES


class UpstreamUnauthorized(UpstreamError):
    """Sync refused the broker's key, plan or payment."""

    code = "upstream_unauthorized"
    title = "The broker is not allowed to use Sync"
    default_detail = "This service can't use Sync at the moment. Tell those who run it."


class UpstreamBusy(UpstreamError):
    """Sync's rate limit is reached."""

    status = 503
    code = "upstream_busy"
    title = "Sync is busy"
    retryable = True
    default_detail = "Sync is busy. Try again in a moment."


class UpstreamUnreachable(UpstreamError):
    """There was no connection to Sync, so nothing was sent."""

    code = "upstream_unreachable"
    title = "Sync can't be reached"
    retryable = True
    default_detail = "Sync can't be reached. Try again in a moment."


class UpstreamUnavailable(UpstreamError):
    """Sync has not responded for a while, so nothing was sent."""

    status = 503
    code = "upstream_unavailable"
    title = "Sync is down"
    retryable = True
    default_detail = "Sync does not respond at the moment. Try again in a few seconds."


class OutcomeUnknown(UpstreamError):
    """The request was sent, but its response was lost or is unusable."""

    retryable = True


class UpstreamTimeout(OutcomeUnknown):
    """Sync did not respond in time."""

    status = 504
    code = "upstream_timeout"
    title = "Sync did not respond in time"
    default_detail = "Sync did not respond in time. Try again in a moment."


class UpstreamFault(OutcomeUnknown):
    """Sync responded with a 5xx or with nonsense, or the connection broke."""

    code = "upstream_fault"
    title = "Sync failed"
    default_detail = "Sync failed. Try again in a moment."
