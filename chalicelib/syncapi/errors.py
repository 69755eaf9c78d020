"""Failures of Sync. An `OutcomeUnknown` was sent, and may have been carried out."""

from chalicelib.core.errors import BrokerError

# Sync's `errorCode`s of refusals that no repetition of the same request can change. All other
# refusals may mean that the file has not been uploaded yet, since nobody documents that status.
FINAL_CODES = frozenset(
    {"file_size_exceeds_plan_limit", "file_not_in_org_storage", "project_not_found"}
)


class UpstreamError(BrokerError):
    """Sync's API failed, or answered what the broker can't use.

    Attributes:
        upstream_status: The HTTP status of Sync's response, or None if there was none.
        upstream_code: Sync's own `errorCode`, or None.
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


class UpstreamBusy(UpstreamError):
    """Sync's rate limit is reached."""

    status = 503
    code = "upstream_busy"
    title = "Sync is busy"
    retryable = True


class UpstreamUnreachable(UpstreamError):
    """No connection to Sync; the request was never sent."""

    code = "upstream_unreachable"
    title = "Sync can't be reached"
    retryable = True


class OutcomeUnknown(UpstreamError):
    """The request was sent, and its answer was lost or is of no use."""

    retryable = True


class UpstreamTimeout(OutcomeUnknown):
    """Sync did not answer in time."""

    status = 504
    code = "upstream_timeout"
    title = "Sync did not answer in time"


class UpstreamFault(OutcomeUnknown):
    """Sync answered with a 5xx, with nonsense, or cut the connection."""

    code = "upstream_fault"
    title = "Sync failed"
