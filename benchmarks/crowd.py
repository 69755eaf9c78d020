"""A simulation of many callers and the rate limiter, for its tests and for `line.py`.

Each request reaches a random container, whose clock is off by a fraction of a second. A refused
caller returns with its ticket after `Retry-After`, or never.
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
    """A presign that was sent. All times are in milliseconds from the start.

    Attributes:
        at: The time of its arrival at Sync.
        caller: Its caller.
        asked: The time of the caller's first request for it.
        held: How long its request was held.
    """

    at: float
    caller: int
    asked: float
    held: float


class Limiter(Protocol):
    """Decides about presigns, with the state that all containers share."""

    def decide(
        self, caller: int, turn: int | None, clock: int, container: int, chance: random.Random
    ) -> Place | Turn | Full:
        """Decide about a presign by a container's clock, and record the decision."""

    def slow_down(self, clock: int, pause: float) -> None:
        """Slow down after a 429 of Sync, which asked for a pause of so many milliseconds."""


@dataclass
class SharedLine:
    """The broker's rate limiter, which its containers share.

    Attributes:
        budget: The rate limiter's budget.
        slots: The slots in DynamoDB.
        slowdown: The slowdown in DynamoDB.
        known_full: The refusal that each container has cached: its time, the refusal, and the
            callers who wait. Container -1 caches nothing.
    """

    budget: Budget
    slots: dict[int, Slot]
    slowdown: Slowdown | None = None
    known_full: dict[int, tuple[int, Full, frozenset[int]]] = field(default_factory=dict)

    def decide(
        self, caller: int, turn: int | None, clock: int, container: int, chance: random.Random
    ) -> Place | Turn | Full:
        """Decide as the rate limiter does, without its network."""
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
    """A request on its way to a container, or its presign on its way to Sync."""

    caller: int
    turn: int | None
    asked: float
    sent: Grant | None = None


@dataclass
class Crowd:
    """A rate limiter and its callers. All times are in milliseconds.

    Attributes:
        budget: The rate limiter's budget.
        skew: The maximum error of a container's clock.
        latency: The maximum time that a presign takes to reach Sync.
        lost: The fraction of refused callers who never return.
        knows_tickets: Whether callers return with their tickets.
        seed: The seed of the random numbers, so that a run is reproducible.
        containers: The number of containers; with 0, each request has a new container.
        leavers: Callers who never return after a refusal.
        limiter: The rate limiter; by default the broker's.
        upstream: Returns for the arrival of a presign None, or the pause that Sync demands. Without
            it, Sync accepts all presigns.
        grants: The presigns that Sync accepted.
        refused: The arrival times of the presigns that Sync refused with 429.
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
        """Simulate the callers.

        Args:
            arrivals: The time of each request, in milliseconds from the start, and its caller.
            seconds: The duration of the simulation.
        """
        chance = random.Random(self.seed)  # noqa: S311 - reproducible
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

    def _ask(  # noqa: PLR0913, PLR0917 - the parts of a request
        self,
        limiter: Limiter,
        visit: _Visit,
        at: float,
        clock: int,
        container: int,
        chance: random.Random,
    ) -> tuple[float, _Visit] | None:
        """Let the rate limiter decide about a request, and return the next event."""
        decision = limiter.decide(visit.caller, visit.turn, clock, container, chance)
        if isinstance(decision, Place):
            held = max(0, decision.at - clock)
            # Only the extreme delays, since those exceed a budget first.
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
        """Let Sync accept or refuse a presign, and return the next event."""
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
    """Return the time of a retry: after `Retry-After` in whole seconds, and the network's delay."""
    return at + max(1, -(-milliseconds // 1000)) * 1000 + chance.uniform(20, 200)


def most_in_a_minute(times: Iterable[float]) -> int:
    """Return the maximum number of arrivals in any 60 seconds."""
    most, first = 0, 0
    ordered = sorted(times)
    for last, at in enumerate(ordered):
        while ordered[first] <= at - 60_000:
            first += 1
        most = max(most, last - first + 1)
    return most


def used(crowd: Crowd, start: float, end: float) -> float:
    """Return the used fraction of the budget between two seconds, less the window's margin."""
    found = sum(start * 1000 <= one.at < end * 1000 for one in crowd.grants)
    return found / (crowd.budget.places * (end - start) / 61)


def jain(counts: Iterable[int]) -> float:
    """Return Jain's index of fairness: 1 if all counts are equal."""
    values = list(counts)
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def steady(
    per_second: float, callers: int, seconds: float, seed: int = 7
) -> list[tuple[float, int]]:
    """Return the arrivals of a steady stream of random callers."""
    chance = random.Random(seed)  # noqa: S311 - reproducible
    arrivals, at = [], 0.0
    while at < seconds * 1000:
        at += chance.expovariate(per_second / 1000)
        arrivals.append((at, chance.randrange(callers) + 1))
    return arrivals
