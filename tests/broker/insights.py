"""The part of CloudWatch Logs Insights' language that the project's queries are written in."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any

Line = dict[str, Any]
_CONDITION = re.compile(r"(\w+) (=|!=|in) (.+)")
_AGGREGATE = re.compile(r"(\w+)\(([\w*]+)(?:, (\d+))?\) as (\w+)")


class Query:
    """One query.

    Attributes:
        fields: The names that it reads of the log's lines.
    """

    def __init__(self, text: str) -> None:
        self.fields: set[str] = set()
        self._made: set[str] = {"@timestamp"}
        self._shown: list[str] | None = None
        self._steps = [self._step(part.strip()) for part in text.strip().split("|")]

    def run(self, lines: Iterable[Line]) -> list[Line]:
        """Give its rows, in their order."""
        rows = [{**line, "@timestamp": line["time"]} for line in lines]
        for step in self._steps:
            rows = step(rows)
        # What is not shown can be filtered and sorted by all the same.
        shown = self._shown
        return rows if shown is None else [{name: row.get(name) for name in shown} for row in rows]

    def _step(self, text: str) -> Any:
        command, _, rest = text.partition(" ")
        return getattr(self, f"_{command}")(rest)

    def _read(self, name: str) -> str:
        if name not in self._made:
            self.fields.add(name)
        return name

    def _fields(self, text: str) -> Any:
        self._shown = [self._read(name) for name in text.split(", ")]
        return lambda rows: rows

    def _filter(self, text: str) -> Any:
        tests = [self._condition(one) for one in text.split(" and ")]
        return lambda rows: [row for row in rows if all(test(row) for test in tests)]

    def _condition(self, text: str) -> Any:
        if present := re.fullmatch(r"ispresent\((\w+)\)", text):
            wanted = self._read(present[1])
            return lambda row: row.get(wanted) is not None
        found = _CONDITION.fullmatch(text)
        assert found, f"what is {text}?"
        name, how = self._read(found[1]), found[2]
        value = json.loads(found[3].replace("'", '"'))
        assert isinstance(value, list) == (how == "in")
        if how == "in":
            return lambda row: row.get(name) in value
        return lambda row: (row.get(name) == value) == (how == "=")

    def _stats(self, text: str) -> Any:
        what, _, by = text.partition(" by ")
        keys = [self._read(name) for name in by.split(", ")]
        aggregates = _AGGREGATE.findall(what)
        assert ", ".join(found[0] for found in _AGGREGATE.finditer(what)) == what
        for _, name, _, made in aggregates:
            if name != "*":
                self._read(name)
            self._made.add(made)

        def group(rows: list[Line]) -> list[Line]:
            groups: dict[tuple[Any, ...], list[Line]] = {}
            for row in rows:
                groups.setdefault(tuple(row.get(key) for key in keys), []).append(row)
            made = []
            for group, some in groups.items():
                row = dict(zip(keys, group, strict=True))
                for kind, name, place, label in aggregates:
                    row[label] = _aggregate(kind, name, place, some)
                made.append(row)
            return made

        return group

    def _sort(self, text: str) -> Any:
        name, order = text.split(" ")
        self._read(name)
        assert order in {"asc", "desc"}
        return lambda rows: sorted(rows, key=lambda row: row[name], reverse=order == "desc")

    @staticmethod
    def _limit(text: str) -> Any:
        return lambda rows: rows[: int(text)]


def _aggregate(kind: str, name: str, place: str, rows: list[Line]) -> float:
    if kind == "count":
        return len(rows)
    values = [row[name] for row in rows if row.get(name) is not None]
    if kind == "count_distinct":
        return len(set(values))
    assert kind == "pct", f"what is {kind}?"
    return sorted(values)[max(0, math.ceil(len(values) * int(place) / 100) - 1)]
