"""Which items need work: the sparse index `by-due`.

An item is in the index while it has the attributes `dueShard` and `dueAt`. Its key `pk` is its kind
and its id, as in `upload#<id>`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table

INDEX = "by-due"


@dataclass(frozen=True)
class DueItem:
    """An item that needs work.

    Attributes:
        kind: Its kind.
        id: Its id.
        owner: Its caller.
        at: Since when it is due, in milliseconds since 1970.
    """

    kind: str
    id: str
    owner: str
    at: int


class DueIndex:
    """The items that need work, by the time at which it is due.

    Args:
        table: The broker's table.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def due(self, shard: str, now: int, limit: int) -> tuple[DueItem, ...]:
        """Return the items of a shard that are due, the longest due first."""
        response = self._query(shard, now, Limit=limit)
        return tuple(map(_due_item, response["Items"]))

    def backlog(self, shards: Iterable[str], now: int) -> int:
        """Return how many items of some shards are due."""
        count = 0
        for shard in shards:
            response = self._query(shard, now, Select="COUNT")
            count += response["Count"]
            while last := response.get("LastEvaluatedKey"):
                response = self._query(shard, now, Select="COUNT", ExclusiveStartKey=last)
                count += response["Count"]
        return count

    def postpone(self, kind: str, id_: str, due_at: int) -> None:
        """Make an item due later, if it still needs work."""
        self._table.write(
            Change(
                pk=f"{kind}#{id_}",
                condition="attribute_exists(#dueShard)",
                sets={"dueAt": due_at},
            )
        )

    def _query(self, shard: str, now: int, **request: Any) -> dict[str, Any]:
        values = codec.values({":shard": shard, ":now": now})
        condition = "dueShard = :shard AND dueAt <= :now"
        return self._table.query(INDEX, condition, ExpressionAttributeValues=values, **request)


def _due_item(row: codec.Item) -> DueItem:
    """Return a row of the index as a value; only the row's keys are sure to be there."""
    kind, _, id_ = row["pk"]["S"].partition("#")
    return DueItem(kind, id_, row.get("owner", {}).get("S", ""), int(row["dueAt"]["N"]))
