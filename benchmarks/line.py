"""Simulate the line, in a time of its own: `python benchmarks/line.py [folder for the plots]`.

Crowds of callers come to hundreds of containers: in a steady stream, all at once, beside one who
is greedy, and with many who never come back. The broker's line stands beside three plain designs
(no limiter, a token bucket, fixed windows), and each of them before a sync. that counts in fixed
minutes and before one that counts in any 60 seconds, with the sandbox's own code. The table goes
to the terminal, and the plots to `docs/images`. All of it takes two or three minutes on two cores.
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

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from crowd import Crowd, Grant, Limiter, SharedLine, jain, steady  # noqa: E402 - it needs the path

from chalicelib.ratelimit.policy import Budget, Full, Place, Turn  # noqa: E402 - as above
from sandbox.upstream.ratelimit import RateLimit  # noqa: E402 - as above

BUDGET = Budget(places=120, max_wait=300_000)
CONTAINERS = 300
SECONDS = 600  # how long each crowd is looked on
WARM_UP = 120  # seconds that are not counted for the use of the budget: the first burst is in them
COUNTED = 7 * 61  # seconds after them that are: whole rounds of the line's slots
GREEDY = 1
MINUTE = 60_000


class NoLimiter:
    """Lets everybody through; only sync. refuses."""

    def decide(
        self, caller: int, turn: int | None, clock: int, container: int, chance: random.Random
    ) -> Place | Turn | Full:
        """Let a request through."""
        del self, caller, turn, container, chance
        return Place(0, clock)

    def slow_down(self, clock: int, pause: float) -> None:
        """Go on as before."""


class TokenBucket(NoLimiter):
    """Holds as many tokens as the budget, and gets two of them back in a second."""

    again = 20_000  # a bucket does not know when there will be one for this caller

    def __init__(self) -> None:
        self._tokens = float(BUDGET.places)
        self._filled_at = 0

    def decide(
        self, caller: int, turn: int | None, clock: int, container: int, chance: random.Random
    ) -> Place | Turn | Full:
        """Take a token, or refuse."""
        del caller, turn, container, chance
        since = max(0, clock - self._filled_at) if self._filled_at else 0
        self._filled_at = max(clock, self._filled_at)
        self._tokens = min(BUDGET.places, self._tokens + since * BUDGET.places / MINUTE)
        if self._tokens < 1:
            return Full(clock + self.again)
        self._tokens -= 1
        return Place(0, clock)


class FixedWindows(NoLimiter):
    """Counts what was let through in each minute of the clock."""

    def __init__(self) -> None:
        self._used: Counter[int] = Counter()

    def decide(
        self, caller: int, turn: int | None, clock: int, container: int, chance: random.Random
    ) -> Place | Turn | Full:
        """Let a request through while its minute has room."""
        del caller, turn, container, chance
        minute = clock // MINUTE
        if self._used[minute] >= BUDGET.places:
            return Full((minute + 1) * MINUTE)
        self._used[minute] += 1
        return Place(0, clock)


DESIGNS: dict[str, Callable[[], Limiter]] = {
    "the line": lambda: SharedLine(BUDGET, {}),
    "no limiter": NoLimiter,
    "token bucket": TokenBucket,
    "fixed windows": FixedWindows,
}
WINDOWS = ("sliding", "fixed")


@dataclass(frozen=True)
class Pattern:
    """How callers come.

    Attributes:
        arrivals: When, in milliseconds, and who.
        leavers: Those who never come back when they are sent away.
        equals: Those who ask for the same, whose shares are compared.
    """

    arrivals: list[tuple[float, int]]
    leavers: frozenset[int] = frozenset()
    equals: frozenset[int] = frozenset()


def patterns() -> dict[str, Pattern]:
    """Make the crowds."""
    chance = random.Random(3)  # noqa: S311 - repeatable
    # Half more than the budget: 100 callers with 18 files each.
    even = [
        (second * 1000 + chance.uniform(0, 33_000), caller)
        for caller in range(1, 101)
        for second in range(0, SECONDS, 33)
    ]
    flash = [(chance.uniform(0, 10_000), caller) for caller in range(1, 20_001)]
    modest = [(chance.uniform(50, 10_000), caller) for caller in range(2, 32) for _ in range(2)]
    later = steady(1, 1500, SECONDS - 60, seed=5)
    beside = [(at, caller + 31) for at, caller in later if at > 10_000]  # noqa: PLR2004 - as above
    greedy = [*[(0.0, GREEDY)] * 1000, *modest, *beside]
    # Twice the budget, by callers who come once; each third one leaves for good when it must wait.
    lost = [(at, number) for number, (at, _) in enumerate(steady(4, 1, SECONDS), 1)]
    return {
        "steady": Pattern(even, equals=frozenset(range(1, 101))),
        "flash crowd": Pattern(flash),
        "one greedy": Pattern(greedy, equals=frozenset(range(2, 32))),
        "never back": Pattern(lost, leavers=frozenset(range(0, len(lost) + 1, 3))),
    }


@dataclass
class Outcome:
    """What came of one crowd before one design and one kind of window.

    Attributes:
        asked: How many requests for a presign there were.
        grants: The presigns that sync. took.
        refused: When those came that it answered with 429.
        full: How often the design refused by itself, without a turn.
        fairness: Jain's index of what those got who asked for the same; None if once each.
        sent: When presigns came to sync., taken or not.
    """

    asked: int
    grants: list[Grant]
    refused: list[float]
    full: int
    fairness: float | None
    sent: list[float]

    @property
    def use(self) -> float:
        """Return the used part of the budget."""
        counted = sum(0 <= one.at / 1000 - WARM_UP < COUNTED for one in self.grants)
        return counted / (BUDGET.places * COUNTED / 60)

    @property
    def waits(self) -> list[float]:
        """Return the seconds that each presign's caller waited."""
        return [(one.at - one.asked) / 1000 for one in self.grants]


def replay(one: Outcome, window: str) -> Outcome:
    """Show what was sent to a sync. with the other windows: it refuses nothing, or it is told."""
    limit = RateLimit()
    refused = [at for at in one.sent if limit.acquire(at / 1000, BUDGET.places, window) is not None]
    return replace(one, refused=refused)


def simulate(name: str, design: str, window: str) -> Outcome:
    """Let one crowd come to one design before one kind of window."""
    pattern = patterns()[name]
    limit = RateLimit()

    def upstream(at: float) -> float | None:
        pause = limit.acquire(at / 1000, BUDGET.places, window)
        return None if pause is None else pause * 1000

    crowd = Crowd(
        BUDGET,
        containers=CONTAINERS,
        leavers=pattern.leavers,
        limiter=DESIGNS[design](),
        upstream=upstream,
    )
    crowd.run(pattern.arrivals, SECONDS)
    got = Counter(one.caller for one in crowd.grants)
    fairness = jain(got[caller] for caller in pattern.equals) if pattern.equals else None
    sent = sorted([*(one.at for one in crowd.grants), *crowd.refused])
    return Outcome(
        len(pattern.arrivals), crowd.grants, crowd.refused, crowd.answers["full"], fairness, sent
    )


def print_table(found: dict[tuple[str, str, str], Outcome]) -> None:
    """Print one line for each crowd and design, before a sync. of sliding windows."""
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
                f"{name:12} {design:14} {one.asked:5}  {len(one.grants):9}  "
                f"{len(one.refused):11}  {len(fixed.refused):9}  {one.use:4.0%}  {fairness}  "
                f"{cuts[49]:11.1f} s {cuts[94]:5.0f} s {max(one.waits):5.0f} s {one.full:8}"
            )


def main() -> None:
    """Simulate, print and draw."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    jobs = [
        (name, design, window)
        for design in DESIGNS
        for name in patterns()
        for window in WINDOWS
        if (design, window) != ("the line", "fixed")
    ]
    # The longest ones first.
    jobs.sort(key=lambda one: (one[1] != "the line", one[0] != "flash crowd"))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(jobs, pool.map(simulate, *zip(*jobs, strict=True)), strict=True))
    for name in patterns():
        # It costs most, and is the same before both: sync. had nothing to refuse.
        line = found[name, "the line", "sliding"]
        found[name, "the line", "fixed"] = replay(line, "fixed")
    callers = sum(len({who for _, who in one.arrivals}) for one in patterns().values())
    print(f"{callers} callers, {CONTAINERS} containers, {SECONDS} s each, budget {BUDGET.places}")
    print_table(found)
    import line_plots  # noqa: PLC0415 - matplotlib takes a second, and each process would load it

    line_plots.draw(folder, found)


if __name__ == "__main__":
    main()
