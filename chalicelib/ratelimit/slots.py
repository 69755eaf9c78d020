"""What the rate limiter stores: a slot for each permit of the budget, and a slowdown. Pure.

    s<number>    a slot's last grant: a nonce, when, to whom; the number is in hexadecimal
    p<number>    the promise of its next use: when, to whom
    slow         a slowdown, after Sync's 429

Times are milliseconds since 1970.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from chalicelib.aws.codec import Item

LONGEST_PAUSE = 3_600_000
RECOVERY = 60_000  # after Sync's 429 it takes so long to get back to the whole budget
MOST_PERMITS = 300  # 10 kB; each write of the item costs a unit for each kB
NONCE_BITS = 32  # they tell a grant from every other one
# 48 bits of time in two parts, and what `caller_number` returns.
_GRANT = struct.Struct(">IHII")
_PROMISE = struct.Struct(">HII")
_LOW = (1 << 32) - 1
# The slots by the names of their attributes.
_GRANTS = {f"s{slot:x}": slot for slot in range(MOST_PERMITS)}
_PROMISES = {f"p{slot:x}": slot for slot in range(MOST_PERMITS)}


class Event(NamedTuple):
    """A permit that was granted or promised: when, and to whom (`caller_number`)."""

    at: int
    caller: int


@dataclass
class Slots:
    """The slots of a budget, by their numbers.

    Attributes:
        granted_at: When each was granted last; 0 if never.
        callers: To whom.
        promises: The promises of their next use.
    """

    granted_at: list[int]
    callers: list[int]
    promises: dict[int, Event]

    @classmethod
    def unused(cls, permits: int) -> "Slots":
        """Return the slots of a budget that was never used."""
        return cls([0] * permits, [0] * permits, {})

    def read(self, item: Item, before: Item) -> "Slots":
        """Return the slots of an item; most of them are as in the copy before, with these slots."""
        permits = len(self.granted_at)
        slots = Slots(self.granted_at.copy(), self.callers.copy(), self.promises.copy())
        if not before.keys() <= item.keys():
            slots, before = Slots.unused(permits), {}
        for name, stored in item.items():
            if stored == before.get(name):
                continue
            if (slot := _GRANTS.get(name, permits)) < permits:
                _, high, low, slots.callers[slot] = _GRANT.unpack(stored["B"])
                slots.granted_at[slot] = high << 32 | low
            elif (slot := _PROMISES.get(name, permits)) < permits:
                high, low, caller = _PROMISE.unpack(stored["B"])
                slots.promises[slot] = Event(high << 32 | low, caller)
        return slots


def write_grant(grant: Event, nonce: int) -> bytes:
    """Return a grant as it is stored."""
    return _GRANT.pack(nonce, grant.at >> 32, grant.at & _LOW, grant.caller)


def write_promise(promise: Event) -> bytes:
    """Return a promise as it is stored."""
    return _PROMISE.pack(promise.at >> 32, promise.at & _LOW, promise.caller)


def caller_number(caller_id: str) -> int:
    """Return the part of a caller's id for which a slot has room."""
    return int(caller_id[:8], 16)


@dataclass(frozen=True)
class Slowdown:
    """What is left of the budget after Sync's 429, until it has recovered.

    Attributes:
        until: Nothing is granted before.
        floor: How many slots are used from then on; the others come back one by one.
    """

    until: int
    floor: int

    def opens_at(self, slot: int, permits: int) -> int:
        """Return the time before which a slot of a budget may not be granted."""
        if slot < self.floor:
            return self.until
        return self.until + RECOVERY * (slot - self.floor + 1) // (permits - self.floor)

    def is_over(self, now: int) -> bool:
        """Whether the whole budget can be used again."""
        return now > self.until + RECOVERY


def slower(before: Slowdown | None, now: int, pause: int, permits: int) -> Slowdown:
    """Return the slowdown after one more 429 of Sync.

    Args:
        before: The slowdown until now.
        now: The time.
        pause: How long Sync wants to be left alone, in milliseconds.
        permits: The budget.
    """
    until = now + min(pause, LONGEST_PAUSE)
    if before is None or before.is_over(now):
        return Slowdown(until, max(1, permits // 2))
    if now <= before.until:
        # Requests that were on their way when Sync refused the first one prove nothing new.
        return Slowdown(max(until, before.until), before.floor)
    return Slowdown(until, max(1, permits // 8, before.floor // 2))
