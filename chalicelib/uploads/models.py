"""The upload: its value, its states, and the moves between them. Pure.

Times are whole milliseconds since 1970 (UTC), as they are stored.
"""

from dataclasses import dataclass
from enum import StrEnum

from chalicelib.core import wording
from chalicelib.core.clock import HOUR, MINUTE
from chalicelib.core.types import Json
from chalicelib.core.urls import canonical
from chalicelib.syncapi.models import AssetType

SLOWEST_BYTES_PER_SECOND = 64_000


class Status(StrEnum):
    """Where an upload stands. `docs/architecture.md` draws the moves."""

    PENDING = "pending"
    REGISTERING = "registering"
    REGISTERED = "registered"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class NewFile:
    """A file that a browser wants to upload, as it was validated.

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
    """A public URL to register, as it was validated.

    Attributes: as those of `Upload`.
    """

    url: str
    type: AssetType
    name: str | None = None
    project_id: str | None = None


@dataclass(frozen=True)
class Target:
    """A presigned address that was handed out for one upload.

    Attributes:
        upload_url: Where the browser PUTs the bytes.
        url: The object's address at sync.
        issued_at: When it was presigned.
        expires_at: When storage stops accepting a new PUT, or the broker's own window ends.
    """

    upload_url: str
    url: str
    issued_at: int
    expires_at: int

    def is_fresh(self, now: int) -> bool:
        """Say whether more than half of its life is left."""
        return self.expires_at - now > (self.expires_at - self.issued_at) / 2


@dataclass(frozen=True)
class Attempt:
    """One try to register, or to find out what became of an earlier one.

    Attributes:
        id: Names the holder of the lease; a write that does not carry it is refused.
        lease_until: Until when nobody else may try.
        first_post_at: When the first POST of an unknown outcome was about to be sent.
        settle_at: Until when that POST may still be carried out by sync., so that a look that
            finds nothing proves nothing before.
        post_id: Names the attempt that may POST, or may have done so; a look does not change it.
        posts: How many POSTs were sent since the upload was last known to have no asset at Sync.
        scan: How far Sync's list has been read, as `ScanCursor` writes it; None where the next
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
    """One file, or one public URL, on its way to be an asset.

    Attributes:
        id: 32 hex digits, unguessable.
        owner: The caller's id.
        status: Its state.
        created_at: When it was reserved.
        updated_at: When its state last changed.
        type: VIDEO, AUDIO or IMAGE.
        max_bytes: The largest real size that its caller was allowed when it was begun.
        file_name: The file's name, or None for a public URL.
        content_type: The type that was decided and signed, or None for a public URL.
        size: The declared size in bytes, or None for a public URL.
        name: A label for people, or None.
        project_id: sync.'s project, or None.
        source_url: The public URL, or None for a file.
        targets: The presigned addresses that were handed out, oldest first.
        attempt: The registration that is under way or of unknown outcome.
        asset: sync.'s asset as it was registered.
        error: `code` and `detail` of the problem that a failed upload repeats.
        due_at: When the sweep looks after it, or None when nothing is left to do.
        discarded: Id of an asset that is to be deleted at sync., or None.
        tried: Places in `targets` that sync. has refused, while some were not tried yet.
        refused_at: When sync. had last refused every address, or None.
        refused_before: When it had done so the time before.
        refusals: How many attempts in a row Sync refused because it saw no file.
        next_try_at: Before this time the record alone answers an attempt to register.
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
    asset: Json | None = None
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
        """What to call it in a sentence: the name of the file, else the label for people."""
        name = self.file_name or self.name
        return wording.quoted(name, "The file" if self.is_file else "The link")

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where its bytes may lie at sync., the likeliest first."""
        if self.source_url is not None:
            return (self.source_url,)
        return tuple(target.url for target in reversed(self.targets))

    def is_at(self, url: object) -> bool:
        """Say whether an asset's URL is one of its addresses, in whatever spelling."""
        known = {canonical(address) for address in self.addresses}
        return isinstance(url, str) and canonical(url) in known

    @property
    def untried(self) -> tuple[int, ...]:
        """Places of the addresses to try next: the newest, and those not refused yet.

        The newest goes first, but not where there was no time for the others the last time.
        """
        newest = len(self.addresses) - 1
        older = tuple(place for place in range(newest - 1, -1, -1) if place not in self.tried)
        return (*older, newest) if self.tried else (newest, *older)

    def address(self, place: int) -> str:
        """Return the address at a place of `targets`, or the public URL."""
        return self.source_url or self.targets[place].url

    @property
    def ends_at(self) -> int:
        """Until when its bytes may still land.

        The end of the last address's life, and the grace for a PUT that began in time and is slow:
        the larger of an hour and what the size takes at 64 kB/s.
        """
        last = max((target.expires_at for target in self.targets), default=self.created_at)
        return last + max(HOUR, (self.size or 0) * 1000 // SLOWEST_BYTES_PER_SECOND)


LONGEST_TRY_PAUSE = 30_000


def try_pause(refusals: int) -> int:
    """Return how long to wait after so many refusals in a row: 1, 2, 4 ... 30 seconds."""
    return min(LONGEST_TRY_PAUSE, 1000 << min(refusals - 1, 5))


def next_look(created_at: int, now: int) -> int:
    """Say when the sweep looks after an upload again: after a minute, then with growing pauses."""
    return now + min(HOUR, max(MINUTE, (now - created_at) // 2))


@dataclass(frozen=True)
class Page:
    """Some uploads, newest first, and where the next page starts (None: there is none)."""

    items: tuple[Upload, ...]
    next_cursor: str | None
