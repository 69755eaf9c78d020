"""The callers' quotas in DynamoDB: `quotas.py` says what an item holds."""

from collections.abc import Callable, Mapping

from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table
from chalicelib.core.types import Json
from chalicelib.quotas import usage
from chalicelib.quotas.limits import Limits
from chalicelib.quotas.usage import Reservation, Standing
from chalicelib.syncapi.models import size_of
from chalicelib.uploads import Upload


class Ledger:
    """The quotas that callers have used, counted across all containers.

    Args:
        table: The broker's table.
        now: Milliseconds since 1970.
    """

    def __init__(self, table: Table, now: Callable[[], int]) -> None:
        self._table = table
        self._now = now

    def reserve(self, caller_id: str, limits: Limits, upload_id: str, size: int) -> Standing:
        """Take a place for an upload, by one atomic write.

        Returns:
            What the caller has used, this place included.

        Raises:
            QuotaExceeded: There is no place.
        """
        while True:
            now = self._now()
            day = usage.day_of(now)
            written = self._table.write(_reservation(caller_id, limits, upload_id, size, now))
            used = usage.standing(codec.plain(written.item or {}), day)
            stale = used.stale(now)
            if stale:
                self.give_back(caller_id, *stale)
                used = used.without_stale(now)
            # boto3 repeats a write whose answer was lost; the repetition finds the first one.
            if written.granted or any(one.upload_id == upload_id for one in used.reservations):
                return used
            if not stale:
                raise usage.refusal(used, limits, size, now)

    def give_back(self, caller_id: str, *reservations: Reservation) -> None:
        """Undo reservations: no address was handed out for them."""
        for one in reservations:
            day = usage.day_of(one.at)
            self._table.write(
                Change(
                    pk=f"quota#{caller_id}",
                    condition="attribute_exists(#place)",
                    names={"place": f"creating#{one.upload_id}"},
                    adds={"open": -1, f"uploads#{day}": -1, f"bytes#{day}": -one.size},
                    removes=(f"creating#{one.upload_id}",),
                )
            )

    def read(self, caller_id: str) -> Standing:
        """Read what a caller has used."""
        item, now = self._table.get(f"quota#{caller_id}"), self._now()
        used = usage.standing(codec.plain(item or {}), usage.day_of(now))
        return used.without_stale(now)

    def allow(self, purpose: str, minute: int, wanted: int, most: int) -> int:
        """Take a part of what may be done in a minute by all containers together.

        Returns:
            How much of `wanted` was given; nothing when another container was faster.
        """
        pk = f"minute#{purpose}"
        item = self._table.get(pk)
        used = codec.plain(item) if item else {"minute": 0, "used": 0}
        if int(used["minute"]) == minute + 1:
            minute += 1  # A clock that is ahead has begun it; it must not begin once more.
        spent = int(used["used"]) if int(used["minute"]) == minute else 0
        given = max(0, min(wanted, most - spent))
        written = self._table.write(
            Change(
                pk=pk,
                condition="attribute_not_exists(#pk) OR (#minute = :minute AND #used = :used)",
                values={"minute": int(used["minute"]), "used": int(used["used"])},
                sets={"minute": minute, "used": spent + given},
            )
        )
        return given if written.granted else 0


def _reservation(caller_id: str, limits: Limits, upload_id: str, size: int, now: int) -> Change:
    day = usage.day_of(now)
    # The most that may be there before this upload is added.
    values = {"open": limits.max_open_uploads - 1, "uploads": limits.uploads_per_day - 1}
    if limits.bytes_per_day is not None:
        # The size of a public URL is not known yet, so one byte must be left for it.
        values["bytes"] = limits.bytes_per_day - max(size, 1)
    rules = ["attribute_not_exists(#place)", *(_at_most(*most) for most in values.items())]
    return Change(
        pk=f"quota#{caller_id}",
        condition=" AND ".join(rules),
        names={
            "place": f"creating#{upload_id}",
            "uploads": f"uploads#{day}",
            "bytes": f"bytes#{day}",
        },
        values=values,
        sets={f"creating#{upload_id}": f"{now}#{size}"},
        adds={"open": 1, f"uploads#{day}": 1, f"bytes#{day}": size},
    )


def _at_most(name: str, most: int) -> str:
    """Say that nothing was counted yet, or not too much; below 0 not even nothing will do."""
    unused = f"attribute_not_exists(#{name}) OR " if most >= 0 else ""
    return f"({unused}#{name} <= :{name})"


def settle(upload: Upload, used: Standing) -> Change:
    """Turn a reservation into an upload: part of the transaction that writes the upload.

    It is refused when the reservation was given back meanwhile, as one that took too long.
    """
    place = f"creating#{upload.id}"
    return Change(
        pk=f"quota#{upload.owner}",
        condition="attribute_exists(#place)",
        names={"place": place},
        removes=(place, *used.outdated),
    )


def close(owner: str, correction: Mapping[str, int] | None = None) -> Change:
    """Give the open place back: part of the transaction that ends an upload."""
    return Change(pk=f"quota#{owner}", adds={"open": -1, **(correction or {})})


def correction(upload: Upload, asset: Json) -> dict[str, int]:
    """Charge the real bytes in place of the declared ones, to the day of the beginning."""
    real_size = size_of(asset)
    more = 0 if real_size is None else real_size - (upload.size or 0)
    return {f"bytes#{usage.day_of(upload.created_at)}": more} if more else {}


def refund(upload: Upload, *, is_counted: bool) -> Change:
    """Give everything back: part of the transaction that takes the upload's record back.

    A counted one is refused when the caller had its refunds of the day. Without that bound, a
    request that Sync refuses could be repeated for ever within a quota of one.
    """
    day = usage.day_of(upload.created_at)
    size = upload.size or 0
    adds: dict[str, int | frozenset[str]] = {
        "open": -1,
        f"uploads#{day}": -1,
        f"bytes#{day}": -size,
    }
    pk = f"quota#{upload.owner}"
    if not is_counted:
        return Change(pk=pk, adds=adds)
    return Change(
        pk=pk,
        condition="attribute_not_exists(#refunds) OR #refunds < :most",
        names={"refunds": f"refunds#{day}"},
        values={"most": usage.MOST_REFUNDS},
        adds={**adds, f"refunds#{day}": 1},
    )
