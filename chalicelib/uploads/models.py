"""Uploads: values and states. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from chalicelib.core import wording
from chalicelib.core.clock import HOUR, MINUTE, SECOND
from chalicelib.core.types import Json
from chalicelib.core.urls import normalized
from chalicelib.syncapi.models import Asset, AssetType

SLOWEST_BYTES_PER_SECOND = 64_000
LONGEST_TRY_PAUSE = 30 * SECOND


class Status(StrEnum):
    """The state of an upload. `docs/architecture.md` draws the transitions."""

    PENDING = "pending"
    REGISTERING = "registering"
    REGISTERED = "registered"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class NewFile:
    """A file that a browser wants to upload, validated.

    Attributes: as those of `Upload`.
    """

    file_name: str
    content_type: str
    size: int
    type: AssetType
    name: str | None = None
    project_id: str | None = None


@dataclass(frozen=True)
class NewUrl:
    """A public URL to register, validated.

    Attributes: as those of `Upload`.
    """

    url: str
    type: AssetType
    name: str | None = None
    project_id: str | None = None


@dataclass(frozen=True)
class Target:
    """A presigned URL that was given to the browser for one upload.

    Attributes:
        upload_url: Where the browser PUTs the bytes.
        url: The object's URL at Sync.
        issued_at: When it was presigned.
        expires_at: When storage stops accepting a new PUT, or the broker's own window ends.
    """

    upload_url: str
    url: str
    issued_at: int
    expires_at: int

    def is_fresh(self, now: int) -> bool:
        """Whether more than half of its life is left."""
        return self.expires_at - now > (self.expires_at - self.issued_at) / 2


@dataclass(frozen=True)
class Attempt:
    """One attempt to register an upload, or to reconcile an ambiguous earlier one.

    Attributes:
        id: Names the holder of the lease; a write that does not carry it is refused.
        lease_until: Until when nobody else may try.
        first_post_at: When the first POST with an ambiguous outcome was about to be sent.
        settle_at: Until when Sync may still carry out that POST. Before this time, a list without
            the asset proves nothing.
        post_id: Names the attempt that may POST, or may have done so. Reconciling keeps it.
        posts: How many POSTs were sent since the upload was last known to have no asset.
        scan: How far Sync's list has been read, as `ScanCursor` writes it; None if the next
            reconciliation begins with the newest asset.
    """

    id: str
    lease_until: int
    first_post_at: int
    settle_at: int
    post_id: str
    posts: int = 1
    scan: str | None = None


@dataclass(frozen=True)
class Upload:
    """One file, or one public URL, that is to become an asset.

    Attributes:
        id: 32 hex digits, unguessable.
        owner: The caller's id.
        status: Its state.
        created_at: When it was reserved.
        updated_at: When its state last changed.
        type: VIDEO, AUDIO or IMAGE.
        max_bytes: The largest real size that its caller was allowed when it began.
        file_name: The file's name, or None for a public URL.
        content_type: The type that was decided and signed, or None for a public URL.
        size: The declared size in bytes, or None for a public URL.
        name: The label that its caller chose, or None.
        project_id: Sync's project, or None.
        source_url: The public URL, or None for a file.
        targets: The presigned URLs that were given to the browser, oldest first.
        attempt: The registration that is running or has an ambiguous outcome.
        asset: Sync's asset as it was registered.
        error: `code` and `detail` of the problem that a failed upload repeats.
        due_at: When the sweep works on it, or None if nothing is left to do.
        discarded: Id of an asset that is to be deleted at Sync, or None.
        tried: Places in `targets` that Sync has refused, while others have not been tried yet.
        refused_at: When Sync had last refused every URL, or None.
        refused_before: When it had done so the time before.
        refusals: How many attempts in a row Sync refused because it saw no file.
        next_try_at: Until this time an attempt to register gets its response from the record.
    """

    id: str
    owner: str
    status: Status
    created_at: int
    updated_at: int
    type: AssetType
    max_bytes: int
    file_name: str | None = None
    content_type: str | None = None
    size: int | None = None
    name: str | None = None
    project_id: str | None = None
    source_url: str | None = None
    targets: tuple[Target, ...] = ()
    attempt: Attempt | None = None
    asset: Asset | None = None
    error: Json | None = None
    due_at: int | None = None
    discarded: str | None = None
    tried: tuple[int, ...] = ()
    refused_at: int | None = None
    refused_before: int | None = None
    refusals: int = 0
    next_try_at: int = 0

    @property
    def is_file(self) -> bool:
        """Whether the bytes come from a browser, not from a public URL."""
        return self.source_url is None

    @property
    def label(self) -> str:
        """Its name in a sentence: the file's name, or the caller's label."""
        name = self.file_name or self.name
        return wording.quoted(name, "The file" if self.is_file else "The link")

    @property
    def urls(self) -> tuple[str, ...]:
        """Where its bytes may be, the likeliest first."""
        if self.source_url is not None:
            return (self.source_url,)
        return tuple(target.url for target in reversed(self.targets))

    def is_at(self, url: str | None) -> bool:
        """Whether an asset's URL is one of its URLs, in any spelling."""
        return url is not None and normalized(url) in {normalized(one) for one in self.urls}

    @property
    def untried(self) -> tuple[int, ...]:
        """The indexes of the URLs to try next: the newest one, and those not refused yet.

        The newest one goes first, unless the last attempt had no time for the others.
        """
        newest = len(self.urls) - 1
        older = tuple(index for index in range(newest - 1, -1, -1) if index not in self.tried)
        return (*older, newest) if self.tried else (newest, *older)

    def url_at(self, index: int) -> str:
        """Return the URL at an index of `targets`, or the public URL."""
        return self.source_url or self.targets[index].url

    @property
    def ends_at(self) -> int:
        """Until when its bytes may still arrive.

        That is the end of the last URL's life, and for a PUT that began in time and is slow the
        larger of an hour and the time that the size takes at 64 kB/s.
        """
        last = max((target.expires_at for target in self.targets), default=self.created_at)
        return last + max(HOUR, (self.size or 0) * SECOND // SLOWEST_BYTES_PER_SECOND)


@dataclass(frozen=True)
class Lease:
    """The right to work on one upload's registration, until `attempt.lease_until`.

    Attributes:
        upload: The upload as it was when the lease was taken.
        attempt: The attempt that holds the lease.
    """

    upload: Upload
    attempt: Attempt


@dataclass(frozen=True)
class Page:
    """Some uploads, newest first, and the cursor of the next page (None on the last page)."""

    items: tuple[Upload, ...]
    next_cursor: str | None


def try_pause(refusals: int) -> int:
    """Return the pause after so many refusals in a row: 1, 2, 4 ... 30 seconds."""
    return min(LONGEST_TRY_PAUSE, SECOND << min(refusals - 1, 5))


def next_due(created_at: int, now: int) -> int:
    """Return when the sweep works on an upload again: after a minute, then with growing pauses."""
    return now + min(HOUR, max(MINUTE, (now - created_at) // 2))
