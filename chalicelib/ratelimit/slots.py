"""What the line remembers: one slot for each of the budget's presigns, and a slow-down. Pure.

Times are milliseconds since 1970.
"""

from dataclasses import dataclass
from typing import NamedTuple

RECOVERY = 60_000  # how long it takes to get back to the whole budget after Sync said 429
_EVENT_BYTES = 10
_NONCE_BYTES = 4
NONCE_BITS = 8 * _NONCE_BYTES


class Event(NamedTuple):
    """A grant, or a promised turn: when, and whose."""

    at: int
    caller: int


NEVER = Event(0, 0)


@dataclass(frozen=True)
class Slot:
    """One of the budget's slots.

    Attributes:
        granted: Its last grant; at 0 if there was none.
        turns: What is promised, the next one first.
        nonce: Tells the request that it is granted to from every other one.
    """

    granted: Event = NEVER
    turns: tuple[Event, ...] = ()
    nonce: int = 0

    @classmethod
    def decode(cls, raw: bytes | None) -> "Slot":
        """Read a slot as it is stored; None for one that was never used."""
        if not raw:
            return UNUSED
        nonce, rest = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
        parts = [rest[at : at + _EVENT_BYTES] for at in range(0, len(rest), _EVENT_BYTES)]
        events = [Event(int.from_bytes(one[:6]), int.from_bytes(one[6:])) for one in parts]
        return cls(events[0], tuple(events[1:]), int.from_bytes(nonce))

    def encode(self) -> bytes:
        """Write a slot: four bytes for the nonce, ten for the grant, and ten for each turn."""
        events = (self.granted, *self.turns)
        encoded = (one.at.to_bytes(6) + one.caller.to_bytes(4) for one in events)
        return self.nonce.to_bytes(_NONCE_BYTES) + b"".join(encoded)


UNUSED = Slot()


@dataclass(frozen=True)
class Slowdown:
    """What is left of the budget after Sync answered 429, as long as it recovers.

    Attributes:
        since: When Sync said so first.
        until: Nobody is let through before.
        floor: How many slots are used from then on; the others come back one by one.
    """

    since: int
    until: int
    floor: int

    def bar(self, slot: int, budget: int) -> int:
        """Return the time before which a slot may not be granted."""
        if slot < self.floor:
            return self.until
        return self.until + RECOVERY * (slot - self.floor + 1) // (budget - self.floor)


def caller_number(caller_id: str) -> int:
    """Shorten a caller's id to what a slot has room for."""
    return int(caller_id[:8], 16)
