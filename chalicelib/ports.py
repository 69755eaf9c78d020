"""What the use cases need of the records and of sync.: the shapes that both sides keep to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from chalicelib.attempts import Attempt, Candidates, Walk
from chalicelib.core.types import Json
from chalicelib.quotas.limits import Limits
from chalicelib.quotas.usage import Reservation, Standing
from chalicelib.syncapi.models import AssetType, Presigned
from chalicelib.uploads import Page, RequestKey, Target, Upload


@dataclass(frozen=True)
class Claim:
    """What a conditional write came to.

    Attributes:
        granted: Whether it was written.
        upload: The upload after the write, or as it stood when the write was refused; None if
            there is none, or if the refusal does not tell.
    """

    granted: bool
    upload: Upload | None


@dataclass(frozen=True)
class Claimed:
    """Which uploads recorded an asset.

    Attributes:
        owners: The uploads; several where Sync gives one asset for one public URL.
        is_file: Whether it was a file, not a public URL.
        address: The address by which it was registered; None where sync. gave it another one.
        deleting_until: Until when an attempt to delete it at Sync may be under way.
    """

    owners: frozenset[str]
    is_file: bool
    address: str | None
    deleting_until: int = 0


@dataclass(frozen=True)
class Due:
    """An upload that the sweep has to look after.

    Attributes:
        id: Its id.
        owner: Its caller.
        at: Since when it is due, in milliseconds since 1970.
    """

    id: str
    owner: str
    at: int


@dataclass(frozen=True)
class Binding:
    """A caller's `Idempotency-Key` and its upload.

    Attributes:
        pk: The key's item.
        upload_id: The upload that it stands for, or is about to.
        is_done: Whether the upload is there.
    """

    pk: str
    upload_id: str
    is_done: bool


class Bindings(Protocol):
    """What the use cases need of the keys; `idempotency.Bindings` says what each call does."""

    def take(self, caller_id: str, key: RequestKey, upload_id: str) -> Binding: ...
    def release(self, binding: Binding, *, even_if_bound: bool = False) -> None: ...


class Ledger(Protocol):
    """What the use cases need of the quotas; `ledger.Ledger` says what each call does."""

    def reserve(self, caller_id: str, limits: Limits, upload_id: str, size: int) -> Standing: ...
    def give_back(self, caller_id: str, *reservations: Reservation) -> None: ...
    def read(self, caller_id: str) -> Standing: ...
    def allow(self, purpose: str, minute: int, wanted: int, most: int) -> int: ...


class Store(Protocol):
    """What the use cases need of the records; `store.Store` says what each call does."""

    def create(self, upload: Upload, used: Standing, binding: Binding | None = None) -> None: ...
    def discard(self, upload: Upload, binding: Binding | None, *, was_sent: bool) -> None: ...
    def get(self, upload_id: str, owner: str) -> Upload | None: ...
    def get_asset(self, asset_id: str, owner: str) -> Upload | None: ...
    def list_uploads(self, owner: str, limit: int, cursor: str | None) -> Page: ...
    def list_assets(self, owner: str, limit: int, cursor: str | None) -> Page: ...
    def due(self, shard: str, now: int, limit: int) -> tuple[Due, ...]: ...
    def backlog(self, now: int) -> int: ...
    def lease_post(self, upload_id: str, owner: str, attempt: Attempt, now: int) -> Claim: ...
    def lease_look(self, upload: Upload, attempt: Attempt, now: int) -> Claim: ...
    def lease_again(self, upload: Upload, attempt: Attempt) -> Claim: ...
    def release(self, upload: Upload, now: int, walk: Walk | None = None) -> Claim: ...
    def reopen(
        self, upload: Upload, now: int, tried: frozenset[int] = ..., *, is_refused: bool = ...
    ) -> Claim: ...
    def fail(
        self, upload: Upload, problem: Json, now: int, refused: Json | None = None
    ) -> Claim: ...
    def record(self, upload: Upload, asset: Json, *, looked_up: bool, now: int) -> Claim: ...
    def claims(self, asset_ids: list[str]) -> dict[str, Claimed]: ...
    def begin_deletion(self, upload: Upload, asset_id: str, now: int) -> bool: ...
    def enter(self, upload: Upload) -> None: ...
    def others_registering(self, upload: Upload) -> dict[str, int]: ...
    def renew(self, upload: Upload, target: Target, now: int) -> Claim: ...
    def cancel(self, upload_id: str, owner: str, now: int) -> Claim: ...
    def expire(self, upload: Upload, ends_at: int, now: int) -> Claim: ...
    def postpone(self, upload_id: str, due_at: int) -> None: ...
    def forget(self, upload_id: str) -> None: ...


class Upstream(Protocol):
    """What the use cases need of sync.; `upstream.Upstream` says what each call does."""

    def presign(
        self, file_name: str, content_type: str, size: int, admit: Callable[[], None]
    ) -> Presigned: ...
    def register(
        self, url: str, asset_type: AssetType, name: str | None, project: str | None
    ) -> Json: ...
    def read(self, asset_id: str) -> Json: ...
    def look(self, upload: Upload, since: int, cursor: str | None) -> Candidates: ...
    def delete(self, asset_id: str) -> None: ...
