"""A simulation of many callers and the rate limiter, for its tests and for `rate_limiter.py`.

Each request reaches a random container, whose clock is off. A refused caller returns after
`Retry-After`, with its ticket if it has one, or never. Callers may send many requests at once, and
the next one as soon as one has its permit.
"""

import heapq
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from chalicelib.core.clock import Clock
from chalicelib.ratelimit import policy
from chalicelib.ratelimit.policy import (
    LAG,
    NO_TICKET,
    Budget,
    Grant,
    Later,
    Policy,
    Promise,
    Ticket,
)
from chalicelib.ratelimit.slots import Event, Slots, Slowdown, slower

EPOCH = 1_800_000_000_000
FOREIGN = 0  # the number of another program
RESPONSE = 10  # milliseconds that a call of DynamoDB takes


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


class Reading(NamedTuple):
    """A reading of a container's clock.

    Attributes:
        now: The time; if the machine's clock is wrong, the earliest that it can be.
        latest: The latest time that it can be.
        container: The container's number, or -1 for one that remembers nothing.
    """

    now: int
    latest: int
    container: int


class Limiter(Protocol):
    """Decides about requests, with the state that all containers share."""

    def decide(
        self, caller: int, ticket: Ticket | None, reading: Reading, chance: random.Random
    ) -> policy.Decision:
        """Decide about a request by a container's clock, and record the decision."""

    def back_off(self, clock: int, pause: float) -> None:
        """Slow down after a 429 of Sync, which asked for a pause of so many milliseconds."""


@dataclass
class SharedSlots:
    """The broker's rate limiter, which its containers share.

    Attributes:
        budget: The rate limiter's budget.
        slots: The slots in DynamoDB.
        slowdown: The slowdown in DynamoDB.
        reported: The moments that each container has reported to callers without a promise.
    """

    budget: Budget
    slots: Slots = field(init=False)
    slowdown: Slowdown | None = None
    reported: defaultdict[int, list[Event]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        """Begin with slots that were never used."""
        self.slots = Slots.unused(self.budget.permits)

    def decide(
        self, caller: int, ticket: Ticket | None, reading: Reading, chance: random.Random
    ) -> policy.Decision:
        """Decide as the rate limiter does, without its network."""
        clock, latest, container = reading
        if ticket is not None and ticket.at > clock + policy.HOLD:
            return Promise(ticket.slot, ticket.at, position=0)  # It has come too early.
        reported = self.reported[container] = [
            one for one in self.reported[container] if one.at > clock
        ]
        state = Policy(self.budget, self.slots, clock, self.slowdown, reported, chance)
        decision = state.decide(caller, ticket)
        if isinstance(decision, Grant):
            self.slots.granted_at[decision.slot] = max(clock, decision.at) + latest - clock
            self.slots.callers[decision.slot] = caller
            self.slots.promises.pop(decision.slot, None)
        elif isinstance(decision, Promise):
            self.slots.promises[decision.slot] = Event(decision.at, caller)
        else:
            decision = Later(policy.return_at(decision, self.budget, chance), decision.is_full)
            if container >= 0 and not decision.is_full:
                reported.append(Event(decision.at, caller))
        return decision

    def back_off(self, clock: int, pause: float) -> None:
        """Slow down for all containers."""
        self.slowdown = slower(self.slowdown, clock, int(pause), self.budget.permits)


class _Visit(NamedTuple):
    """A request on its way to a container, or to Sync."""

    caller: int
    ticket: Ticket | None
    asked: float
    sent: Permit | None = None


@dataclass
class Crowd:
    """A rate limiter and its callers. All times are in milliseconds.

    Attributes:
        budget: The rate limiter's budget.
        skew: The maximum error of a container's clock.
        machine_error: The maximum error of a container's machine, in place of the skew. Its clock
            is corrected by the table's responses, as the broker's is.
        latency: The maximum time that a request takes to reach Sync.
        lost: The fraction of refused callers who never return.
        knows_tickets: Whether callers return with their tickets.
        seed: The seed of the random numbers, so that a run is reproducible.
        containers: The number of containers; with 0, each request has a new container.
        leavers: Callers who never return after a refusal.
        limiter: The rate limiter; by default the broker's.
        upstream: Returns for the arrival of a request None, or the pause that Sync demands. Without
            it, Sync accepts all requests.
        table_delay: The maximum time that a write takes, and after which it is repeated.
        killed: The fraction of grants whose container is killed before it sends anything. Its
            caller tries again a second later.
        foreign: When another program with the same key sends a request.
        more: How many more requests each caller sends, each once an earlier one has its permit.
        permits: The requests that Sync accepted.
        granted: The moments that the rate limiter recorded, and the callers.
        refused: The arrival times of the requests that Sync refused with 429.
        foreign_refused: How many requests of the other program Sync refused.
        answers: How often the rate limiter decided what.
    """

    budget: Budget
    skew: int = 400
    machine_error: int = 0
    latency: int = 200
    lost: float = 0.0
    knows_tickets: bool = True
    seed: int = 1
    containers: int = 0
    leavers: frozenset[int] = frozenset()
    limiter: Limiter | None = None
    upstream: Callable[[float], float | None] | None = None
    table_delay: int = 0
    killed: float = 0.0
    foreign: Sequence[float] = ()
    more: Mapping[int, int] = field(default_factory=dict)
    permits: list[Permit] = field(default_factory=list)
    granted: list[tuple[int, int]] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    foreign_refused: int = 0
    answers: Counter[str] = field(default_factory=Counter)

    def run(self, arrivals: Iterable[tuple[float, int]], seconds: float) -> None:
        """Simulate the callers.

        Args:
            arrivals: The time of each request, in milliseconds from the start, and its caller.
            seconds: The duration of the simulation.
        """
        chance = random.Random(self.seed)  # noqa: S311 - reproducible
        limiter = self.limiter or SharedSlots(self.budget)
        error = self.machine_error or self.skew
        machines = [_Machine(chance.randint(-error, error)) for _ in range(self.containers)]
        order = itertools.count()
        coming = [(at, next(order), _Visit(caller, self._no_ticket, at)) for at, caller in arrivals]
        coming += [(at, next(order), _Visit(FOREIGN, None, at)) for at in self.foreign]
        heapq.heapify(coming)
        more = dict(self.more)
        while coming and coming[0][0] <= seconds * 1000:
            at, _, visit = heapq.heappop(coming)
            if visit.caller == FOREIGN:
                self.foreign_refused += self._send(at) is not None
                continue
            container = chance.randrange(self.containers) if machines else -1
            machine = machines[container] if machines else _Machine(chance.choice((-error, error)))
            reading = machine.read(at, container, is_corrected=bool(self.machine_error))
            granted = len(self.permits)
            if visit.sent is not None:
                follows = self._arrive(limiter, visit, reading.now, chance)
            else:
                follows = self._ask(limiter, visit, at, reading, chance)
            if follows is not None:
                heapq.heappush(coming, (follows[0], next(order), follows[1]))
            if len(self.permits) > granted and more.get(visit.caller):
                more[visit.caller] -= 1
                then = self.permits[-1].at + chance.uniform(20, 200)
                heapq.heappush(
                    coming, (then, next(order), _Visit(visit.caller, self._no_ticket, then))
                )

    @property
    def _no_ticket(self) -> Ticket | None:
        return NO_TICKET if self.knows_tickets else None

    def _ask(
        self, limiter: Limiter, visit: _Visit, at: float, reading: Reading, chance: random.Random
    ) -> tuple[float, _Visit] | None:
        """Let the rate limiter decide about a request, and return the next event."""
        # A slow write is repeated with the time at which it ends, and sent then.
        delay = chance.randint(0, self.table_delay)
        late = reading._replace(latest=reading.latest + delay)
        decision, clock = limiter.decide(visit.caller, visit.ticket, late, chance), reading.now
        if visit.ticket not in {None, NO_TICKET} and isinstance(decision, Later):
            self.answers["broken"] += 1
        if isinstance(decision, Grant):
            self.granted.append((max(clock, decision.at) + delay, visit.caller))
            if chance.random() < self.killed:
                self.answers["killed"] += 1
                return _after(at, 1000, chance), visit._replace(ticket=self._no_ticket)
            held = max(0, decision.at - clock) + delay
            # Only the extreme delays, since those exceed a budget first.
            arrives = at + held + chance.choice((0, LAG)) + chance.choice((0, self.latency))
            permit = Permit(arrives, visit.caller, visit.asked, held)
            is_promised = decision.promise is not None and decision.promise.caller == visit.caller
            self.answers["promised" if is_promised else "free"] += 1
            if self.upstream is not None:
                return arrives, visit._replace(sent=permit)
            self.permits.append(permit)
            return None
        if isinstance(decision, Later):
            self.answers["full" if decision.is_full else "later"] += 1
            comes_back, ticket = decision.at - policy.LATER_LEAD, self._no_ticket
        else:
            self.answers["promise"] += 1
            comes_back = decision.at - policy.LEAD
            ticket = Ticket(decision.at, decision.slot) if self.knows_tickets else None
        back = _after(at, comes_back - clock, chance)
        if chance.random() < self.lost or visit.caller in self.leavers:
            return None
        return back, visit._replace(ticket=ticket)

    def _send(self, at: float) -> float | None:
        return self.upstream(at) if self.upstream else None

    def _arrive(
        self, limiter: Limiter, visit: _Visit, clock: int, chance: random.Random
    ) -> tuple[float, _Visit] | None:
        """Let Sync accept or refuse a request, and return the next event."""
        permit = visit.sent
        if permit is None or self.upstream is None:
            return None
        pause = self._send(permit.at)
        if pause is None:
            self.permits.append(permit)
            return None
        self.refused.append(permit.at)
        limiter.back_off(clock, pause)
        if visit.caller in self.leavers:
            return None
        back = _after(permit.at, int(pause), chance)
        return back, _Visit(visit.caller, self._no_ticket, visit.asked)


class _Machine(Clock):
    """The clock of a container whose machine is wrong by some milliseconds."""

    def __init__(self, error: int) -> None:
        self._error = error
        self._at = 0.0

    def machine_time(self) -> int:
        """Return the machine's time."""
        return EPOCH + int(self._at) + self._error

    def read(self, at: float, container: int, *, is_corrected: bool) -> Reading:
        """Return the clock's reading at a moment, after a response of DynamoDB."""
        self._at = at
        received_at = self.machine_time()
        if is_corrected:
            responded_at = EPOCH + int(at) - RESPONSE // 2
            self.observe(responded_at // 1000 * 1000, received_at - RESPONSE, received_at)
        return Reading(self.now(), self.now() + self.uncertainty, container)


def _after(at: float, milliseconds: int, chance: random.Random) -> float:
    """Return the time of a retry: after `Retry-After` in whole seconds, and the network's delay."""
    return at + max(1, -(-milliseconds // 1000)) * 1000 + chance.uniform(20, 200)


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
