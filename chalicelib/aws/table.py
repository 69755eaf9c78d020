"""The table in DynamoDB: reads, conditional writes and transactions. All requests are sent here."""

import logging
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws import codec
from chalicelib.core import errors, log
from chalicelib.core.clock import SECOND, Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")

# DynamoDB refuses two writes of one item at the same moment. With pauses that are random and grow
# to a second, this is enough for fifty parallel writes of one caller's quota.
CONFLICT_TRIES = 12
BATCH_TRIES = 5
_BUSY = "This service is busy. Try again in a moment."
_CONFLICTS = frozenset(
    {"TransactionConflict", "TransactionConflictException", "TransactionInProgressException"}
)
_OPERATIONS = {"Put": "put_item", "Delete": "delete_item", "Update": "update_item"}


@dataclass(frozen=True)
class Change:
    """A conditional write of one item: an update, or with `put` or `delete` the whole item.

    A condition has `#` before names and `:` before values, as in `#status = :pending`.

    Attributes:
        pk: The item's key.
        condition: The condition, or empty.
        values: The values in the condition.
        names: The attributes of those names in the condition that are not attributes themselves.
        sets: Values to set. A dot leads into a map.
        adds: Numbers to add, and elements to add to sets.
        drops: Elements to remove from sets.
        removes: Attributes to remove.
        put: The whole item to write.
        delete: Whether to delete the item.
    """

    pk: str
    condition: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    sets: Mapping[str, Any] = field(default_factory=dict)
    adds: Mapping[str, int | frozenset[str]] = field(default_factory=dict)
    drops: Mapping[str, frozenset[str]] = field(default_factory=dict)
    removes: tuple[str, ...] = ()
    put: codec.Item | None = None
    delete: bool = False

    @property
    def operation(self) -> str:
        """The name of its operation in a transaction."""
        return "Put" if self.put is not None else "Delete" if self.delete else "Update"

    def request(self, table: str) -> dict[str, Any]:
        """Return the parameters of its request."""
        placeholders = _Placeholders()
        request: dict[str, Any] = {"TableName": table}
        if self.put is not None:
            request["Item"] = {**self.put, **codec.key(self.pk)}
        else:
            request["Key"] = codec.key(self.pk)
        if self.operation == "Update":
            request["UpdateExpression"] = self._update_expression(placeholders)
        if self.condition:
            request["ConditionExpression"] = self.condition
            request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
            for name in _names(self.condition):
                placeholders.names[f"#{name}"] = self.names.get(name, name)
            for name, value in self.values.items():
                placeholders.values[f":{name}"] = value
        if placeholders.names:
            request["ExpressionAttributeNames"] = placeholders.names
        if placeholders.values:
            request["ExpressionAttributeValues"] = codec.values(placeholders.values)
        return request

    def _update_expression(self, placeholders: "_Placeholders") -> str:
        path, value = placeholders.path, placeholders.value
        clauses = []
        if self.sets:
            parts = [f"{path(name)} = {value(content)}" for name, content in self.sets.items()]
            clauses.append(f"SET {', '.join(parts)}")
        for word, changes in (("ADD", self.adds), ("DELETE", self.drops)):
            if changes:
                parts = [f"{path(name)} {value(content)}" for name, content in changes.items()]
                clauses.append(f"{word} {', '.join(parts)}")
        if self.removes:
            clauses.append(f"REMOVE {', '.join(map(path, self.removes))}")
        return " ".join(clauses)


@lru_cache
def _names(condition: str) -> tuple[str, ...]:
    """Return the names in a condition. Most requests have a condition of earlier ones."""
    return tuple(re.findall(r"#(\w+)", condition))


class _Placeholders:
    """The names and values of a request's expressions.

    Each is sent beside the expression, since it may be a reserved word or have any characters.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def path(self, path: str) -> str:
        """Return a path with a placeholder for each step."""
        return ".".join(map(self._name, path.split(".")))

    def value(self, value: Any) -> str:
        """Return a placeholder for a value."""
        placeholder = f":_{len(self.values)}"
        self.values[placeholder] = value
        return placeholder

    def _name(self, name: str) -> str:
        placeholder = f"#_{len(self.names)}"
        self.names[placeholder] = name
        return placeholder


@dataclass(frozen=True)
class WriteResult(Generic[T]):
    """The result of a conditional write.

    Attributes:
        granted: Whether it was written.
        item: The item after the write, or the item that refused it; None if there is no item.
    """

    granted: bool
    item: T | None


class Table:
    """The broker's table.

    Args:
        client: A DynamoDB client.
        name: The table's name.
        clock: The time.
    """

    def __init__(self, client: "DynamoDBClient", name: str, clock: Clock) -> None:
        self._client = client
        self._name = name
        self._clock = clock

    def get(self, pk: str) -> codec.Item | None:
        """Return an item, or None. The read is strongly consistent."""
        response = self._call(
            "get_item", TableName=self._name, Key=codec.key(pk), ConsistentRead=True
        )
        found: codec.Item | None = response.get("Item")
        return found

    def query(self, index: str, condition: str, **request: Any) -> dict[str, Any]:
        """Return a page of an index."""
        return self._call(
            "query",
            TableName=self._name,
            IndexName=index,
            KeyConditionExpression=condition,
            **request,
        )

    def write(self, change: Change) -> WriteResult[codec.Item]:
        """Write a change. A refusal returns the item, so that no second read is needed."""
        request = change.request(self._name)
        if change.operation == "Update":
            request["ReturnValues"] = "ALL_NEW"
        try:
            response = self._call(_OPERATIONS[change.operation], **request)
        except _Refused as refusal:
            return WriteResult(granted=False, item=refusal.items[0])
        return WriteResult(granted=True, item=response.get("Attributes"))

    def transact(self, *changes: Change) -> list[codec.Item | None] | None:
        """Write all changes or none.

        Returns:
            None if they are written. Otherwise a list with an entry for each change: the item that
            refused it, an empty one if there is no item, or None if the change was not refused.
        """
        writes = [{change.operation: change.request(self._name)} for change in changes]
        try:
            self._call("transact_write_items", TransactItems=writes)
        except _Refused as refusal:
            return refusal.items
        return None

    def batch(self, keys: list[str]) -> dict[str, codec.Item]:
        """Return the items of up to 100 keys, by key. A key without an item is left out."""
        found: dict[str, codec.Item] = {}
        wanted = [codec.key(pk) for pk in keys]
        for _ in range(BATCH_TRIES):
            request = {self._name: {"Keys": wanted, "ConsistentRead": True}}
            response = self._call("batch_get_item", RequestItems=request)
            found |= {item["pk"]["S"]: item for item in response["Responses"].get(self._name, [])}
            wanted = response.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
            if not wanted:
                return found
        raise errors.StoreUnavailable(_BUSY, retry_after=1)

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        """Send a request, and again after a conflict.

        Raises:
            _Refused: A condition does not hold.
            StoreUnavailable: DynamoDB can't be reached or is too busy.
        """
        for number in range(CONFLICT_TRIES):
            started = self._clock.monotonic()
            sent_at = self._clock.machine_time()
            try:
                response: dict[str, Any] = getattr(self._client, operation)(**request)
            except BotoCoreError as error:
                raise _unavailable(type(error).__name__) from error
            except ClientError as error:
                self._compare_clocks(error.response, sent_at)
                _raise_unless_conflict(error)
            else:
                self._compare_clocks(response, sent_at)
                return response
            finally:
                log.dynamodb_spent(self._clock.monotonic() - started)
            self._clock.sleep(random.uniform(0, min(1.0, 0.02 * 2**number)))  # noqa: S311 - jitter
        raise errors.StoreUnavailable(_BUSY, retry_after=1)

    def _compare_clocks(self, response: Mapping[str, Any], sent_at: int) -> None:
        """Let the clock know when DynamoDB responded."""
        received_at = self._clock.machine_time()
        date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
        if date:
            self._clock.observe(_seconds(date) * SECOND, sent_at, received_at)


@lru_cache(maxsize=1)  # several responses come in one second
def _seconds(date: str) -> int:
    return int(parsedate_to_datetime(date).timestamp())


class _Refused(Exception):  # noqa: N818 - a refused condition is a result
    """A condition does not hold; `items` is as in the result of `Table.transact`."""

    def __init__(self, items: list[codec.Item | None]) -> None:
        super().__init__("refused")
        self.items = items


def _raise_unless_conflict(error: ClientError) -> None:
    """Raise what an error of DynamoDB means, unless it is a conflict."""
    response: Any = error.response
    code = response["Error"]["Code"]
    if code == "ConditionalCheckFailedException":
        raise _Refused([response.get("Item")]) from error
    reasons = response.get("CancellationReasons") or []
    if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
        raise _Refused(
            [
                reason.get("Item", {}) if reason["Code"] == "ConditionalCheckFailed" else None
                for reason in reasons
            ]
        ) from error
    codes = {code} | {reason.get("Code") for reason in reasons}
    if not codes & _CONFLICTS:
        raise _unavailable(code) from error


def _unavailable(reason: str) -> errors.StoreUnavailable:
    """Log the reason for the operator, and return the caller's error."""
    log.event("table_unavailable", level=logging.WARNING, reason=reason)
    return errors.StoreUnavailable(
        "This service can't reach its records. Try again in a moment.", retry_after=2
    )
