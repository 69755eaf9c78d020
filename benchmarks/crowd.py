"""A simulation of many callers and the rate limiter, for its tests and for `rate_limiter.py`.

Each request reaches a random container, whose clock is off. A refused caller returns after
`Retry-After`, with its ticket if it has one, or never. Callers may send many requests at once, and
the next one as soon as one has its permit. The rate limiter is the broker's own code, with a table
in memory.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from benchmarks.simulation import Machine, MemoryTable, Simulation, Store
from chalicelib.core import errors
from chalicelib.core.clock import DATE_LAG, SECOND, Clock
from chalicelib.ratelimit.limiter import RateLimiter
from chalicelib.ratelimit.policy import LAG, Budget
from chalicelib.ratelimit.slots import Event


class Limiter(Protocol):
    """A container's rate limiter."""

    def take(self, caller: int, ticket: str | None) -> bool:
        """Take a permit, and wait for its moment.

        Returns:
            Whether it was promised.

        Raises:
            BrokerError: No permit is free.
        """

    def back_off(self, retry_after: float) -> None:
        """Slow down after a 429 of Sync, which asked for a pause of so many seconds."""


Design = Callable[[Clock], Limiter]  # makes the limiter of a container with a clock


@dataclass(frozen=True)
class Permit:
    """A request that was sent to Sync. All times are in milliseconds from the start.

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


@dataclass(frozen=True)
class _Visit:
    """A request of a caller, whose first one was sent at the time `asked`."""

    caller: int
    ticket: str | None
    asked: float


@dataclass
class Crowd:
    """A rate limiter and its callers. All times are in milliseconds.

    Attributes:
        budget: The rate limiter's budget.
        skew: The maximum error of a container's machine. Its clock is corrected by the table's
            responses, if they prove it wrong.
        latency: The maximum time that a request takes to reach Sync.
        lost: The fraction of refused callers who never return.
        knows_tickets: Whether callers return with their tickets.
        seed: The seed of the random numbers, so that a run is reproducible.
        containers: The number of containers; with 0, each request has a new container.
        leavers: Callers who never return after a refusal.
        design: The rate limiter; by default the broker's.
        upstream: Returns for the arrival of a request None, or the pause in seconds that Sync
            demands. Without it, Sync accepts all requests.
        table_delay: The maximum time that a call of the table takes.
        killed: The fraction of grants whose container is killed before it sends anything. Its
            caller tries again a second later.
        foreign: When another program with the same key sends a request.
        more: How many more requests each caller sends, each once an earlier one has its permit.
        permits: The requests that Sync accepted.
        refused: The arrival times of the requests that Sync refused with 429.
        foreign_refused: How many requests of the other program Sync refused.
        answers: How often the rate limiter decided what.
    """

    budget: Budget
    skew: int = 400
    latency: int = 200
    lost: float = 0.0
    knows_tickets: bool = True
    seed: int = 1
    containers: int = 0
    leavers: frozenset[int] = frozenset()
    design: Design | None = None
    upstream: Callable[[float], float | None] | None = None
    table_delay: int = 0
    killed: float = 0.0
    foreign: Sequence[float] = ()
    more: Mapping[int, int] = field(default_factory=dict)
    permits: list[Permit] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    foreign_refused: int = 0
    answers: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Start the containers."""
        self._chance = random.Random(self.seed)  # noqa: S311 - reproducible
        self._simulation = Simulation()
        self._store = Store()
        self._left = Counter(self.more)
        errors_of_machines = [
            self._chance.randint(-self.skew, self.skew) for _ in range(self.containers)
        ]
        self._limiters = [self._start_container(error) for error in errors_of_machines]

    def run(self, arrivals: Iterable[tuple[float, int]], seconds: float) -> None:
        """Simulate the callers.

        Args:
            arrivals: The time of each request, in milliseconds from the start, and its caller.
            seconds: The duration of the simulation.
        """
        for at, caller in arrivals:
            self._ask_at(at, _Visit(caller, self._no_ticket, at))
        for at in self.foreign:
            self._simulation.start(at, self._send_foreign)
        self._simulation.run(seconds * SECOND)

    @property
    def granted(self) -> list[Event]:
        """The moments that the rate limiter recorded, and the callers."""
        return self._store.granted

    @property
    def _no_ticket(self) -> str | None:
        return "" if self.knows_tickets else None

    def _start_container(self, error: int) -> Limiter:
        clock = Machine(self._simulation, error)
        if self.design is not None:
            return self.design(clock)
        lag = self._chance.choice((0, DATE_LAG))
        table = MemoryTable(self._store, self._simulation, clock, self._delay, lag)
        budget = self.budget
        return _BrokersLimiter(
            RateLimiter(
                table,
                clock,
                "presigns",
                budget.permits,
                budget.window,
                budget.longest_wait,
                busy="Much is asked.",
                has_tickets=True,
                chance=self._chance,
            )
        )

    def _delay(self) -> float:
        return self._chance.randint(0, self.table_delay)

    def _ask_at(self, at: float, visit: _Visit) -> None:
        self._simulation.start(at, partial(self._ask, visit))

    def _ask(self, visit: _Visit) -> None:
        """Let a container serve a request."""
        chance, came = self._chance, self._simulation.at
        if self._limiters:
            limiter = chance.choice(self._limiters)
        else:
            limiter = self._start_container(chance.choice((-self.skew, self.skew)))
        try:
            is_promised = limiter.take(visit.caller, visit.ticket)
        except errors.BrokerError as refusal:
            self._return_after(visit, refusal)
            return
        if chance.random() < self.killed:
            self.answers["killed"] += 1
            self._return(visit, self._no_ticket, 1)
            return
        self.answers["promised" if is_promised else "free"] += 1
        held = self._simulation.at - came
        # Only the extreme delays, since those exceed a budget first.
        late = max(0, LAG - self.table_delay)
        self._simulation.wait(chance.choice((0, late)) + chance.choice((0, self.latency)))
        self._arrive(limiter, visit, held)

    def _arrive(self, limiter: Limiter, visit: _Visit, held: float) -> None:
        """Let Sync accept or refuse a request."""
        at = self._simulation.at
        if (pause := self._send()) is None:
            self.permits.append(Permit(at, visit.caller, visit.asked, held))
            if self._left[visit.caller]:
                self._left[visit.caller] -= 1
                then = at + self._chance.uniform(20, 200)
                self._ask_at(then, _Visit(visit.caller, self._no_ticket, then))
            return
        self.refused.append(at)
        limiter.back_off(pause)
        if visit.caller not in self.leavers:
            self._return(visit, self._no_ticket, pause)

    def _return_after(self, visit: _Visit, refusal: errors.BrokerError) -> None:
        """Let a refused caller return, or never."""
        ticket = refusal.fields.get("ticket")
        if isinstance(refusal, errors.QueueFull):
            self.answers["full"] += 1
        else:
            self.answers["promise" if ticket else "later"] += 1
        if visit.ticket and ticket != visit.ticket:
            self.answers["broken"] += 1
        if self._chance.random() >= self.lost and visit.caller not in self.leavers:
            known = str(ticket or "") if self.knows_tickets else None
            self._return(visit, known, refusal.retry_after or 0)

    def _return(self, visit: _Visit, ticket: str | None, retry_after: float) -> None:
        """Let a caller return after `Retry-After` in whole seconds, and the network's delay."""
        pause = max(1, math.ceil(retry_after)) * SECOND + self._chance.uniform(20, 200)
        self._ask_at(self._simulation.at + pause, _Visit(visit.caller, ticket, visit.asked))

    def _send(self) -> float | None:
        return self.upstream(self._simulation.at) if self.upstream else None

    def _send_foreign(self) -> None:
        self.foreign_refused += self._send() is not None


class _BrokersLimiter:
    """A container's rate limiter: the broker's."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter

    def take(self, caller: int, ticket: str | None) -> bool:
        """Take a permit, and wait for its moment."""
        permit = self._limiter.acquire(f"{caller:08x}", ticket)
        self._limiter.commit(permit)
        promise = permit.grant.promise
        return promise is not None and promise.caller == caller

    def back_off(self, retry_after: float) -> None:
        """Slow down for all containers."""
        self._limiter.back_off(retry_after)


def most_in_a_minute(times: Iterable[float]) -> int:
    """Return the maximum number of arrivals in any 60 seconds."""
    return most_in(times, 60_000)


def most_in(times: Iterable[float], window: int) -> int:
    """Return the maximum number of times in any window of so many milliseconds."""
    most, first = 0, 0
    ordered = sorted(times)
    for last, at in enumerate(ordered):
        while ordered[first] <= at - window:
            first += 1
        most = max(most, last - first + 1)
    return most


def used(crowd: Crowd, start: float, end: float) -> float:
    """Return the used fraction of what a safe window leaves of the budget between two seconds."""
    found = sum(start * 1000 <= one.at < end * 1000 for one in crowd.permits)
    return found / (crowd.budget.permits * (end - start) * 1000 / crowd.budget.spacing)


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
