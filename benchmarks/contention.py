"""A simulation of containers that write a rate limiter's items at the same time.

The policy is the broker's. DynamoDB is a model. A container decides by its last copy of an item, as
`chalicelib/ratelimit/limiter.py` does, and writes on the condition that the slot is as in the copy.
A refused write returns the item, and the container decides again. Clocks are exact. Only
`POST /uploads` is simulated, and who gets no promise does not come again. All times are in
milliseconds.
"""

import heapq
import itertools
import math
import random
from collections import Counter
from collections.abc import Generator, Iterable
from copy import deepcopy
from dataclasses import dataclass, field

from benchmarks.cost import DYNAMODB_MS, SYNC_MS
from benchmarks.crowd import EPOCH
from benchmarks.request_units import KB
from chalicelib.core.clock import MINUTE, SECOND
from chalicelib.ratelimit.limiter import MAX_SPREAD, TRIES
from chalicelib.ratelimit.policy import (
    LEAD,
    NO_TICKET,
    Budget,
    Grant,
    Later,
    Policy,
    Promise,
    Ticket,
)
from chalicelib.ratelimit.slots import Event, Slots, write_grant, write_promise

CALL = (DYNAMODB_MS / 2, DYNAMODB_MS * 3 / 2)  # a call of DynamoDB takes a time between these
PRESIGN = SYNC_MS["presign"] + DYNAMODB_MS  # with the transaction that follows
CONTAINERS = 30  # at the start; scale.py computes that so many run for 1,200 uploads a minute
KEY = len("pklimit#presigns")
SPACING = Budget(1, MINUTE, MINUTE).spacing
GRANT, PROMISE = len(write_grant(Event(0, 0), 0)), len(write_promise(Event(0, 0)))


def item_bytes(slots: Slots) -> int:
    """Return the size of an item; a name in it is a letter and a number in hexadecimal."""
    grants = sum(GRANT + 1 + len(f"{slot:x}") for slot, at in enumerate(slots.granted_at) if at)
    return KEY + grants + sum(PROMISE + 1 + len(f"{slot:x}") for slot in slots.promises)


@dataclass
class Found:
    """The limiter's work.

    Attributes:
        grants: The permits that were granted.
        reads: The reads of items.
        writes: The writes, with those that were refused.
        refused: The writes that were refused, because another container had changed the slot.
        gave_up: Requests that were refused too often, which get 503.
        units: The write units, by item and second. A refused write costs as much as another one.
    """

    grants: int = 0
    reads: int = 0
    writes: int = 0
    refused: int = 0
    gave_up: int = 0
    units: Counter[tuple[int, int]] = field(default_factory=Counter)

    @property
    def calls_for_a_permit(self) -> float:
        """The limiter's calls of DynamoDB for each permit that was granted."""
        return (self.reads + self.writes) / self.grants

    @property
    def refused_share(self) -> float:
        """The part of the writes that was refused."""
        return self.refused / self.writes

    @property
    def most_units(self) -> int:
        """The write units of an item in its busiest second."""
        return max(self.units.values())


class Containers:
    """Containers that share a limiter's items, in simulated time.

    Args:
        permits: The number of slots of an item, which is its budget for a minute.
        items: The number of items.
        is_idle: Whether all slots are free at the start. Otherwise they were granted evenly in the
            window before.
    """

    def __init__(self, permits: int, items: int, *, is_idle: bool) -> None:
        self._budget = Budget(permits, MINUTE, SPACING)
        self._chance = random.Random(permits)  # noqa: S311 - reproducible
        self._at = 0.0
        self._idle: list[dict[int, Slots]] = [{} for _ in range(CONTAINERS)]
        slots = Slots.unused(permits)
        if not is_idle:
            first = EPOCH - SPACING + SPACING // permits // 2
            slots.granted_at = [first + SPACING * slot // permits for slot in range(permits)]
        self._items = [slots] * items
        self.found = Found()

    def run(self, arrivals: Iterable[tuple[float, int]], until: float) -> Found:
        """Simulate requests, each of another caller.

        Args:
            arrivals: The time and the item of each.
            until: The end of the simulation.
        """
        order = itertools.count()
        coming = [(at, next(order), self._request(item)) for at, item in arrivals]
        heapq.heapify(coming)
        while coming and coming[0][0] <= until:
            self._at, _, request = heapq.heappop(coming)
            if (wait := next(request, None)) is not None:
                heapq.heappush(coming, (self._at + wait, next(order), request))
        return self.found

    @property
    def _now(self) -> int:
        return EPOCH + int(self._at)

    def _call(self) -> float:
        return self._chance.uniform(*CALL)

    def _request(self, item: int) -> Generator[float, None, None]:
        """Ask until there is a permit or no promise of one, and yield the time of each wait."""
        caller, ticket = self._chance.getrandbits(32), NO_TICKET
        while True:
            # A container serves one request at a time.
            idle = self._idle
            copies = idle.pop(self._chance.randrange(len(idle))) if idle else {}
            promised = yield from self._visit(caller, item, ticket, copies)
            idle.append(copies)
            if promised is None:
                return
            ticket = promised
            # The client waits for whole seconds.
            yield max(1, math.ceil((ticket.at - LEAD - self._now) / SECOND)) * SECOND

    def _visit(
        self, caller: int, item: int, ticket: Ticket, copies: dict[int, Slots]
    ) -> Generator[float, None, Ticket | None]:
        """Decide and write until a write is not refused, and return the promise if it is one."""
        redeemed = None
        if ticket != NO_TICKET:
            copy = copies.get(item, Slots.unused(self._budget.permits))
            redeemed = self._policy(copy).redeem(Event(ticket.at, caller), ticket.slot)
        if item not in copies and redeemed is None:
            self.found.reads += 1
            yield self._call()
            copies[item] = self._items[item]
        for number in range(TRIES):
            spread = min(4 << number, MAX_SPREAD)
            decision = redeemed or self._policy(copies[item]).decide(caller, NO_TICKET, spread)
            if isinstance(decision, Later):
                return None
            if isinstance(decision, Grant) and number == 0:
                yield self._call()  # that of the quota
            event = Event(max(self._now, decision.at), caller)
            yield self._call()
            is_written = self._write(item, None if redeemed else copies[item], decision, event)
            copies[item], redeemed = self._items[item], None
            if is_written and isinstance(decision, Promise):
                return Ticket(decision.at, decision.slot)
            if is_written:
                yield max(0, event.at - self._now)
                self.found.grants += 1
                yield PRESIGN
                return None
        self.found.gave_up += 1
        return None

    def _policy(self, copy: Slots) -> Policy:
        return Policy(self._budget, copy, self._now, chance=self._chance)

    def _write(
        self, item: int, seen: Slots | None, decision: Grant | Promise, event: Event
    ) -> bool:
        """Write a grant or a promise, if its slot is still as it was seen.

        Args:
            item: The item's number.
            seen: The slots as they were seen, or None if the last grant does not matter.
            decision: The decision.
            event: The grant or the promise.
        """
        stored, slot, is_grant = self._items[item], decision.slot, isinstance(decision, Grant)
        promise = decision.promise if isinstance(decision, Grant) else decision.instead
        is_written = stored.promises.get(slot) == promise and (
            seen is None or _last_grant(stored, slot) == _last_grant(seen, slot)
        )
        size = item_bytes(stored)
        if is_written:
            self._items[item] = stored = deepcopy(stored)
            stored.promises.pop(slot, None)
            if is_grant:
                stored.granted_at[slot], stored.callers[slot] = event
            else:
                stored.promises[slot] = event
            size = max(size, item_bytes(stored))
        found = self.found
        found.writes += 1
        found.refused += not is_written
        found.units[item, self._now // SECOND] += math.ceil(size / KB)
        return is_written


def _last_grant(slots: Slots, slot: int) -> Event:
    return Event(slots.granted_at[slot], slots.callers[slot])


def steady(permits: int, items: int, load: float, seconds: float) -> tuple[Found, float]:
    """Simulate a stream of requests, each at a random item. All items were in full use before.

    Args:
        permits: The slots of an item.
        items: The number of items.
        load: The requests, as a multiple of the whole budget. Their number is exact.
        seconds: The duration.

    Returns:
        What was found, and the part of the budget that stayed unused.
    """
    chance = random.Random(permits)  # noqa: S311 - reproducible
    until = seconds * SECOND
    offered = permits * items * until / SPACING
    arrivals = [
        (chance.uniform(0, until), chance.randrange(items)) for _ in range(round(load * offered))
    ]
    found = Containers(permits, items, is_idle=False).run(arrivals, until)
    return found, 1 - found.grants / offered


def crowd(permits: int, items: int, seconds: float) -> Found:
    """Simulate as many requests as the budget, which reach idle items within some seconds."""
    chance = random.Random(permits)  # noqa: S311 - reproducible
    arrivals = [
        (chance.uniform(0, seconds * SECOND), item) for item in range(items) for _ in range(permits)
    ]
    return Containers(permits, items, is_idle=True).run(arrivals, seconds * SECOND + SPACING / 2)


def unused_by_crowd(permits: int, items: int, files: int, rounds: int = 200) -> float:
    """Return the part of an idle budget that a crowd as large as the budget leaves unused at first.

    Args:
        permits: The slots of an item.
        items: The number of items. Each caller chooses one at random.
        files: The files of each caller.
        rounds: The number of crowds.
    """
    chance = random.Random(1)  # noqa: S311 - reproducible
    granted, most = 0, Budget(permits, MINUTE, MINUTE).burst
    for _ in range(rounds):
        asked: Counter[int] = Counter()
        for _ in range(permits * items // files):
            asked[chance.randrange(items)] += min(files, most)
        granted += sum(min(permits, number) for number in asked.values())
    return 1 - granted / (rounds * permits * items)
