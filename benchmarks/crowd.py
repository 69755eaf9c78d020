"""Callers in front of the line, in a time of their own: what the tests and `line.py` measure.

Each request reaches any container, whose clock is off by a part of a second. A caller who is sent
away comes back when it was told, with its ticket, or never.
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from chalicelib.ratelimit.limiter import KNOWN_FULL
from chalicelib.ratelimit.policy import LAG, NO_TURN, Budget, Full, Line, Place, Turn
from chalicelib.ratelimit.slots import Slot, Slowdown

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


class Limiter(Protocol):
    """Decides about presigns, and keeps what all containers share."""

    def decide(
        self, caller: int, turn: int | None, clock: int, container: int, chance: random.Random
    ) -> Place | Turn | Full:
        """Decide about one presign, by a container's clock, and remember it."""

    def slow_down(self, clock: int, pause: float) -> None:
        """Hear that sync. answered 429, and for how many milliseconds it wants to be left alone."""


@dataclass
class SharedLine:
    """The broker's own line, as its containers share it.

    Attributes:
        budget: The line's.
        slots: What lies in DynamoDB.
        slowdown: As above.
        known_full: What each container knows of a line that is full: since when, when it opens,
            and who waits in it. Container -1 stands for containers that know nothing.
    """

    budget: Budget
    slots: dict[int, Slot]
    slowdown: Slowdown | None = None
    known_full: dict[int, tuple[int, Full, frozenset[int]]] = field(default_factory=dict)

    def decide(
        self, caller: int, turn: int | None, clock: int, container: int, chance: random.Random
    ) -> Place | Turn | Full:
        """Decide as `line.py` does, without its network."""
        known_at, full, waiting = self.known_full.get(container, (0, None, frozenset()))
        if full and not turn and 0 <= clock - known_at <= KNOWN_FULL and caller not in waiting:
            return full
        line = Line(self.budget, self.slots, clock, self.slowdown, chance)
        decision = line.decide(caller, turn)
        if isinstance(decision, Place):
            self.slots.update(line.with_grant(decision, caller, max(clock, decision.at)))
        elif isinstance(decision, Turn):
            self.slots.update(line.with_turn(decision, caller))
        elif container >= 0 and line.is_full:
            waiting = frozenset(one.caller for one in line.waiting)
            self.known_full[container] = (clock, decision, waiting)
        return decision

    def slow_down(self, clock: int, pause: float) -> None:
        """Slow down for all containers."""
        self.slowdown = Line(self.budget, {}, clock, self.slowdown).slower(int(pause))


class _Visit(NamedTuple):
    """A request on its way to a container, or its presign on the way to sync."""

    caller: int
    turn: int | None
    asked: float
    sent: Grant | None = None


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
        containers: How many there are; with 0 each request has a container of its own.
        leavers: Callers who never come back when they are sent away.
        limiter: What decides; the broker's own line, unless told otherwise.
        upstream: What sync. makes of a presign that arrives: None, or for how many milliseconds it
            refuses. Without it all are taken.
        grants: The presigns that sync. took.
        refused: When those arrived that it answered with 429.
    """

    budget: Budget
    skew: int = 400
    latency: int = 200
    lost: float = 0.0
    knows_tickets: bool = True
    seed: int = 1
    containers: int = 0
    leavers: frozenset[int] = frozenset()
    limiter: Limiter | None = None
    upstream: Callable[[float], float | None] | None = None
    slots: dict[int, Slot] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    def run(self, arrivals: Iterable[tuple[float, int]], seconds: float) -> None:
        """Let callers come.

        Args:
            arrivals: When, in milliseconds from the start, and who.
            seconds: How long to look on.
        """
        chance = random.Random(self.seed)  # noqa: S311 - repeatable
        limiter = self.limiter or SharedLine(self.budget, self.slots)
        clocks = [chance.randint(-self.skew, self.skew) for _ in range(self.containers)]
        order = itertools.count()
        coming = [(at, next(order), _Visit(caller, self._no_ticket, at)) for at, caller in arrivals]
        heapq.heapify(coming)
        while coming and coming[0][0] <= seconds * 1000:
            at, _, visit = heapq.heappop(coming)
            container = chance.randrange(self.containers) if clocks else -1
            off = clocks[container] if clocks else chance.choice((-self.skew, self.skew))
            clock = EPOCH + int(at) + off
            if visit.sent is not None:
                follows = self._arrive(limiter, visit, clock, chance)
            else:
                follows = self._ask(limiter, visit, at, clock, container, chance)
            if follows is not None:
                heapq.heappush(coming, (follows[0], next(order), follows[1]))

    @property
    def _no_ticket(self) -> int | None:
        return NO_TURN if self.knows_tickets else None

    def _ask(  # noqa: PLR0913, PLR0917 - what a request is made of
        self,
        limiter: Limiter,
        visit: _Visit,
        at: float,
        clock: int,
        container: int,
        chance: random.Random,
    ) -> tuple[float, _Visit] | None:
        """Let a request be decided; return what follows."""
        decision = limiter.decide(visit.caller, visit.turn, clock, container, chance)
        if isinstance(decision, Place):
            held = max(0, decision.at - clock)
            # The extremes, at which a budget breaks first.
            arrives = at + held + chance.choice((0, LAG)) + chance.choice((0, self.latency))
            grant = Grant(arrives, visit.caller, visit.asked, held)
            self.answers["turn" if visit.turn else "place"] += 1
            if self.upstream is not None:
                return arrives, visit._replace(sent=grant)
            self.grants.append(grant)
            return None
        if isinstance(decision, Full):
            self.answers["full"] += 1
            comes_back, turn = decision.opens_at, self._no_ticket
        else:
            self.answers["moved" if visit.turn else "promised"] += 1
            comes_back = decision.comes_at
            turn = decision.at if self.knows_tickets else None
        back = _after(at, comes_back - clock, chance)
        if chance.random() < self.lost or visit.caller in self.leavers:
            return None
        return back, visit._replace(turn=turn)

    def _arrive(
        self, limiter: Limiter, visit: _Visit, clock: int, chance: random.Random
    ) -> tuple[float, _Visit] | None:
        """Let sync. take a presign or not; who is refused comes back when sync. said."""
        grant = visit.sent
        if grant is None or self.upstream is None:
            return None
        pause = self.upstream(grant.at)
        if pause is None:
            self.grants.append(grant)
            return None
        self.refused.append(grant.at)
        limiter.slow_down(clock, pause)
        if visit.caller in self.leavers:
            return None
        back = _after(grant.at, int(pause), chance)
        return back, _Visit(visit.caller, self._no_ticket, visit.asked)


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
