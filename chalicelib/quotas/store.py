"""The callers' quotas in DynamoDB; `usage.py` describes the item."""

from collections.abc import Mapping

from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table
from chalicelib.core.clock import Clock
from chalicelib.quotas.limits import Limits
from chalicelib.quotas.usage import MOST_REFUNDS, Reservation, Usage, day_of, read_usage, refusal


class QuotaStore:
    """The quotas that callers have used, counted across all containers.

    Args:
        table: The broker's table.
        clock: The time.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    def reserve(self, caller_id: str, limits: Limits, upload_id: str, size: int) -> Usage:
        """Reserve the quota of one upload, by one atomic write.

        Returns:
            What the caller has used, including this reservation.

        Raises:
            QuotaExceeded: A limit is reached.
        """
        while True:
            now = self._clock.now()
            day = day_of(now)
            written = self._table.write(_reservation(caller_id, limits, upload_id, size, now))
            used = read_usage(codec.plain(written.item or {}), day)
            stale = used.stale(now)
            if stale:
                self.release(caller_id, *stale)
                used = used.without_stale(now)
            # boto3 repeats a write whose response was lost, and the first one refuses the second.
            if written.granted or any(one.upload_id == upload_id for one in used.reservations):
                return used
            if not stale:
                raise refusal(used, limits, size, now)

    def release(self, caller_id: str, *reservations: Reservation) -> None:
        """Undo reservations of uploads that were not written."""
        for one in reservations:
            day = day_of(one.at)
            self._table.write(
                Change(
                    pk=f"quota#{caller_id}",
                    condition="attribute_exists(#reservation)",
                    names={"reservation": f"creating#{one.upload_id}"},
                    adds={"open": -1, f"uploads#{day}": -1, f"bytes#{day}": -one.size},
                    removes=(f"creating#{one.upload_id}",),
                )
            )

    def read(self, caller_id: str) -> Usage:
        """Return what a caller has used."""
        item, now = self._table.get(f"quota#{caller_id}"), self._clock.now()
        used = read_usage(codec.plain(item or {}), day_of(now))
        return used.without_stale(now)

    def allow(self, purpose: str, minute: int, wanted: int, most: int) -> int:
        """Take a part of a number that all containers share in each minute.

        Returns:
            How much of `wanted` was granted; 0 if another container was faster.
        """
        pk = f"minute#{purpose}"
        item = self._table.get(pk)
        used = codec.plain(item) if item else {"minute": 0, "used": 0}
        if int(used["minute"]) == minute + 1:
            minute += 1  # A clock that is ahead has begun this minute; it must not begin twice.
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
    day = day_of(now)
    # The largest counts to which this upload may be added.
    values = {"open": limits.max_open_uploads - 1, "uploads": limits.uploads_per_day - 1}
    if limits.bytes_per_day is not None:
        # The size of a public URL is unknown, so one byte must be left for it.
        values["bytes"] = limits.bytes_per_day - max(size, 1)
    rules = ["attribute_not_exists(#reservation)", *(_at_most(*most) for most in values.items())]
    return Change(
        pk=f"quota#{caller_id}",
        condition=" AND ".join(rules),
        names={
            "reservation": f"creating#{upload_id}",
            "uploads": f"uploads#{day}",
            "bytes": f"bytes#{day}",
        },
        values=values,
        sets={f"creating#{upload_id}": f"{now}#{size}"},
        adds={"open": 1, f"uploads#{day}": 1, f"bytes#{day}": size},
    )


def _at_most(name: str, most: int) -> str:
    """Return the condition that a count is at most a number, or absent if the number allows it."""
    unused = f"attribute_not_exists(#{name}) OR " if most >= 0 else ""
    return f"({unused}#{name} <= :{name})"


def settle(caller_id: str, upload_id: str, used: Usage) -> Change:
    """Turn a reservation into an upload, in the transaction that writes the upload.

    It is refused if the reservation was released in the meantime because it took too long.
    """
    reservation = f"creating#{upload_id}"
    return Change(
        pk=f"quota#{caller_id}",
        condition="attribute_exists(#reservation)",
        names={"reservation": reservation},
        removes=(reservation, *used.outdated),
    )


def close(caller_id: str, more_bytes: Mapping[str, int] | None = None) -> Change:
    """Count one open upload less, in the transaction that ends an upload.

    Args:
        caller_id: The upload's owner.
        more_bytes: The attributes of `byte_correction` to charge as well.
    """
    return Change(pk=f"quota#{caller_id}", adds={"open": -1, **(more_bytes or {})})


def byte_correction(created_at: int, declared: int, real: int | None) -> dict[str, int]:
    """Charge the real bytes in place of the declared ones, to the day on which the upload began."""
    more = 0 if real is None else real - declared
    return {f"bytes#{day_of(created_at)}": more} if more else {}


def refund(caller_id: str, created_at: int, size: int, *, is_counted: bool) -> Change:
    """Give everything back, in the transaction that deletes the upload's record.

    A counted refund is refused if the caller has had its refunds of the day. Without that bound, a
    request that Sync refuses could be repeated for ever within a quota of one.
    """
    day = day_of(created_at)
    adds: dict[str, int | frozenset[str]] = {
        "open": -1,
        f"uploads#{day}": -1,
        f"bytes#{day}": -size,
    }
    pk = f"quota#{caller_id}"
    if not is_counted:
        return Change(pk=pk, adds=adds)
    return Change(
        pk=pk,
        condition="attribute_not_exists(#refunds) OR #refunds < :most",
        names={"refunds": f"refunds#{day}"},
        values={"most": MOST_REFUNDS},
        adds={**adds, f"refunds#{day}": 1},
    )
