"""The simulation of the presign limiter's items: conflicts, and a budget that is split."""

import pytest

from benchmarks import contention, scale
from tests.support.markdown import is_shown, rows
from tests.support.upstream_process import ROOT


def test_parallel_requests_refuse_each_other() -> None:
    """Requests in one moment refuse each other's writes more than spread ones; all get a permit."""
    slots, items = 30, 10
    at_once, spread = (contention.crowd(slots, items, seconds) for seconds in (0, 60))
    assert at_once.grants == spread.grants == items * slots
    assert at_once.refused_share > 0.2
    # The copies of some containers are old, and a refused write is what renews them.
    assert spread.refused_share < at_once.refused_share / 2


def test_split_keeps_budget() -> None:
    """Several items together grant at most the budget, and use nearly all of it if asked."""
    found, unused = contention.steady(60, 2, 1.5, 61.2)
    assert found.grants <= 2 * 60
    assert unused < 0.05


@pytest.mark.parametrize(("items", "files", "unused"), [(1, 1, 0), (2, 1, 0.04), (2, 20, 0.12)])
def test_random_items_leave_budget_unused(items: int, files: int, unused: float) -> None:
    """A crowd leaves more unused the fewer callers choose among several items."""
    found = contention.unused_by_crowd(100, items, files)
    assert found == pytest.approx(unused, abs=0.02)


def test_page_has_simulated_table() -> None:
    """The page has the simulation's figures, which a seed makes reproducible."""
    shown = rows((ROOT / "docs" / "decisions" / "scale.md").read_text())
    assert [row for row in rows(scale.report_items()) if not is_shown(row, shown)] == []
