"""Callers in front of the line, in a time of their own: what the tests and `line.py` measure.

Each request reaches any container, whose clock is off by a part of a second. A caller who is sent
away comes back when it was told, with its ticket, or never.
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from chalicelib.admission import NO_TURN, Budget, Full, Line, Place
from chalicelib.slots import Slot, Slowdown

EPOCH = 1_800_000_000_000


@dataclass(frozen=True)
class Grant:
    """A presign that was sent.

    Attributes:
        at: Its arrival at sync., in milliseconds from the start.
        caller: Whose.
        asked: When its caller came first.
        held: For how long its request was held.
    """

    at: float
    caller: int
    asked: float
    held: float


@dataclass
class Crowd:
    """A line and all who come to it.

    Attributes:
        budget: The line's.
        skew: How far a container's clock may be off to either side, in milliseconds.
        latency: How long a presign is on its way to sync. at most, in milliseconds.
        lost: The part of those sent away who never come back.
        knows_tickets: Whether they send their tickets back.
        seed: Makes a run repeatable.
    """

    budget: Budget
    skew: int = 400
    latency: int = 200
    lost: float = 0.0
    knows_tickets: bool = True
    seed: int = 1
    slots: dict[int, Slot] = field(default_factory=dict)
    slowdown: Slowdown | None = None
    grants: list[Grant] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    def run(self, arrivals: Iterable[tuple[float, int]], seconds: float) -> None:
        """Let callers come.

        Args:
            arrivals: When, in milliseconds from the start, and who.
            seconds: How long to look on.
        """
        chance = random.Random(self.seed)  # noqa: S311 - repeatable
        order = itertools.count()
        fresh = NO_TURN if self.knows_tickets else None
        coming = [(at, next(order), caller, fresh, at) for at, caller in arrivals]
        heapq.heapify(coming)
        while coming and coming[0][0] <= seconds * 1000:
            at, _, caller, turn, asked = heapq.heappop(coming)
            clock = EPOCH + int(at) + chance.randint(-self.skew, self.skew)
            back = self._ask(caller, turn, at, asked, clock, chance)
            if back is not None and chance.random() >= self.lost:
                comes_at, turn = back
                heapq.heappush(coming, (comes_at, next(order), caller, turn, asked))

    def _ask(  # noqa: PLR0913, PLR0917 - what a request is made of
        self,
        caller: int,
        turn: int | None,
        at: float,
        asked: float,
        clock: int,
        chance: random.Random,
    ) -> tuple[float, int | None] | None:
        line = Line(self.budget, self.slots, clock, self.slowdown, chance)
        decision = line.decide(caller, turn)
        if isinstance(decision, Place):
            held = max(0, decision.at - clock)
            self.slots.update(line.with_grant(decision, caller, clock + held))
            arrives = at + held + chance.uniform(0, self.latency)
            self.grants.append(Grant(arrives, caller, asked, held))
            self.answers["turn" if turn else "place"] += 1
            return None
        fresh = NO_TURN if self.knows_tickets else None
        if isinstance(decision, Full):
            self.answers["full"] += 1
            return _after(at, decision.opens_at - clock, chance), fresh
        self.slots.update(line.with_turn(decision, caller))
        self.answers["moved" if turn else "promised"] += 1
        comes_back = _after(at, decision.comes_at - clock, chance)
        return comes_back, decision.at if self.knows_tickets else None


def _after(at: float, milliseconds: int, chance: random.Random) -> float:
    """Come back after `Retry-After`, whole seconds rounded up, and the way through the network."""
    return at + max(1, -(-milliseconds // 1000)) * 1000 + chance.uniform(20, 200)


def most_in_a_minute(times: Iterable[float]) -> int:
    """Count the most arrivals in any 60 seconds."""
    most, first = 0, 0
    ordered = sorted(times)
    for last, at in enumerate(ordered):
        while ordered[first] <= at - 60_000:
            first += 1
        most = max(most, last - first + 1)
    return most


def used(crowd: Crowd, start: float, end: float) -> float:
    """Return the used part of what the window's margin leaves of the budget, between seconds."""
    found = sum(start * 1000 <= one.at < end * 1000 for one in crowd.grants)
    return found / (crowd.budget.places * (end - start) / 61)


def jain(counts: Iterable[int]) -> float:
    """Return Jain's index of fairness: 1 where all got the same."""
    values = list(counts)
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def steady(
    per_second: float, callers: int, seconds: float, seed: int = 7
) -> list[tuple[float, int]]:
    """Let callers come at random, all alike, in a steady stream."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    arrivals, at = [], 0.0
    while at < seconds * 1000:
        at += chance.expovariate(per_second / 1000)
        arrivals.append((at, chance.randrange(callers) + 1))
    return arrivals
