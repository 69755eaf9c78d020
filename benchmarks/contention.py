"""A simulation of containers that write a rate limiter's items at the same time.

The rate limiter is the broker's own code, with tables in memory. A container serves one request at
a time, decides by its last copy of an item, and writes on the condition that the slot is as in the
copy. A refused write returns the item, and the container decides again. Clocks are exact. Only
`POST /uploads` is simulated, and who gets no promise does not come again. All times are in
milliseconds.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable
from functools import partial

from benchmarks.cost import DYNAMODB_MS, SYNC_MS
from benchmarks.simulation import EPOCH, Machine, MemoryTable, Simulation, Store
from chalicelib.aws import codec
from chalicelib.core import errors
from chalicelib.core.clock import MINUTE, SECOND
from chalicelib.ratelimit.limiter import RateLimiter
from chalicelib.ratelimit.policy import Budget
from chalicelib.ratelimit.slots import Event, write_grant

CALL = (DYNAMODB_MS / 2, DYNAMODB_MS * 3 / 2)  # a call of DynamoDB takes a time between these
PRESIGN = SYNC_MS["presign"] + DYNAMODB_MS  # with the transaction that follows
CONTAINERS = 30  # at the start; scale.py computes that so many run for 1,200 uploads a minute
SPACING = Budget(1, MINUTE, MINUTE).spacing


class Containers:
    """Containers that share a limiter's items, in simulated time.

    Args:
        permits: The number of slots of an item, which is its budget for a minute.
        items: The number of items.
        is_idle: Whether all slots are free at the start. Otherwise they were granted evenly in the
            window before.

    Attributes:
        grants: The permits that were granted.
    """

    def __init__(self, permits: int, items: int, *, is_idle: bool) -> None:
        self.grants = 0
        self._permits = permits
        self._chance = random.Random(permits)  # noqa: S311 - reproducible
        self._simulation = Simulation()
        self._clock = Machine(self._simulation)
        self._stores = [Store() for _ in range(items)]
        if not is_idle:
            for store in self._stores:
                store.item = _in_use(permits)
        self._idle: list[dict[int, RateLimiter]] = [{} for _ in range(CONTAINERS)]

    def run(self, arrivals: Iterable[tuple[float, int]], until: float) -> "Containers":
        """Simulate requests, each of another caller.

        Args:
            arrivals: The time and the item of each.
            until: The end of the simulation.

        Returns:
            The same containers.
        """
        for at, item in arrivals:
            caller = f"{self._chance.getrandbits(32):08x}"
            self._simulation.start(at, partial(self._ask, caller, item, ""))
        self._simulation.run(until)
        return self

    @property
    def writes(self) -> int:
        """The writes, with those that were refused."""
        return sum(one.writes for one in self._stores)

    @property
    def calls_for_a_permit(self) -> float:
        """The limiter's calls of DynamoDB for each permit that was granted."""
        return (self.writes + sum(one.reads for one in self._stores)) / self.grants

    @property
    def refused_share(self) -> float:
        """The part of the writes that was refused, because another container changed the slot."""
        return sum(one.refused for one in self._stores) / self.writes

    @property
    def most_units(self) -> int:
        """The write units of an item in its busiest second."""
        return max(max(one.units.values(), default=0) for one in self._stores)

    def _ask(self, caller: str, item: int, ticket: str) -> None:
        """Serve a request in a container that is idle, or in a new one."""
        idle = self._idle
        limiters = idle.pop(self._chance.randrange(len(idle))) if idle else {}
        limiter = limiters.setdefault(item, self._limiter(item))
        try:
            permit = limiter.acquire(caller, ticket)
            self._simulation.wait(self._call())  # that of the quota
            limiter.commit(permit)
            self.grants += 1
            self._simulation.wait(PRESIGN)
        except errors.RateLimited as refusal:
            if promised := refusal.fields.get("ticket"):
                pause = max(1, math.ceil(refusal.retry_after or 0)) * SECOND
                again = partial(self._ask, caller, item, str(promised))
                self._simulation.start(self._simulation.at + pause, again)
        idle.append(limiters)

    def _call(self) -> float:
        return self._chance.uniform(*CALL)

    def _limiter(self, item: int) -> RateLimiter:
        return RateLimiter(
            MemoryTable(self._stores[item], self._simulation, self._clock, self._call),
            self._clock,
            "presigns",
            self._permits,
            MINUTE,
            busy="Much is asked.",
            has_tickets=True,
            chance=self._chance,
        )


def _in_use(permits: int) -> codec.Item:
    """Return an item whose slots were granted evenly in the window before."""
    first = EPOCH - SPACING + SPACING // permits // 2
    grants = (Event(first + SPACING * slot // permits, 0) for slot in range(permits))
    return codec.key("limit#presigns") | codec.values(
        {f"s{slot:x}": write_grant(grant, slot) for slot, grant in enumerate(grants)}
    )


def steady(permits: int, items: int, load: float, seconds: float) -> tuple[Containers, float]:
    """Simulate a stream of requests, each at a random item. All items were in full use before.

    Args:
        permits: The slots of an item.
        items: The number of items.
        load: The requests, as a multiple of the whole budget. Their number is exact.
        seconds: The duration.

    Returns:
        The containers, and the part of the budget that stayed unused.
    """
    chance = random.Random(permits)  # noqa: S311 - reproducible
    until = seconds * SECOND
    offered = permits * items * until / SPACING
    arrivals = [
        (chance.uniform(0, until), chance.randrange(items)) for _ in range(round(load * offered))
    ]
    found = Containers(permits, items, is_idle=False).run(arrivals, until)
    return found, 1 - found.grants / offered


def crowd(permits: int, items: int, seconds: float) -> Containers:
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
