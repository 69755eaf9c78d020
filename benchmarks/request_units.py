"""Count the request units that DynamoDB charges, by the rules of its documentation.

A write costs a unit for each KB of the larger of the old and the new item, also if it is refused,
and twice as much in a transaction. In each index, a changed entry costs a unit for each KB; if its
key changes, the old and the new entry cost units. A consistent read costs a unit for each 4 KB, and
a read of an index half of that.

This module computes the units because the emulator does not count those of the indexes.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]
KB = 1024
ENTRY_OVERHEAD = 100  # bytes that AWS adds to the storage of each item and index entry


@dataclass(frozen=True)
class Index:
    """An index: its keys, and its other attributes (None for all) besides the table's key."""

    name: str
    keys: tuple[str, ...]
    holds: tuple[str, ...] | None


@dataclass
class Spent:
    """The number of calls, and their request units.

    Attributes:
        calls: The calls.
        reads: The read units.
        written: The write units, by the kind of item (`upload` for `upload#<id>`) and by index.
    """

    calls: int = 0
    reads: float = 0
    written: Counter[str] = field(default_factory=Counter)

    @property
    def writes(self) -> int:
        """The write units of all items and indexes."""
        return self.written.total()


def weigh(item: Item) -> int:
    """Return the size of an item in bytes."""
    return sum(len(name.encode()) + _weigh(value) for name, value in item.items())


def _weigh(value: Item) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "B":
            return len(content)
        case "N":
            return math.ceil(len(content.strip("-0.")) / 2) + 1
        case "M":
            return 3 + sum(len(name.encode()) + _weigh(one) + 1 for name, one in content.items())
        case "L":
            return 3 + sum(_weigh(one) + 1 for one in content)
    return 1  # BOOL and NULL


def indexes(definition: Any) -> list[Index]:
    """Return the indexes of a table's definition."""
    found = []
    for one in definition["GlobalSecondaryIndexes"]:
        keys = tuple(key["AttributeName"] for key in one["KeySchema"])
        is_all = one["Projection"]["ProjectionType"] == "ALL"
        holds = None if is_all else tuple(one["Projection"]["NonKeyAttributes"])
        found.append(Index(one["IndexName"], keys, holds))
    return found


def entry(index: Index, item: Item | None) -> Item | None:
    """Return an item's entry in an index; None if it has none."""
    if item is None or not all(key in item for key in index.keys):
        return None
    if index.holds is None:
        return item
    return {name: item[name] for name in ("pk", *index.keys, *index.holds) if name in item}


def write_units(
    before: Item | None, after: Item | None, of_table: list[Index], factor: int
) -> Counter[str]:
    """Return the units of a write, by the kind of item and by index.

    Args:
        before: The item before the write, if there was one.
        after: The item after it, if there is one.
        of_table: The table's indexes.
        factor: 2 in a transaction. It does not count for the indexes.
    """
    kind = (after or before or {"pk": {"S": "none"}})["pk"]["S"].partition("#")[0]
    units = Counter({kind: factor * _kilobytes(before, after)})
    for index in of_table:
        old, new = entry(index, before), entry(index, after)
        if old == new:
            continue
        is_new_key = old and new and any(old[key] != new[key] for key in index.keys)
        units[index.name] += (
            _kilobytes(old) + _kilobytes(new) if is_new_key else _kilobytes(old, new)
        )
    return units


def _kilobytes(*items: Item | None) -> int:
    return max(1, math.ceil(max(weigh(item or {}) for item in items) / KB))


def read_units(size: int, *, is_consistent: bool) -> float:
    """Return the units of reading a number of bytes."""
    return max(1, math.ceil(size / KB / 4)) * (1 if is_consistent else 0.5)


class Meter:
    """Counts the request units of a session's clients.

    Args:
        events: The session's events, before it has created clients.
        unmetered: A client of another session, which reads items before and after each write.
        definition: The table's definition.
    """

    def __init__(self, events: Any, unmetered: "DynamoDBClient", definition: Any) -> None:
        self._unmetered = unmetered
        self._indexes = indexes(definition)
        self.spent = Spent()
        events.register("provide-client-params.dynamodb.*", self._before)
        events.register("after-call.dynamodb.*", self._after)

    def take(self) -> Spent:
        """Return the units since the last call, and reset them."""
        spent, self.spent = self.spent, Spent()
        return spent

    def _before(self, params: Any, model: Any, context: Any, **_: Any) -> None:
        keys = list(_written(model.name, params))
        context["metered"] = [(table, key, self._read(table, key)) for table, key in keys]
        context["index"] = params.get("IndexName")

    def _after(self, parsed: Any, model: Any, context: Any, **_: Any) -> None:
        self.spent.calls += 1
        factor = 2 if model.name == "TransactWriteItems" else 1
        for table, key, before in context["metered"]:
            after = self._read(table, key)
            self.spent.written += write_units(before, after, self._indexes, factor)
        if model.name == "GetItem":
            self.spent.reads += read_units(weigh(parsed.get("Item", {})), is_consistent=True)
        elif model.name == "BatchGetItem":
            for found in parsed["Responses"].values():
                self.spent.reads += sum(read_units(weigh(one), is_consistent=True) for one in found)
        elif model.name == "Query":
            size = sum(map(weigh, parsed["Items"]))
            self.spent.reads += read_units(size, is_consistent=context["index"] is None)

    def _read(self, table: str, key: Item) -> Item | None:
        return self._unmetered.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")


def _written(operation: str, params: Any) -> Iterator[tuple[str, Item]]:
    """Yield the table and the key of each item that a call writes."""
    if operation == "TransactWriteItems":
        for change in params["TransactItems"]:
            for one in change.values():
                yield one["TableName"], _key(one)
    elif operation in {"PutItem", "UpdateItem", "DeleteItem"}:
        yield params["TableName"], _key(params)


def _key(write: Any) -> Item:
    return write["Key"] if "Key" in write else {"pk": write["Item"]["pk"]}
