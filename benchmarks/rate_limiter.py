"""Simulate the rate limiter: `python -m benchmarks.rate_limiter [folder for the plots]`.

Crowds of callers send requests to hundreds of containers: in a steady stream, all at once, together
with one greedy caller, and with many who never return; then the steady stream again with what goes
wrong: clocks, a slow table, containers that are killed, another program with the same key. The
simulation compares the broker's rate limiter with three simple designs: no limiter, a token bucket,
and fixed windows. Each design runs against a Sync that counts presigns in fixed minutes, and one
that counts them in any 60 seconds, with the sandbox's code. Then a few callers want much at once,
and obey `Retry-After` alone or send their tickets too. Then 24 callers with three requests at
once each share the budget. The simulation prints three tables, and writes plots to `docs/images`.
It takes about three minutes on two cores.
"""

import os
import random
import sys
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.crowd import Crowd, Permit, jain, most_in_a_minute, steady
from chalicelib.core import log
from chalicelib.core.clock import MINUTE, SECOND, Clock
from chalicelib.core.errors import RateLimited
from chalicelib.ratelimit.policy import Budget
from sandbox.upstream.ratelimit import RateLimit

ROOT = Path(__file__).parent.parent
BUDGET = Budget(permits=120, window=60_000, longest_wait=61_201)
CONTAINERS = 300
SECONDS = 600  # the duration of each simulation
OTHER_PROGRAM = 30  # requests a minute
LONGEST = 370  # seconds: the five minutes of the longest demand, and a window for the last caller
WARM_UP = 120  # seconds with the first burst, which do not count for the use of the budget
COUNTED = 7 * BUDGET.spacing / 1000  # seconds that count: whole rounds of the slots
GREEDY = 1


@dataclass(frozen=True)
class NoLimiter:
    """Grants every presign; only Sync refuses.

    Attributes:
        shared: The numbers that all containers share.
        clock: The container's clock.
    """

    shared: dict[str, float]
    clock: Clock

    def take(self, caller: int, ticket: str | None) -> bool:
        """Grant a presign."""
        del self, caller, ticket
        return False

    def back_off(self, retry_after: float) -> None:
        """Change nothing."""


class TokenBucket(NoLimiter):
    """Holds as many tokens as the budget, and gains two tokens a second."""

    retry_after = 20  # a bucket does not know when it will have a token for this caller

    def take(self, caller: int, ticket: str | None) -> bool:
        """Grant a presign if there is a token."""
        del caller, ticket
        bucket, now = self.shared, self.clock.now()
        gained = max(0, now - bucket.setdefault("filled", now)) * BUDGET.permits / MINUTE
        bucket["filled"] = max(now, bucket["filled"])
        bucket["tokens"] = min(BUDGET.permits, bucket.get("tokens", BUDGET.permits) + gained)
        if bucket["tokens"] < 1:
            raise RateLimited(retry_after=self.retry_after)
        bucket["tokens"] -= 1
        return False


class FixedWindows(NoLimiter):
    """Counts the presigns in each minute of the clock."""

    def take(self, caller: int, ticket: str | None) -> bool:
        """Grant a presign if its minute has budget left."""
        del caller, ticket
        minute, past = divmod(self.clock.now(), MINUTE)
        used = self.shared.get(str(minute), 0)
        if used >= BUDGET.permits:
            raise RateLimited(retry_after=(MINUTE - past) / SECOND)
        self.shared[str(minute)] = used + 1
        return False


DESIGNS: dict[str, type[NoLimiter] | None] = {
    "the rate limiter": None,
    "no limiter": NoLimiter,
    "token bucket": TokenBucket,
    "fixed windows": FixedWindows,
}
WINDOWS = ("sliding", "fixed")


@dataclass(frozen=True)
class Pattern:
    """The arrivals of a crowd.

    Attributes:
        arrivals: The time of each request, in milliseconds, and its caller.
        equals: Callers with equal demand, whose shares are compared.
        conditions: What else differs: fields of `Crowd`.
    """

    arrivals: list[tuple[float, int]]
    equals: frozenset[int] = frozenset()
    conditions: Mapping[str, Any] = field(default_factory=dict)


def patterns() -> dict[str, Pattern]:
    """Return the crowds by their names."""
    chance = random.Random(3)  # noqa: S311 - reproducible
    # 150 % of the budget: 100 callers with 18 files each.
    even = [
        (second * 1000 + chance.uniform(0, 33_000), caller)
        for caller in range(1, 101)
        for second in range(0, SECONDS, 33)
    ]
    flash = [(chance.uniform(0, 10_000), caller) for caller in range(1, 20_001)]
    modest = [(chance.uniform(50, 10_000), caller) for caller in range(2, 32) for _ in range(2)]
    later = steady(1, 1500, SECONDS - 60, seed=5)
    beside = [(at, caller + 31) for at, caller in later if at > 10_000]  # noqa: PLR2004 - after the modest ones
    greedy = [*[(0.0, GREEDY)] * 1000, *modest, *beside]
    # 200 % of the budget, by callers with one file; every third one leaves if it has to wait.
    lost = [(at, number) for number, (at, _) in enumerate(steady(4, 1, SECONDS), 1)]
    equals = frozenset(range(1, 101))
    foreign = [at for at, _ in steady(OTHER_PROGRAM / 60, 1, SECONDS, seed=9)]
    return {
        "steady": Pattern(even, equals),
        "flash crowd": Pattern(flash),
        "one greedy": Pattern(greedy, frozenset(range(2, 32))),
        "never back": Pattern(lost, conditions={"leavers": frozenset(range(0, len(lost) + 1, 3))}),
        "15 s apart": Pattern(even, equals, {"skew": 7_500}),
        "slow table": Pattern(even, equals, {"table_delay": 2_000}),
        "kills": Pattern(even, equals, {"killed": 0.05}),
        "other program": Pattern(even, equals, {"foreign": foreign}),
    }


PLOTTED = ("steady", "flash crowd", "one greedy", "never back")


@dataclass
class Outcome:
    """The result for one crowd, one design and one kind of window.

    Attributes:
        asked: The number of presigns that the callers wanted.
        permits: The presigns that Sync accepted.
        refused: The arrival times of the presigns that Sync refused with 429.
        foreign_refused: How many requests of the other program Sync refused.
        full: The number of refusals of a full queue.
        fairness: Jain's index of the shares of callers with equal demand; None for one file each.
        sent: The arrival times of all presigns at Sync.
    """

    asked: int
    permits: list[Permit]
    refused: list[float]
    foreign_refused: int
    full: int
    fairness: float | None
    sent: list[float]

    @property
    def use(self) -> float:
        """The used fraction of what a safe window leaves of the budget."""
        counted = sum(0 <= one.at / 1000 - WARM_UP < COUNTED for one in self.permits)
        return counted / (7 * BUDGET.permits)

    @property
    def waits(self) -> list[float]:
        """The seconds that the caller of each presign waited."""
        return [(one.at - one.asked) / 1000 for one in self.permits]


def a_crowd(design: str, window: str, **conditions: Any) -> Crowd:
    """Return a crowd with one design, before a Sync with one kind of window."""
    log.configure("ERROR")  # Each response with 429 would give a line.
    limit, kind, shared = RateLimit(), DESIGNS[design], dict[str, float]()
    return Crowd(
        BUDGET,
        design=kind and partial(kind, shared),
        upstream=lambda at: limit.acquire(at / SECOND, BUDGET.permits, window),
        **{"containers": CONTAINERS, "table_delay": 30, **conditions},
    )


def simulate(name: str, design: str, window: str) -> Outcome:
    """Simulate one crowd with one design and one kind of window."""
    pattern = patterns()[name]
    crowd = a_crowd(design, window, **pattern.conditions)
    crowd.run(pattern.arrivals, SECONDS)
    got = Counter(one.caller for one in crowd.permits)
    fairness = jain(got[caller] for caller in pattern.equals) if pattern.equals else None
    sent = sorted([*(one.at for one in crowd.permits), *crowd.refused])
    return Outcome(
        len(pattern.arrivals),
        crowd.permits,
        crowd.refused,
        crowd.foreign_refused,
        crowd.answers["full"],
        fairness,
        sent,
    )


def print_table(found: Mapping[tuple[str, str, str], Outcome]) -> None:
    """Print a line for each crowd and design, with sliding windows at Sync."""
    print(
        "crowd         design           asked  presigned  429 sliding  429 fixed  in 60 s   use   "
        "Jain   wait median    95 %     max   full"
    )
    for name in patterns():
        for design in DESIGNS:
            one, fixed = found[name, design, "sliding"], found[name, design, "fixed"]
            cuts = quantiles(one.waits, n=100)
            fairness = "    -" if one.fairness is None else f"{one.fairness:5.3f}"
            refused = len(one.refused) + one.foreign_refused
            print(
                f"{name:13} {design:16} {one.asked:5}  {len(one.permits):9}  {refused:11}  "
                f"{len(fixed.refused) + fixed.foreign_refused:9}  {most_in_a_minute(one.sent):7}  "
                f"{one.use:4.0%}  {fairness}  {cuts[49]:11.1f} s {cuts[94]:5.0f} s "
                f"{max(one.waits):5.0f} s {one.full:6}"
            )


@dataclass(frozen=True)
class Demand:
    """Callers who want much at once. The first one is heavy, the others are light.

    Attributes:
        arrivals: The time of each request, in milliseconds, and its caller.
        more: How many requests the heavy caller sends when earlier ones have their permits.
    """

    arrivals: list[tuple[float, int]]
    more: int = 0


def demands() -> dict[str, Demand]:
    """Return the demands by their names."""
    heavy = [(0.0, GREEDY)] * 122
    light = [2 + number % 39 for number in range(78)]
    beside = [(97.0 * number % 300 * 1000, 2 + number % 30) for number in range(60)]
    return {
        "one caller, 122 parallel, 200 files": Demand(heavy, 78),
        "40 callers, one with 122 of 200": Demand([*[(0.0, one) for one in light], *heavy]),
        "the same, the heavy one 0.2 s ahead": Demand([*heavy, *[(200.0, one) for one in light]]),
        "1,000 parallel beside 30, 5 min": Demand([*[(0.0, GREEDY)] * 1000, *beside], 10_000),
    }


def serve(name: str, design: str, *, knows_tickets: bool) -> str:
    """Simulate one demand, and return its line of the table."""
    demand = demands()[name]
    crowd = a_crowd(design, "sliding", knows_tickets=knows_tickets, more={GREEDY: demand.more})
    crowd.run(demand.arrivals, LONGEST)
    light = [one for one in crowd.permits if one.caller != GREEDY]
    minutes = Counter(int(one.at // MINUTE) for one in crowd.permits)
    fewest = min(minutes[minute] for minute in range(5))
    wanted = sum(caller != GREEDY for _, caller in demand.arrivals)
    waits = [(one.at - one.asked) / 1000 for one in light]
    clients = "tickets" if knows_tickets else "plain"
    return (
        f"{name:36} {design:16} {clients:7}  {len(crowd.permits):5}  {len(crowd.refused):6}  "
        f"{max(one.at for one in crowd.permits) / 1000:6.1f} s  {len(light):3} of {wanted:3}  "
        f"{max(waits, default=0):6.1f} s  {fewest:4}"
    )


def print_demands() -> None:
    """Print a line for each demand, design and kind of client."""
    print(
        f"\n{'demand':36} {'design':16} clients    sent     429  last after       light  waited up"
        " to  a minute, at least"
    )
    for name in demands():
        for design in DESIGNS:
            for knows_tickets in (False, True) if design == "the rate limiter" else (False,):
                print(serve(name, design, knows_tickets=knows_tickets))


def print_shares() -> None:
    """Print what equal callers get who want more than the budget, three at once each."""
    callers = range(1, 25)
    chance = random.Random(7)  # noqa: S311 - reproducible
    starts = {one: chance.uniform(0, 12_000) for one in callers}
    crowds = patterns()
    conditions = {name: crowds[name].conditions for name in ("steady", "15 s apart", "kills")}
    conditions["slow table"] = {"table_delay": 1_200}
    print("\n24 callers, 3 parallel  clients  presigns  429   Jain  longest wait")
    for name, condition in conditions.items():
        for knows_tickets in (False, True):
            endless = dict.fromkeys(callers, SECONDS * BUDGET.permits)
            crowd = a_crowd(
                "the rate limiter",
                "sliding",
                more=endless,
                knows_tickets=knows_tickets,
                **{"containers": 4, **condition},
            )
            crowd.run([(at, one) for one, at in starts.items() for _ in range(3)], SECONDS)
            # The first callers find the whole budget, so the first window is theirs.
            later = Counter(one.caller for one in crowd.permits if one.at > BUDGET.spacing)
            waits = [(one.at - one.asked) / 1000 for one in crowd.permits]
            clients = "tickets" if knows_tickets else "plain"
            print(
                f"{name:22}  {clients:7}  {len(crowd.permits):8}  {len(crowd.refused):3}  "
                f"{jain(later[one] for one in callers):5.3f}  {max(waits):10.0f} s"
            )


def main() -> None:
    """Simulate the crowds and the demands, print the tables, and draw the plots."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (name, design, window) for design in DESIGNS for name in patterns() for window in WINDOWS
    ]
    # The longest simulations come first, so that both cores are busy to the end.
    jobs.sort(key=lambda one: (one[1] != "the rate limiter", one[0] != "flash crowd"))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(jobs, pool.map(simulate, *zip(*jobs, strict=True)), strict=True))
    print(f"{CONTAINERS} containers, {SECONDS} s each, budget {BUDGET.permits}")
    print_table(found)
    print_demands()
    print_shares()
    from benchmarks import rate_limiter_plots  # noqa: PLC0415 - each process would load matplotlib

    rate_limiter_plots.draw(
        folder, {key: one for name in PLOTTED for key, one in found.items() if key[0] == name}
    )


if __name__ == "__main__":
    main()
