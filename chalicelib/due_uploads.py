"""Which uploads the sweep has to look after: the sparse index `by-due`."""

from typing import Any

from chalicelib import moves, upload_items
from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table
from chalicelib.core.types import Json
from chalicelib.ports import Due

DUE_INDEX = "by-due"


class DueUploads:
    """The unfinished uploads, by the time at which the sweep looks after them.

    Args:
        table: The broker's table.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def due(self, shard: str, now: int, limit: int) -> tuple[Due, ...]:
        """Read which uploads of a shard are due, the longest due first."""
        answer = self._due(shard, now, Limit=limit)
        return tuple(_due(row) for row in answer["Items"])

    def backlog(self, now: int) -> int:
        """Count what is due in all shards."""
        count = 0
        for shard in (*upload_items.FILE_SHARDS, upload_items.URL_SHARD):
            answer = self._due(shard, now, Select="COUNT")
            count += answer["Count"]
            while last := answer.get("LastEvaluatedKey"):
                answer = self._due(shard, now, Select="COUNT", ExclusiveStartKey=last)
                count += answer["Count"]
        return count

    def postpone(self, upload_id: str, due_at: int) -> None:
        """Let the sweep look later after an upload that it could not deal with."""
        self._table.write(
            Change(
                pk=f"upload#{upload_id}",
                condition="attribute_exists(#dueShard)",
                sets={"dueAt": due_at},
            )
        )

    def forget(self, upload_id: str) -> None:
        """Take a finished upload, of which nothing is left to do, out of the sweep's index."""
        self._table.write(
            Change(
                pk=f"upload#{upload_id}",
                condition="attribute_exists(#discarded)",
                removes=(*moves.UNFINISHED, "discarded"),
            )
        )

    def _due(self, shard: str, now: int, **request: Any) -> Json:
        names = codec.values({":shard": shard, ":now": now})
        condition = "dueShard = :shard AND dueAt <= :now"
        return self._table.query(DUE_INDEX, condition, ExpressionAttributeValues=names, **request)


def _due(row: codec.Item) -> Due:
    """Read a row of the sweep's index. Only its key is sure to be there."""
    owner = row.get("owner", {}).get("S", "")
    return Due(row["pk"]["S"].removeprefix("upload#"), owner, int(row["dueAt"]["N"]))
