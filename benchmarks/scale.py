"""Compute what breaks first with more uploads: `python -m benchmarks.scale` prints the tables.

The counts are those of `benchmarks/cost.py`, and the registration limiter's, which runs with many
containers here. `benchmarks/contention.py` simulates the presign limiter. The rest is arithmetic.
"""

import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
from chalicelib.ratelimit.registrations import RegistrationLimiter

from benchmarks import contention, cost
from benchmarks.parts import running_dynamodb
from benchmarks.request_units import weigh
from benchmarks.scale_limits import (
    FACTORS,
    FURTHEST,
    SHARES,
    SWEPT,
    Counted,
    Limit,
    Permits,
    closed,
    limits,
    running,
    swept_in_a_minute,
    uploads,
)
from chalicelib.aws import clients
from chalicelib.aws.table import Table
from chalicelib.ratelimit import registrations
from ops import table
from tests.support.clocks import ManualClock
from tests.support.running_broker import RunningBroker
from tests.support.upstream_process import RunningUpstream

PERMITS = 100  # are counted, after as many as fill the item
UNBOUNDED = 10**6  # permits in a minute, because the setting's own bound is another limit
SLOTS = (30, 120, 300, 1200)
SPLIT = 1200  # presigns in a minute that are split: ten times as many as today
STREAM = 20  # seconds
CROWD = 1  # second
FILES = 10  # of one caller


def count_permits(name: str, factor: int, containers: int) -> Permits:
    """Let containers take permits for registrations, each for another caller, and count the writes.

    Args:
        name: The table, without the limiter's item.
        factor: The factor.
        containers: The number of containers. Each knows the item as of its own last permit.
    """
    session = boto3.Session()
    writes: list[None] = []
    session.events.register("before-call.dynamodb.UpdateItem", lambda **_: writes.append(None))
    client, clock = session.client("dynamodb"), ManualClock()
    of_all = Table(client, name, clock)
    limiters = [RegistrationLimiter(of_all, UNBOUNDED, clock) for _ in range(containers)]
    chance = random.Random(factor)  # noqa: S311 - reproducible
    filling = round(uploads(factor) * registrations.FORGET_AFTER / 1000)
    for number in range(filling + PERMITS):
        if number == filling:
            writes.clear()
        clock.advance(1 / uploads(factor))
        chance.choice(limiters).acquire(chance.randbytes(16).hex())
    key = {"pk": {"S": registrations.PK}}
    removed = client.delete_item(TableName=name, Key=key, ReturnValues="ALL_OLD")
    return Permits(len(writes) / PERMITS, weigh(removed["Attributes"]))


def count(broker: RunningBroker, upstream: RunningUpstream, unmetered: Any) -> Counted:
    """Count what requests and permits need.

    Args:
        broker: The broker, with an empty table.
        upstream: The stand-in for Sync.
        unmetered: A DynamoDB client of another session.
    """
    counted = Counted(cost.count(broker, upstream, unmetered), {})
    unmetered.delete_item(TableName=broker.table, Key={"pk": {"S": registrations.PK}})
    for factor in (1, 10):
        containers = round(running(counted, factor))
        counted.permits[factor] = count_permits(broker.table, factor, containers)
    return counted


def rows_of_loads(counted: Counted) -> Iterator[tuple[str, ...]]:
    """Yield the load at each factor."""
    calls = counted.calls
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
    yield row("functions at once", running(counted, 1) / uploads(1))
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


def rows_of_sweeps(counted: Counted) -> Iterator[tuple[str, ...]]:
    """Yield what closed tabs need of the sweep, and the factors up to which it keeps up."""
    for one in closed():
        yield (
            one.when,
            str(one.tries),
            *(f"{one.minute(share, 1):,.0f}" for share in SHARES),
            *(
                _factor(one.holds_up_to(share, most))
                for most in (SWEPT, swept_in_a_minute(counted))
                for share in SHARES
            ),
        )


def rows_of_items() -> Iterator[tuple[str, ...]]:
    """Yield what splitting a budget over several items costs, as simulated."""
    for slots in SLOTS:
        items = SPLIT // slots
        even, unused = contention.steady(slots, items, 1, STREAM)
        full, unused_full = contention.steady(slots, items, 1.5, STREAM)
        crowd = contention.crowd(slots, items, CROWD)
        founds = (even, full, crowd)
        waits = (contention.unused_by_crowd(slots, items, files) for files in (1, FILES))
        yield (
            f"{items} of {slots:,}",
            *(f"{one.calls_for_a_permit:.1f}" for one in founds),
            *(f"{one.refused_share:.0%}" for one in founds),
            *(f"{max(0, share):.0%}" for share in (unused, unused_full)),
            *(f"{share:.0%}" for share in waits),
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


def report(counted: Counted) -> str:
    """Return the tables of docs/decisions/scale.md, without the simulated one."""
    ranked = limits(counted)
    factors = tuple(f"x{factor:,}" for factor in FACTORS)
    shares = tuple(f"{share:.0%}" for share in SHARES)
    kept_up = (f"{SWEPT} a minute: {shares[0]}", *shares[1:], f"one function: {shares[0]}")
    return "\n\n".join(
        [
            cost.markdown(("factor", "now over its limit"), rows_of_broken(ranked)),
            cost.markdown(("load", *factors), rows_of_loads(counted)),
            cost.markdown(("limit", "most", *factors, "holds up to"), rows_of_limits(ranked)),
            cost.markdown(
                ("tabs closed", "tries", *shares, *kept_up, *shares[1:]), rows_of_sweeps(counted)
            ),
        ]
    )


def report_items() -> str:
    """Return the simulated table of docs/decisions/scale.md."""
    loads = ("100 %", "150 %", "a crowd")
    calls, refused, unused = (
        (f"{name}: {loads[0]}", *loads[1:]) for name in ("calls", "refused", "unused")
    )
    head = ("items of slots", *calls, *refused, *unused, f"{FILES} files each")
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
        print(report(count(broker, upstream, boto3.client("dynamodb"))))
        print(f"\n{report_items()}")


if __name__ == "__main__":
    main()
