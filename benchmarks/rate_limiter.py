"""Simulate the rate limiter: `python -m benchmarks.rate_limiter [folder for the plots]`.

Crowds of callers send requests to hundreds of containers: in a steady stream, all at once, together
with one greedy caller, and with many who never return. The simulation compares the broker's rate
limiter with three simple designs: no limiter, a token bucket, and fixed windows. Each design runs
against a Sync that counts presigns in fixed minutes, and one that counts them in any 60 seconds,
with the sandbox's code. The simulation prints a table, and writes plots to `docs/images`. It takes
two or three minutes on two cores.
"""

import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import quantiles

from benchmarks.crowd import Crowd, Limiter, Permit, Reading, SharedSlots, jain, steady
from chalicelib.ratelimit.policy import Budget, Decision, Grant, Later, Ticket
from sandbox.upstream.ratelimit import RateLimit

ROOT = Path(__file__).parent.parent
BUDGET = Budget(permits=120, window=60_000, longest_wait=61_201)
CONTAINERS = 300
SECONDS = 600  # the duration of each simulation
WARM_UP = 120  # seconds with the first burst, which do not count for the use of the budget
COUNTED = 7 * 61  # seconds after the warm-up that count: whole rounds of the slots
GREEDY = 1
MINUTE = 60_000


class NoLimiter:
    """Grants every presign; only Sync refuses."""

    def decide(
        self, caller: int, ticket: Ticket | None, reading: Reading, chance: random.Random
    ) -> Decision:
        """Grant a presign."""
        del self, caller, ticket, chance
        return Grant(0, reading.now)

    def back_off(self, clock: int, pause: float) -> None:
        """Change nothing."""


class TokenBucket(NoLimiter):
    """Holds as many tokens as the budget, and gains two tokens a second."""

    retry_after = 20_000  # a bucket does not know when it will have a token for this caller

    def __init__(self) -> None:
        self._tokens = float(BUDGET.permits)
        self._filled_at = 0

    def decide(
        self, caller: int, ticket: Ticket | None, reading: Reading, chance: random.Random
    ) -> Decision:
        """Grant a presign if there is a token."""
        del caller, ticket, chance
        clock = reading.now
        since = max(0, clock - self._filled_at) if self._filled_at else 0
        self._filled_at = max(clock, self._filled_at)
        self._tokens = min(BUDGET.permits, self._tokens + since * BUDGET.permits / MINUTE)
        if self._tokens < 1:
            return Later(clock + self.retry_after, is_full=False)
        self._tokens -= 1
        return Grant(0, clock)


class FixedWindows(NoLimiter):
    """Counts the presigns in each minute of the clock."""

    def __init__(self) -> None:
        self._used: Counter[int] = Counter()

    def decide(
        self, caller: int, ticket: Ticket | None, reading: Reading, chance: random.Random
    ) -> Decision:
        """Grant a presign if its minute has budget left."""
        del caller, ticket, chance
        clock = reading.now
        minute = clock // MINUTE
        if self._used[minute] >= BUDGET.permits:
            return Later((minute + 1) * MINUTE, is_full=False)
        self._used[minute] += 1
        return Grant(0, clock)


DESIGNS: dict[str, Callable[[], Limiter]] = {
    "the rate limiter": lambda: SharedSlots(BUDGET),
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
        leavers: Callers who never return after a refusal.
        equals: Callers with equal demand, whose shares are compared.
    """

    arrivals: list[tuple[float, int]]
    leavers: frozenset[int] = frozenset()
    equals: frozenset[int] = frozenset()


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
    return {
        "steady": Pattern(even, equals=frozenset(range(1, 101))),
        "flash crowd": Pattern(flash),
        "one greedy": Pattern(greedy, equals=frozenset(range(2, 32))),
        "never back": Pattern(lost, leavers=frozenset(range(0, len(lost) + 1, 3))),
    }


@dataclass
class Outcome:
    """The result for one crowd, one design and one kind of window.

    Attributes:
        asked: The number of presigns that the callers wanted.
        permits: The presigns that Sync accepted.
        refused: The arrival times of the presigns that Sync refused with 429.
        full: The number of refusals by the design, without a queue position.
        fairness: Jain's index of the shares of callers with equal demand; None for one file each.
        sent: The arrival times of all presigns at Sync.
    """

    asked: int
    permits: list[Permit]
    refused: list[float]
    full: int
    fairness: float | None
    sent: list[float]

    @property
    def use(self) -> float:
        """The used fraction of the budget."""
        counted = sum(0 <= one.at / 1000 - WARM_UP < COUNTED for one in self.permits)
        return counted / (BUDGET.permits * COUNTED / 60)

    @property
    def waits(self) -> list[float]:
        """The seconds that the caller of each presign waited."""
        return [(one.at - one.asked) / 1000 for one in self.permits]


def replay(one: Outcome, window: str) -> Outcome:
    """Return the outcome with the refusals of a Sync that has the other kind of window."""
    limit = RateLimit()
    refused = [
        at for at in one.sent if limit.acquire(at / 1000, BUDGET.permits, window) is not None
    ]
    return replace(one, refused=refused)


def simulate(name: str, design: str, window: str) -> Outcome:
    """Simulate one crowd with one design and one kind of window."""
    pattern = patterns()[name]
    limit = RateLimit()

    def upstream(at: float) -> float | None:
        pause = limit.acquire(at / 1000, BUDGET.permits, window)
        return None if pause is None else pause * 1000

    crowd = Crowd(
        BUDGET,
        containers=CONTAINERS,
        leavers=pattern.leavers,
        limiter=DESIGNS[design](),
        upstream=upstream,
    )
    crowd.run(pattern.arrivals, SECONDS)
    got = Counter(one.caller for one in crowd.permits)
    fairness = jain(got[caller] for caller in pattern.equals) if pattern.equals else None
    sent = sorted([*(one.at for one in crowd.permits), *crowd.refused])
    return Outcome(
        len(pattern.arrivals), crowd.permits, crowd.refused, crowd.answers["full"], fairness, sent
    )


def print_table(found: dict[tuple[str, str, str], Outcome]) -> None:
    """Print a line for each crowd and design, with sliding windows at Sync."""
    print(
        "crowd        design         asked  presigned  429 sliding  429 fixed   use   Jain"
        "   wait median    95 %     max  refused"
    )
    for name in patterns():
        for design in DESIGNS:
            one, fixed = found[name, design, "sliding"], found[name, design, "fixed"]
            cuts = quantiles(one.waits, n=100)
            fairness = "    -" if one.fairness is None else f"{one.fairness:5.3f}"
            print(
                f"{name:12} {design:14} {one.asked:5}  {len(one.permits):9}  "
                f"{len(one.refused):11}  {len(fixed.refused):9}  {one.use:4.0%}  {fairness}  "
                f"{cuts[49]:11.1f} s {cuts[94]:5.0f} s {max(one.waits):5.0f} s {one.full:8}"
            )


def main() -> None:
    """Simulate the crowds, print the table, and draw the plots."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    jobs = [
        (name, design, window)
        for design in DESIGNS
        for name in patterns()
        for window in WINDOWS
        if (design, window) != ("the rate limiter", "fixed")
    ]
    # The longest simulations come first, so that both cores are busy to the end.
    jobs.sort(key=lambda one: (one[1] != "the rate limiter", one[0] != "flash crowd"))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(jobs, pool.map(simulate, *zip(*jobs, strict=True)), strict=True))
    for name in patterns():
        # This simulation takes longest, and is the same for both windows, as Sync refuses nothing.
        line = found[name, "the rate limiter", "sliding"]
        found[name, "the rate limiter", "fixed"] = replay(line, "fixed")
    callers = sum(len({who for _, who in one.arrivals}) for one in patterns().values())
    print(f"{callers} callers, {CONTAINERS} containers, {SECONDS} s each, budget {BUDGET.permits}")
    print_table(found)
    from benchmarks import rate_limiter_plots  # noqa: PLC0415 - each process would load matplotlib

    rate_limiter_plots.draw(folder, found)


if __name__ == "__main__":
    main()
