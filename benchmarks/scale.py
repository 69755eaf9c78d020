"""Compute what breaks first with more uploads: `python -m benchmarks.scale` prints the tables.

The counts are those of `benchmarks/cost.py`. `benchmarks/contention.py` simulates a rate limiter's
items. The rest is arithmetic.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3

from benchmarks import contention, cost
from benchmarks.parts import running_dynamodb
from benchmarks.scale_limits import (
    FACTORS,
    FURTHEST,
    SHARES,
    SWEPT,
    Calls,
    Limit,
    closed,
    limits,
    running,
    uploads,
)
from chalicelib.aws import clients
from chalicelib.core.settings import MOST_PER_MINUTE
from ops import table
from tests.support.running_broker import RunningBroker
from tests.support.upstream_process import RunningUpstream

SLOTS = (30, 120, 300)
SPLIT = 1200  # presigns in a minute that are split: ten times as many as today
STREAM = 20  # seconds
CROWD = 1  # second
FILES = 10  # of one caller


def rows_of_loads(calls: Calls) -> Iterator[tuple[str, ...]]:
    """Yield the load at each factor."""
    fixed = sum(float(dollars) for _, dollars in cost.rows_of_months(calls, cost.alarms()))

    def row(name: str, an_upload: float, form: str = ",.0f", more: float = 0) -> tuple[str, ...]:
        values = (uploads(factor) * an_upload + more for factor in FACTORS)
        return name, *(format(value, form) for value in values)

    def each(value: Any) -> float:
        return sum(value(calls[name]) * number for name, number in cost.UPLOAD.items())

    yield row("uploads a minute", 60)
    for name, number in cost.UPLOAD.items():
        yield row(f"{name}, a second", number)
    yield row("requests a second", each(lambda _: 1))
    yield row("functions at once", running(calls, 1) / uploads(1))
    yield row("DynamoDB calls a second", each(lambda call: call.spent.calls))
    yield row("DynamoDB read units a second", each(lambda call: call.spent.reads))
    yield row("DynamoDB write units a second, with indexes", each(lambda call: call.spent.writes))
    yield row("logs, GB a day", each(lambda call: call.log) * 86_400 / cost.GB, ",.1f")
    dollars = cost.dollars_for_uploads(calls) * cost.SECONDS / cost.MILLION
    yield row("US$ a month", dollars, more=fixed)


def rows_of_limits(ranked: list[Limit]) -> Iterator[tuple[str, ...]]:
    """Yield each limit, the load at each factor, and the factor up to which it holds."""
    for one in ranked:
        loads = (one.load(factor) for factor in FACTORS)
        yield (
            one.name,
            f"{one.most:,}",
            *(f"{load:,.0f}" if load >= 10 else f"{load:,.1f}" for load in loads),  # noqa: PLR2004 - digits
            _factor(one.breaks_at),
        )


def rows_of_sweeps() -> Iterator[tuple[str, ...]]:
    """Yield what closed tabs need of the sweep, and the factors up to which settings suffice."""
    for one in closed():
        yield (
            one.when,
            str(one.tries),
            *(f"{one.minute(share, 1):,.0f}" for share in SHARES),
            *(_factor(SWEPT / one.minute(share, 1)) for share in SHARES),
            *(_factor(MOST_PER_MINUTE / one.registrations(share, 1)) for share in SHARES),
        )


def rows_of_items() -> Iterator[tuple[str, ...]]:
    """Yield what splitting a budget over several items costs, as simulated."""
    for slots in SLOTS:
        items = SPLIT // slots
        even, unused = contention.steady(slots, items, 1, STREAM)
        full, _ = contention.steady(slots, items, 1.5, STREAM)
        founds = (even, full, contention.crowd(slots, items, CROWD))
        crowds = (contention.unused_by_crowd(slots, items, files) for files in (1, FILES))
        yield (
            f"{items} of {slots:,}",
            *(f"{one.calls_for_a_permit:.1f}" for one in founds),
            *(f"{one.refused_share:.0%}" for one in founds),
            *(f"{one.most_units:,}" for one in founds),
            *(f"{max(0, share):.0%}" for share in (unused, *crowds)),
        )


def rows_of_broken(ranked: list[Limit]) -> Iterator[tuple[str, str]]:
    """Yield what is over its limit at each factor and was not at the one before, in order."""
    before = 0
    for factor in FACTORS:
        names = [one.name for one in ranked if before <= one.breaks_at < factor]
        yield f"x{factor:,}", "; ".join(names)
        before = factor


def _factor(value: float) -> str:
    if value >= FURTHEST - 1:
        return f"over x{FURTHEST:,}"
    return f"x{value:,.1f}" if value < 100 else f"x{value:,.0f}"  # noqa: PLR2004 - digits


def report(calls: Calls) -> str:
    """Return the tables of docs/decisions/scale.md, without the simulated one."""
    ranked = limits(calls)
    factors = tuple(f"x{factor:,}" for factor in FACTORS)
    shares = tuple(f"{share:.0%}" for share in SHARES)
    swept = (f"{SWEPT} a minute: {shares[0]}", *shares[1:])
    registered = (f"{MOST_PER_MINUTE} registrations: {shares[0]}", *shares[1:])
    return "\n\n".join(
        [
            cost.markdown(("factor", "now over its limit"), rows_of_broken(ranked)),
            cost.markdown(("load", *factors), rows_of_loads(calls)),
            cost.markdown(("limit", "most", *factors, "holds up to"), rows_of_limits(ranked)),
            cost.markdown(("tabs closed", "tries", *shares, *swept, *registered), rows_of_sweeps()),
        ]
    )


def report_items() -> str:
    """Return the simulated table of docs/decisions/scale.md."""
    loads = ("100 %", "150 %", "a crowd")
    calls, refused, units = (
        (f"{name}: {loads[0]}", *loads[1:]) for name in ("calls", "refused", "units")
    )
    unused = ("unused: 100 %", "a crowd", f"{FILES} files each")
    head = ("items of slots", *calls, *refused, *units, *unused)
    return cost.markdown(head, rows_of_items())


def main() -> None:
    """Start the emulator of DynamoDB and the stand-in for Sync, and print the tables."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(running_dynamodb(folder))
        upstream = RunningUpstream(folder)
        stack.callback(upstream.stop)
        table.create(clients.dynamodb(), "scale")
        broker = RunningBroker("scale")
        stack.callback(broker.stop)
        print(report(cost.count(broker, upstream, boto3.client("dynamodb"))))
        print(f"\n{report_items()}")


if __name__ == "__main__":
    main()
