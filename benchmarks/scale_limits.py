"""The limits of the broker, of Sync and of AWS, and how near a load comes to each of them. Pure.

A factor is a multiple of Sync's present limit, 120 presigns in a minute for a key. At a factor, the
whole budget is asked for all the time, by uploads as `benchmarks/cost.py` counts them.
"""

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from benchmarks.cost import BUDGET, DYNAMODB_MS, OWN_MS, SYNC_MS, UPLOAD, Call
from benchmarks.request_units import KB, weigh
from chalicelib.aws import codec
from chalicelib.core.clock import DAY, HOUR, MINUTE, SECOND
from chalicelib.core.settings import MOST_PER_MINUTE
from chalicelib.jobs.sweeper import CHUNK, WORKERS
from chalicelib.ratelimit.policy import BURST_PARTS
from chalicelib.ratelimit.slots import Event, write_grant, write_promise
from chalicelib.syncapi.client import MAX_PAGES
from chalicelib.uploads.asset_owners import MOST_URLS
from chalicelib.uploads.items import FILE_SHARDS
from chalicelib.uploads.models import next_due
from chalicelib.uploads.registration import LOOKBACK_SECONDS
from tests.support.upstream_process import ROOT

FACTORS = (1, 10, 100, 1000)
FURTHEST = 2000  # a limit that breaks later is not of interest here
# The setting and its bound, which a test compares with those of the broker.
SWEPT, SWEPT_MOST = 60, 10_000
# AWS's defaults, from its documentation.
PARTITION_WRITES = 1000  # write units a second of one item or one key of an index
PARTITION_READS = 3000
ITEM_KB = 400
TABLE_WRITES = 4000  # at once, in a new table on demand
TABLE_WRITES_MOST = 40_000  # the account's quota for a table on demand
GATEWAY = 10_000  # requests a second of an account
CONCURRENCY, CONCURRENCY_NEW = 1000, 10  # of an account, and of a new one
STARTS = 300  # containers at once that all get their secrets: docs/decisions/lambda-settings.md
SCAN_CALLS = 15  # a minute apart, before ScanUnfinishedAlarm rings
PAGE = 100  # assets in a page of Sync's list
SETTLE_SECONDS = 150  # from a lost response to the last reading of the list
CALLS_FOR_CHUNK = 2  # of a sweep
ALLOWED_SECONDS = 60  # of each minute that one sweep may use, so that two never overlap
FEW, SOME, MANY = SHARES = (0.02, 0.1, 0.25)  # assumed: the part of the tabs that is closed
Calls = dict[str, Call]  # what was counted, by the names of the requests


@dataclass(frozen=True)
class Limit:
    """Something that has a limit.

    Attributes:
        name: What it is.
        most: The limit.
        load: The load at a factor.
    """

    name: str
    most: float
    load: Callable[[float], float]

    @cached_property
    def breaks_at(self) -> float:
        """The largest factor at which the load is within the limit, to a tenth."""
        low, high = 0, FURTHEST * 10
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.load(middle / 10) <= self.most else (low, middle)
        return low / 10


def uploads(factor: float) -> float:
    """Return the uploads in a second."""
    return BUDGET * factor / 60


def written(calls: Calls) -> Counter[str]:
    """Return the write units of an upload, by the kind of item and by index."""
    together: Counter[str] = Counter()
    for name, number in UPLOAD.items():
        for part, used in calls[name].spent.written.items():
            together[part] += number * used
    return together


def running(calls: Calls, factor: float) -> float:
    """Return how many functions run at once: Little's law."""
    spent = sum(calls[name].milliseconds * number for name, number in UPLOAD.items())
    return uploads(factor) * spent / 1000


def limiter_bytes(factor: float) -> int:
    """Return the size of a rate limiter's one item while the next use of each slot is promised."""
    slots, event = round(BUDGET * factor), Event(1, 1)
    grants = {f"s{slot:x}": write_grant(event, 0) for slot in range(slots)}
    promises = {f"p{slot:x}": write_promise(event) for slot in range(slots)}
    return weigh(codec.key("limit#presigns") | codec.values(grants | promises))


def limiter_writes(factor: float) -> float:
    """Return the write units a second of a rate limiter's item while all slots are promised.

    Each permit takes a write for the promise and one for the grant, without any conflict.
    """
    return uploads(factor) * 2 * math.ceil(limiter_bytes(factor) / KB)


def calls_for_swept(calls: Calls) -> int:
    """Return the calls of DynamoDB for each upload that a sweep finishes.

    A sweep that finds anything also reads the shards of files once more, and counts a chunk's
    registrations by two calls.
    """
    one, none = (calls[f"sweep, {name}"].spent.calls for name in ("of one upload", "nothing due"))
    return one - none - len(FILE_SHARDS) - CALLS_FOR_CHUNK


def swept_in_a_minute(calls: Calls) -> int:
    """Return how many uploads one sweep can finish in a minute."""
    rounds = math.ceil(CHUNK / WORKERS)
    each = calls_for_swept(calls) * DYNAMODB_MS + OWN_MS + SYNC_MS["register"]
    chunk = rounds * each + CALLS_FOR_CHUNK * DYNAMODB_MS
    return int(CHUNK * ALLOWED_SECONDS * 1000 / chunk)


def tries(life_seconds: float) -> int:
    """Return how often the sweep tries an upload whose bytes never arrive.

    Args:
        life_seconds: The life of its URL. An hour's grace follows, and then two refusals.
    """
    ends = life_seconds * SECOND + HOUR
    number, now, late = 0, 0, 0
    while late < 2:  # noqa: PLR2004 - refusals after the end
        # The runs are a minute apart, here a second after the upload's whole minutes.
        now = math.ceil((next_due(0, now) - SECOND) / MINUTE) * MINUTE + SECOND
        number += 1
        late += now > ends
    return number


def stage_rate() -> int:
    """Return the requests a second that the template's gateway lets through."""
    template = (ROOT / ".chalice" / "template.yaml").read_text()
    found = re.search(r"ThrottlingRateLimit: (\d+)", template)
    if found is None:
        raise ValueError(".chalice/template.yaml must have a ThrottlingRateLimit")
    return int(found[1])


@dataclass(frozen=True)
class Closed:
    """Tabs that are closed before the upload is complete.

    Attributes:
        when: When they are closed, and for how long the URL lives.
        tries: The sweep's registrations for each.
    """

    when: str
    tries: int

    def minute(self, share: float, factor: float) -> float:
        """Return the sweep's registrations in a minute, if a part of all tabs is closed."""
        return BUDGET * factor * share * self.tries

    def registrations(self, share: float, factor: float) -> float:
        """Return all registrations in a minute: the sweep's, and one of each other upload."""
        return BUDGET * factor * (1 - share) + self.minute(share, factor)


def closed() -> list[Closed]:
    """Return the kinds of closed tabs that the page considers."""
    return [
        Closed("after the PUT", 1),
        Closed("before it, URL of an hour", tries(HOUR / SECOND)),
        Closed("before it, URL of a day", tries(DAY / SECOND)),
    ]


def limits(calls: Calls) -> list[Limit]:
    """Return all limits, in the order in which they break."""
    found = [*_of_broker(calls), *_of_items(calls), *_of_table(calls), *_of_aws(calls)]
    return sorted(found, key=lambda one: one.breaks_at)


def _of_broker(calls: Calls) -> list[Limit]:
    """Return the limits of Sync and of the broker's settings."""
    after, _, before = closed()
    one_sweep = swept_in_a_minute(calls)
    setting = "`SWEEP_REGISTERS_PER_MINUTE`"
    url_seconds = calls["POST /assets"].milliseconds / 1000
    span = LOOKBACK_SECONDS + SETTLE_SECONDS
    pages = MAX_PAGES * SCAN_CALLS

    def presigns(factor: float) -> float:
        return BUDGET * factor

    def before_put(factor: float) -> float:
        return before.minute(FEW, factor)

    return [
        Limit("Sync's presigns a minute for a key", BUDGET, presigns),
        Limit("`PRESIGNS_PER_MINUTE`, its bound", MOST_PER_MINUTE, presigns),
        Limit("`REGISTRATIONS_PER_MINUTE`, its default and bound", MOST_PER_MINUTE, presigns),
        Limit(
            "`REGISTRATIONS_PER_MINUTE`: 2 % closed before the PUT",
            MOST_PER_MINUTE,
            lambda f: before.registrations(FEW, f),
        ),
        Limit(f"{setting}: 10 % closed after the PUT", SWEPT, lambda f: after.minute(SOME, f)),
        Limit(f"{setting}: 2 % of tabs closed before the PUT", SWEPT, before_put),
        Limit("one sweep function: 2 % closed before the PUT", one_sweep, before_put),
        Limit(
            "pages of Sync's list for a lost response",
            pages,
            lambda f: math.ceil(uploads(f) * span / PAGE),
        ),
        Limit(
            "`urls#registering`, if all were public URLs",
            MOST_URLS,
            lambda f: uploads(f) * url_seconds,
        ),
    ]


def _of_items(calls: Calls) -> list[Limit]:
    """Return the limits of the items that all callers share."""
    item = "a rate limiter's item"
    return [
        Limit(f"{item}: writes", PARTITION_WRITES, limiter_writes),
        Limit(f"{item}: KB", ITEM_KB, lambda f: limiter_bytes(f) / KB),
        Limit(
            "`secret#callers`: reads, if all containers start at once",
            PARTITION_READS,
            lambda f: running(calls, f),
        ),
    ]


def _of_table(calls: Calls) -> list[Limit]:
    """Return the limits of the table, its indexes, and one caller's part of them."""
    units = written(calls)
    table = sum(used for part, used in units.items() if not part.startswith("by-"))
    third = "of a caller with a third of the budget: writes"

    def of_table(factor: float) -> float:
        return uploads(factor) * table

    def of_part(part: str, parts: int) -> Callable[[float], float]:
        return lambda factor: uploads(factor) * units[part] / parts

    return [
        Limit("a new table: writes", TABLE_WRITES, of_table),
        Limit("table: writes", TABLE_WRITES_MOST, of_table),
        Limit("a shard of `by-due`: writes", PARTITION_WRITES, of_part("by-due", len(FILE_SHARDS))),
        Limit(f"lists {third}", PARTITION_WRITES, of_part("by-list", BURST_PARTS)),
        Limit(f"quota {third}", PARTITION_WRITES, of_part("quota", BURST_PARTS)),
    ]


def _of_aws(calls: Calls) -> list[Limit]:
    """Return the limits of the gateway, Lambda and SSM."""

    def requests(factor: float) -> float:
        return uploads(factor) * sum(UPLOAD.values())

    def functions(factor: float) -> float:
        return running(calls, factor)

    return [
        Limit("the stage's requests", stage_rate(), requests),
        Limit("API Gateway's requests", GATEWAY, requests),
        Limit("functions at once, in a new account", CONCURRENCY_NEW, functions),
        Limit("functions at once", CONCURRENCY, functions),
        Limit("containers that read SSM at once", STARTS, functions),
    ]
