"""The costs in the runbook match the costs that benchmarks/cost.py counts."""

import re

import pytest

from benchmarks import cost
from benchmarks.request_units import Index, read_units, weigh, write_units
from tests.deploy.conftest import Counting
from tests.support.markdown import number, rows
from tests.support.upstream_process import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()


@pytest.fixture
def tables(counting: Counting) -> list[list[str]]:
    """The tables of the benchmark."""
    calls = cost.count(counting.broker, counting.upstream, counting.unmetered)
    return rows(cost.report(calls, cost.stored(counting.broker.table, counting.unmetered)))


def test_page_has_counted_costs(tables: list[list[str]]) -> None:
    """The page has each figure: the counts exactly, and bytes and prices within 5 %."""
    part = PAGE.partition("## What it costs")[2].partition("\n## ")[0]
    shown = {row[0]: row[1:] for row in rows(part)}
    counts = ["call", "POST /uploads", "first complete", "POST /assets", "sweep, nothing due"]
    assert {name for name, *_ in tables} >= {*counts, "together", "the sweep, every minute"}
    for name, *counted in tables:
        for figure, on_page in zip(counted, shown[name], strict=True):
            if re.fullmatch(r"[\d,.]+", figure):
                assert number(figure) == pytest.approx(number(on_page), rel=0.05, abs=0.02), name
            else:
                assert figure == on_page
    for name, *counted in tables:
        if len(counted) > 2 and counted[0].isdigit():
            assert counted[:3] == shown[name][:3], name


def test_item_size_follows_documentation() -> None:
    """The size of an item follows the rules of DynamoDB's documentation."""
    item = {
        "pk": {"S": "ü"},
        "n": {"N": "1764000000000"},
        "b": {"B": b"123"},
        "flag": {"BOOL": True},
        "none": {"NULL": True},
        "list": {"L": [{"S": "ab"}]},
        "map": {"M": {"k": {"S": "v"}}},
    }
    assert weigh(item) == (2 + 2) + (1 + 3) + (1 + 3) + (4 + 1) + (4 + 1) + (4 + 6) + (3 + 6)


@pytest.mark.parametrize(
    ("before", "after", "factor", "units"),
    [
        (None, None, 1, 1),  # a refused write of an item that does not exist
        (None, {"pk": {"S": "x" * 100}}, 1, 1),
        (None, {"pk": {"S": "x" * 1100}}, 2, 4),
        ({"pk": {"S": "x" * 3000}}, None, 1, 3),
        (None, {"pk": {"S": "a"}, "k": {"S": "1"}, "v": {"S": "1"}}, 2, 3),
        ({"pk": {"S": "a"}, "k": {"S": "1"}}, {"pk": {"S": "a"}, "k": {"S": "1"}}, 1, 1),
        ({"pk": {"S": "a"}, "k": {"S": "1"}}, {"pk": {"S": "a"}, "k": {"S": "2"}}, 1, 3),
        (
            {"pk": {"S": "a"}, "k": {"S": "1"}, "w": {"S": "1"}},
            {"pk": {"S": "a"}, "k": {"S": "1"}, "w": {"S": "2"}},
            *(1, 1),
        ),
        (
            {"pk": {"S": "a"}, "k": {"S": "1"}, "v": {"S": "1"}},
            {"pk": {"S": "a"}, "k": {"S": "1"}, "v": {"S": "2"}},
            *(1, 2),
        ),
    ],
)
def test_write_units(
    before: dict[str, dict[str, str]] | None,
    after: dict[str, dict[str, str]] | None,
    factor: int,
    units: int,
) -> None:
    """A write costs a unit per KB, two in a transaction, and units for changed index entries."""
    index = Index("by-k", ("k",), ("v",))
    assert write_units(before, after, [index], factor).total() == units


def test_write_units_name_their_part() -> None:
    """The units of an item and of an index's entry are counted apart."""
    item = {"pk": {"S": "upload#1"}, "k": {"S": "1"}}
    index = Index("by-k", ("k",), ("v",))
    moved = {**item, "k": {"S": "2"}}
    assert write_units(item, moved, [index], factor=2) == {"upload": 2, "by-k": 2}


def test_read_units() -> None:
    """A read costs a unit per 4 KB, half of it from an index, and one unit at least."""
    assert read_units(0, is_consistent=True) == 1
    assert read_units(4097, is_consistent=True) == 2
    assert read_units(5000, is_consistent=False) == 1
