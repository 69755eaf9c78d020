"""Limits how often anything is registered with Sync: for each caller, and for all together.

One item holds all of it:

    limit#registration
      minute, count       how many registrations were permitted in which minute of the clock
      pausedUntil         nothing is registered before this time, because Sync answered 429
      by#<caller>         when the caller's latest registrations were permitted; the name is the
                          first half of the caller's id, since the item must stay small
      hosts               the hosts of Sync's storage that presigns named

Every POST of an asset takes a permit by one conditional update. Its condition compares the caller's
own attribute with what was read before, so two requests of one caller can't use the same permit.
Different callers never refuse each other's updates, except at the first one of a minute. A permit
that was written stays a fact, so a refusal that follows from an older copy of the item is right.

Times are milliseconds since 1970.
"""

import secrets
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table
from chalicelib.core import errors, log, wording
from chalicelib.core.clock import MINUTE, Clock

PK = "limit#registration"
PER_CALLER = 30  # registrations of one caller in any ten seconds
# Ten seconds, and how far apart two containers' clocks may be. Lambda's are kept much closer; one
# that is wrong by more lets its caller register as often again.
SPAN = 11_000
FURTHEST = 60_000  # a permit of a clock that is further ahead counts for nothing
LONGEST_PAUSE = 3_600_000
FORGET_AFTER = SPAN  # a caller's permits are removed from the item when none counts any more
FORGET_AT_ONCE = 20  # callers; an expression may hold 4 KB
TRIES = 40  # a caller's parallel requests refuse each other's updates; one of them always wins
_NAME_DIGITS = 16  # of a keyed hash: nobody can search for another caller's
_ENTRY = struct.Struct(">Q")  # 48 bits of time and 16 random ones, which tell two permits apart


@dataclass(frozen=True)
class _Copy:
    """The item as this container has seen it last."""

    minute: int = 0
    count: int = 0
    paused_until: int = 0
    permits: Mapping[str, bytes] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()

    @classmethod
    def read(cls, item: codec.Item | None) -> "_Copy":
        found = codec.plain(item or {})
        by = "by#"
        return cls(
            minute=found.get("minute", 0),
            count=found.get("count", 0),
            paused_until=found.get("pausedUntil", 0),
            permits={
                name.removeprefix(by): bytes(value)
                for name, value in found.items()
                if name.startswith(by)
            },
            hosts=found.get("hosts", frozenset()),
        )

    def times(self, caller_id: str, now: int) -> list[int]:
        """Return when the caller's permits that still count were given, the oldest first."""
        written = self.permits.get(_name(caller_id), b"")
        moments = sorted(number >> 16 for (number,) in _ENTRY.iter_unpack(written))
        return [at for at in moments if now - SPAN < at <= now + FURTHEST]

    def wait(self, caller_id: str, now: int, per_minute: int) -> int:
        """Return for how many milliseconds nothing is permitted; 0 if a permit is free."""
        waits = [0]
        if now < self.paused_until <= now + LONGEST_PAUSE + FURTHEST:
            waits.append(self.paused_until - now)
        times = self.times(caller_id, now)
        if len(times) >= PER_CALLER:
            waits.append(times[-PER_CALLER] + SPAN - now)
        # A clock that is ahead may have begun the next minute.
        if 0 <= self.minute - now // MINUTE <= 1 and self.count >= per_minute:
            waits.append((self.minute + 1) * MINUTE - now)
        return max(waits)


class RegistrationLimiter:
    """Permits for registrations.

    Args:
        table: The broker's table.
        per_minute: Registrations of all callers in a minute of the clock.
        clock: The time.
    """

    def __init__(self, table: Table, per_minute: int, clock: Clock) -> None:
        self._table = table
        self._per_minute = per_minute
        self._clock = clock
        self._copy = _Copy()

    @property
    def storage_hosts(self) -> frozenset[str]:
        """The hosts of Sync's storage that any container's presign had named at the last call."""
        return self._copy.hosts

    def check_cached_refusal(self, caller_id: str) -> None:
        """Refuse without a call what the last copy of the item proves to be too early.

        Raises:
            RateLimited: Nothing is permitted yet.
        """
        wait = self._copy.wait(caller_id, self._clock.now(), self._per_minute)
        if wait:
            raise _refusal(wait)

    def acquire(self, caller_id: str) -> None:
        """Take a permit for one POST.

        Raises:
            RateLimited: There is none; nothing was written.
            StoreUnavailable: The item can't be written.
        """
        for _ in range(TRIES):
            self.check_cached_refusal(caller_id)
            change, entry = self._permit(caller_id, self._clock.now())
            written = self._table.write(change)
            self._copy = copy = _Copy.read(written.item)
            # boto3 repeats a write whose answer was lost, and is refused because of itself.
            if written.granted or entry in _entries(copy.permits.get(_name(caller_id), b"")):
                return
        raise _refusal(1000)

    def _permit(self, caller_id: str, now: int) -> tuple[Change, bytes]:
        """Return the update that takes a permit, and the entry that it writes."""
        copy, minute = self._copy, now // MINUTE
        entry = _ENTRY.pack(now << 16 | secrets.randbits(16))
        seen = copy.permits.get(_name(caller_id))
        kept = [
            one
            for one in _entries(seen or b"")
            if now - SPAN < (_ENTRY.unpack(one)[0] >> 16) <= now + FURTHEST
        ]
        own = f"by#{_name(caller_id)}"
        names, values = {"own": own}, dict[str, Any](now=now, furthest=now + LONGEST_PAUSE)
        conditions = ["NOT #pausedUntil BETWEEN :now AND :furthest"]
        conditions.append("attribute_not_exists(#own)" if seen is None else "#own = :seen")
        values |= {} if seen is None else {"seen": seen}
        sets: dict[str, Any] = {own: b"".join([*kept, entry])}
        adds = {}
        if 0 <= copy.minute - minute <= 1:
            conditions.append("#minute = :minute AND #count < :most")
            values |= {"minute": copy.minute, "most": self._per_minute}
            adds = {"count": 1}
        else:
            conditions.append(
                "(attribute_not_exists(#minute) OR NOT #minute BETWEEN :minute AND :next)"
            )
            values |= {"minute": minute, "next": minute + 1}
            sets |= {"minute": minute, "count": 1}
        forgotten = self._forgotten(caller_id, now)
        for number, (name, content) in enumerate(forgotten.items()):
            conditions.append(f"#old{number} = :old{number}")
            names[f"old{number}"], values[f"old{number}"] = name, content
        change = Change(
            pk=PK,
            condition=" AND ".join(conditions),
            names=names,
            values=values,
            sets=sets,
            adds=adds,
            removes=tuple(forgotten),
        )
        return change, entry

    def _forgotten(self, caller_id: str, now: int) -> dict[str, bytes]:
        """Return the attributes of some callers who have registered nothing for a while."""
        old = {
            f"by#{other}": written
            for other, written in self._copy.permits.items()
            if other != _name(caller_id)
            and max(number >> 16 for (number,) in _ENTRY.iter_unpack(written)) < now - FORGET_AFTER
        }
        return dict(list(old.items())[:FORGET_AT_ONCE])

    def back_off(self, retry_after: float) -> None:
        """Let no container register anything for a while, because Sync answered 429.

        Args:
            retry_after: Seconds for which Sync wants no registration.
        """
        now = self._clock.now()
        until = now + min(LONGEST_PAUSE, max(1000, int(retry_after * 1000)))
        change = Change(
            pk=PK,
            condition="NOT #pausedUntil BETWEEN :until AND :furthest",
            values={"until": until, "furthest": now + LONGEST_PAUSE},
            sets={"pausedUntil": until},
        )
        self._copy = _Copy.read(self._table.write(change).item)
        log.event("registrations_paused", level=30, until=until)

    def learn_storage_hosts(self, hosts: Collection[str]) -> None:
        """Let all containers know hosts of Sync's storage that a presign has named."""
        if new := frozenset(hosts) - self._copy.hosts:
            self._copy = _Copy.read(self._table.write(Change(pk=PK, adds={"hosts": new})).item)


def _name(caller_id: str) -> str:
    return caller_id[:_NAME_DIGITS]


def _entries(written: bytes) -> list[bytes]:
    size = _ENTRY.size
    return [written[start : start + size] for start in range(0, len(written), size)]


def _refusal(wait: int) -> errors.RateLimited:
    return errors.RateLimited(
        f"Too many files are being added at once. Try again {wording.wait(wait / 1000)}.",
        retry_after=wait / 1000,
    )
