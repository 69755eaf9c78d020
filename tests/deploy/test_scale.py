"""The page about larger loads matches what benchmarks/scale.py computes from the real app."""

import math

import pytest

from benchmarks import cost, scale, scale_limits
from chalicelib.core import settings
from chalicelib.core.clock import MINUTE, SECOND
from chalicelib.core.errors import Misconfigured
from chalicelib.jobs.sweeper import WORKERS
from tests.deploy.conftest import Counting
from tests.support.markdown import is_shown, rows
from tests.support.running_broker import SECRET, Api
from tests.support.upstream_process import KEY, ROOT

PAGE = (ROOT / "docs" / "decisions" / "scale.md").read_text()


def test_page_has_computed_tables(counting: Counting) -> None:
    """The page has each row of each table: the names exactly, and the figures within 5 %."""
    calls = cost.count(counting.broker, counting.upstream, counting.unmetered)
    computed, shown = rows(scale.report(calls)), rows(PAGE)
    assert len(computed) > 40
    assert [row for row in computed if not is_shown(row, shown)] == []


def test_page_says_what_to_do_about_each_limit() -> None:
    """Each limit on the page has its remedy in the last column."""
    limits = rows(PAGE.partition("## The limits")[2].partition("\n## ")[0])[1:]
    assert len(limits) > 20
    assert [row for row in limits if len(row) != 8 or len(row[-1]) < 10] == []


@pytest.mark.parametrize(
    ("name", "default", "most"),
    [
        ("presigns_per_minute", cost.BUDGET, settings.MOST_PER_MINUTE),
        (
            "registrations_per_minute",
            cost.REGISTRATIONS,
            settings.MOST_PER_MINUTE,
        ),
        ("sweep_registers_per_minute", scale_limits.SWEPT, scale_limits.SWEPT_MOST),
    ],
)
def test_bounds_are_those_of_settings(name: str, default: int, most: int) -> None:
    """The computed limits are the broker's defaults and bounds."""
    environment = {
        "UPLOADS_TABLE": "uploads",
        "AUTH_MODE": "jwt",
        "JWT_SECRET": SECRET,
        "SYNC_API_KEY": KEY,
    }
    assert getattr(settings.load(environment), name) == default
    assert getattr(settings.load({**environment, name.upper(): str(most)}), name) == most
    with pytest.raises(Misconfigured):
        settings.load({**environment, name.upper(): str(most + 1)})


def test_sweep_tries_as_often_as_computed(counting: Counting) -> None:
    """The sweep tries an upload whose bytes never arrive as often as the page says."""
    broker, key = counting.broker, {"pk": {"S": ""}}
    broker.configure(counting.upstream)
    key["pk"]["S"] = f"upload#{Api(broker).begin()['id']}"
    tries = 0
    while "dueAt" in (item := counting.unmetered.get_item(TableName="counted", Key=key)["Item"]):
        created, due = (int(item[name]["N"]) for name in ("createdAt", "dueAt"))
        run = created + math.ceil((due - created - SECOND) / MINUTE) * MINUTE + SECOND
        broker.clock.advance((run - broker.clock.now()) / SECOND)
        assert broker.sweep().found == 1
        tries += 1
    assert item["status"]["S"] == "expired"
    assert tries == scale_limits.tries(3600)


def test_sweep_needs_computed_calls(counting: Counting) -> None:
    """A sweep of several callers' uploads needs as many calls as the page assumes."""
    counter = cost.Counter(counting.broker, counting.upstream, counting.unmetered)
    Api(counting.broker).registered()  # A container reads the limiter's item once.
    counter.sweep("sweep, nothing due", None)
    for name, uploads in (("sweep, of one upload", 1), ("of ten", 10)):
        for _ in range(uploads):
            Api(counting.broker).landed()
        counting.broker.clock.advance(90)
        counter.sweep(name, "register")
    each = scale_limits.calls_for_swept(counter.calls)
    one, ten = (counter.calls[name].spent.calls for name in ("sweep, of one upload", "of ten"))
    # The workers share one copy of the limiter's item, so a permit of each may be refused once.
    assert 9 * each <= ten - one <= 9 * each + WORKERS - 1
