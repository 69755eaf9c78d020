"""A simulation of requests that write one item of the presign limiter at the same time.

The policy is the broker's. DynamoDB is a model: a request reads the item, decides, and writes some
calls later, on the condition that its slots are as it read them. A refused write returns the item,
and the request decides again, as `chalicelib/ratelimit/limiter.py` does. If an upload's permit is
granted at once, the quota's call is between the read and the write. Clocks are exact, and a full
queue is not cached. All times are in milliseconds.
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass

from benchmarks.crowd import EPOCH
from chalicelib.ratelimit.limiter import MAX_SPREAD, TRIES
from chalicelib.ratelimit.policy import BURST_PARTS, NO_TURN, WINDOW, Budget, Full, Line, Place
from chalicelib.ratelimit.slots import Event, Slot

MAX_WAIT = 300_000  # MAX_WAIT_SECONDS
CALL = (8, 24)  # the time of a call of DynamoDB is between these; its mean is that of cost.py


@dataclass
class Found:
    """The limiter's work at an item, or at several items together.

    Attributes:
        grants: The permits that were granted.
        reads: The limiter's reads of the item.
        writes: The limiter's writes, with those that were refused.
        refused: The writes that were refused, because another request had changed the slot.
        gave_up: Requests that were refused too often, which get 503.
    """

    grants: int = 0
    reads: int = 0
    writes: int = 0
    refused: int = 0
    gave_up: int = 0

    def add(self, other: "Found") -> None:
        """Add what was found at another item."""
        self.grants += other.grants
        self.reads += other.reads
        self.writes += other.writes
        self.refused += other.refused
        self.gave_up += other.gave_up

    @property
    def calls_for_a_permit(self) -> float:
        """The limiter's calls of DynamoDB for each permit that was granted."""
        return (self.reads + self.writes) / self.grants

    @property
    def refused_share(self) -> float:
        """The part of the writes that was refused."""
        return self.refused / self.writes


class Item:
    """One item of the limiter, in simulated time.

    Args:
        slots: The number of its slots, which is its budget for a minute.
        seed: The seed of the random numbers.
        is_idle: Whether all slots are free at the start. Otherwise they were granted evenly in the
            window before.
    """

    def __init__(self, slots: int, seed: int, *, is_idle: bool) -> None:
        self._budget = Budget(slots, MAX_WAIT)
        self._chance = random.Random(seed)  # noqa: S311 - reproducible
        self._at = 0.0
        self.found = Found()
        before = EPOCH - (2 * WINDOW if is_idle else WINDOW)
        self._stored = {
            number: Slot(Event(before + WINDOW * (2 * number + 1) // (2 * slots), number))
            for number in range(slots)
        }

    def run(self, arrivals: Iterable[float], until: float) -> Found:
        """Simulate requests, each of another caller.

        Args:
            arrivals: Their times.
            until: The end of the simulation.
        """
        order = itertools.count()
        coming = [(at, next(order), self._request(caller)) for caller, at in enumerate(arrivals)]
        heapq.heapify(coming)
        while coming and coming[0][0] <= until:
            self._at, _, request = heapq.heappop(coming)
            if (wait := next(request, None)) is not None:
                heapq.heappush(coming, (self._at + wait, next(order), request))
        return self.found

    @property
    def _now(self) -> int:
        return EPOCH + int(self._at)

    def _request(self, caller: int) -> Generator[float, None, None]:
        """Ask for a permit until it is granted, and yield the time of each wait."""
        turn: int | None = NO_TURN
        while turn is not None:
            turn = yield from self._visit(caller, turn)

    def _visit(self, caller: int, turn: int) -> Generator[float, None, int | None]:
        """Read, decide and write until a write is not refused.

        Returns:
            The promised turn for which the caller returns, or None.
        """
        self.found.reads += 1
        seen = dict(self._stored)
        for refusals in range(TRIES):
            line = Line(self._budget, seen, self._now, None, self._chance)
            decision = line.decide(caller, turn, min(4 << refusals, MAX_SPREAD))
            if isinstance(decision, Full):
                return None
            if isinstance(decision, Place):
                # The first write follows the quota's call; it is held until the slot is free.
                yield self._call() if not refusals else 0
                yield max(0, decision.at - self._now) + self._call()
                changed = line.with_grant(decision, caller, self._now)
            else:
                yield self._call()
                changed = line.with_turn(decision, caller)
            self.found.writes += 1
            if all(self._stored[number] == seen[number] for number in changed):
                self._stored |= changed
                if isinstance(decision, Place):
                    self.found.grants += 1
                    return None
                # The client waits for whole seconds.
                yield max(1, -(-(decision.comes_at - self._now) // 1000)) * 1000
                return decision.at
            self.found.refused += 1
            seen = dict(self._stored)
        self.found.gave_up += 1
        return None

    def _call(self) -> float:
        return self._chance.uniform(*CALL)


def steady(slots: int, items: int, load: float, seconds: float) -> tuple[Found, float]:
    """Simulate a stream of requests, each at a random item. All items were in full use before.

    Args:
        slots: The slots of an item.
        items: The number of items.
        load: The requests, as a multiple of the whole budget. Their number is exact.
        seconds: The duration.

    Returns:
        What was found, and the part of the budget that stayed unused.
    """
    chance = random.Random(slots)  # noqa: S311 - reproducible
    until = seconds * 1000
    offered = slots * items * until / WINDOW
    arrivals: list[list[float]] = [[] for _ in range(items)]
    for _ in range(round(load * offered)):
        arrivals[chance.randrange(items)].append(chance.uniform(0, until))
    together = Found()
    for seed, times in enumerate(arrivals):
        together.add(Item(slots, seed, is_idle=False).run(times, until))
    return together, 1 - together.grants / offered


def crowd(slots: int, items: int, seconds: float) -> Found:
    """Simulate as many requests as the budget, which reach idle items within some seconds."""
    together = Found()
    for seed in range(items):
        chance = random.Random(seed)  # noqa: S311 - reproducible
        arrivals = [chance.uniform(0, seconds * 1000) for _ in range(slots)]
        together.add(Item(slots, seed, is_idle=True).run(arrivals, seconds * 1000 + WINDOW / 2))
    return together


def unused_by_crowd(slots: int, items: int, files: int, rounds: int = 200) -> float:
    """Return the part of an idle budget that a crowd as large as the budget leaves unused at first.

    Args:
        slots: The slots of an item.
        items: The number of items. Each caller chooses one at random.
        files: The files of each caller.
        rounds: The number of crowds.
    """
    chance = random.Random(1)  # noqa: S311 - reproducible
    granted, most = 0, max(1, slots // BURST_PARTS)
    for _ in range(rounds):
        asked: Counter[int] = Counter()
        for _ in range(slots * items // files):
            asked[chance.randrange(items)] += min(files, most)
        granted += sum(min(slots, number) for number in asked.values())
    return 1 - granted / (rounds * slots * items)
