"""The one door to DynamoDB: conditional updates, transactions, and what their refusals tell."""

import logging
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws import codec
from chalicelib.core import errors, log
from chalicelib.core.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")

# Two writes of one item in one moment are refused by DynamoDB, not queued. Fifty callers of one
# quota are served within these tries: the pauses grow to a second and are random.
CONFLICT_TRIES = 12
_BUSY = "This service is busy. Try again in a moment."
_CONFLICTS = frozenset(
    {"TransactionConflict", "TransactionConflictException", "TransactionInProgressException"}
)


@dataclass(frozen=True)
class Change:
    """One conditional update, or with `put` or `delete` set, the writing of a whole item.

    Conditions name their attributes with `#` and their values with `:`, as `#status = :pending`.

    Attributes:
        pk: The item's key.
        condition: What must hold, or nothing.
        values: What the condition's `:values` stand for.
        names: What the condition's `#names` stand for, where they do not stand for themselves.
        sets: Attributes to set; a dot leads into a map.
        adds: Numbers to add to, and sets to add members to.
        drops: Sets to take members out of.
        removes: Attributes to remove.
        put: The whole item to write in place of an update.
        delete: Whether to delete the item in place of an update.
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

    def request(self, table: str) -> dict[str, Any]:
        """Write it as a request's parameters; every name is a placeholder."""
        names: dict[str, str] = {}
        values = {f":{name}": value for name, value in self.values.items()}
        clauses = [
            _clause("SET", self.sets, "{} = {}", "s", names, values),
            _clause("ADD", self.adds, "{} {}", "a", names, values),
            _clause("DELETE", self.drops, "{} {}", "d", names, values),
        ]
        for number, name in enumerate(self.removes):
            names[f"#r{number}"] = name
        if self.removes:
            clauses.append("REMOVE " + ", ".join(f"#r{n}" for n in range(len(self.removes))))
        request: dict[str, Any] = {"TableName": table}
        if self.put is not None:
            request["Item"] = {**self.put, **codec.key(self.pk)}
        else:
            request["Key"] = codec.key(self.pk)
            if not self.delete:
                request["UpdateExpression"] = " ".join(clause for clause in clauses if clause)
        if self.condition:
            request["ConditionExpression"] = self.condition
            for name in re.findall(r"#(\w+)", self.condition):
                names[f"#{name}"] = self.names.get(name, name)
            request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if names:
            request["ExpressionAttributeNames"] = names
        if values:
            request["ExpressionAttributeValues"] = codec.values(values)
        return request

    @property
    def operation(self) -> str:
        """Its name inside a transaction."""
        return "Put" if self.put is not None else "Delete" if self.delete else "Update"


@dataclass(frozen=True)
class WriteResult(Generic[T]):
    """The result of a conditional write.

    Attributes:
        granted: Whether it was written.
        item: The item after the write, or the item that refused it; None if there is none.
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
        """Read an item as it stands now."""
        answer = self._call(
            "get_item", TableName=self._name, Key=codec.key(pk), ConsistentRead=True
        )
        found: codec.Item | None = answer.get("Item")
        return found

    def query(self, index: str, condition: str, **request: Any) -> dict[str, Any]:
        """Read a part of an index."""
        return self._call(
            "query",
            TableName=self._name,
            IndexName=index,
            KeyConditionExpression=condition,
            **request,
        )

    def write(self, change: Change) -> WriteResult[codec.Item]:
        """Write one change; its refusal brings the item, so that no second read is needed."""
        request = change.request(self._name)
        if change.operation == "Update":
            request["ReturnValues"] = "ALL_NEW"
        operation = {"Put": "put_item", "Delete": "delete_item", "Update": "update_item"}
        try:
            answer = self._call(operation[change.operation], **request)
        except _Refused as refusal:
            return WriteResult(granted=False, item=refusal.items[0])
        return WriteResult(granted=True, item=answer.get("Attributes"))

    def transact(self, *changes: Change) -> list[codec.Item | None] | None:
        """Write all changes or none.

        Returns:
            None when they are written. Otherwise for each change the item that refused it; an
            empty one where there was no item, and None where the change itself was fine.
        """
        writes = [{change.operation: change.request(self._name)} for change in changes]
        try:
            self._call("transact_write_items", TransactItems=writes)
        except _Refused as refusal:
            return refusal.items
        return None

    def batch(self, keys: list[str]) -> dict[str, codec.Item]:
        """Read items (100 at most) by their keys; those that are not there are left out."""
        found: dict[str, codec.Item] = {}
        wanted = [codec.key(pk) for pk in keys]
        for _ in range(5):
            request = {self._name: {"Keys": wanted, "ConsistentRead": True}}
            answer = self._call("batch_get_item", RequestItems=request)
            found |= {item["pk"]["S"]: item for item in answer["Responses"].get(self._name, [])}
            wanted = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
            if not wanted:
                return found
        raise errors.StoreUnavailable(_BUSY, retry_after=1)

    def _call(self, operation: str, **request: Any) -> dict[str, Any]:
        """Send a request, again after a conflict."""
        for number in range(CONFLICT_TRIES):
            started = self._clock.monotonic()
            try:
                answer: dict[str, Any] = getattr(self._client, operation)(**request)
            except BotoCoreError as error:
                raise _down(type(error).__name__) from error
            except ClientError as error:
                self._explain(error)
            else:
                return answer
            finally:
                log.dynamodb_spent(self._clock.monotonic() - started)
            self._clock.sleep(random.uniform(0, min(1.0, 0.02 * 2**number)))  # noqa: S311 - jitter
        raise errors.StoreUnavailable(_BUSY, retry_after=1)

    @staticmethod
    def _explain(error: ClientError) -> None:
        """Raise what a refusal means, or return if it was a conflict."""
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
            raise _down(code) from error


def _down(reason: str) -> errors.StoreUnavailable:
    """Log for the operator what the caller does not have to know."""
    log.event("table_unavailable", level=logging.WARNING, reason=reason)
    return errors.StoreUnavailable(
        "This service can't reach its records. Try again in a moment.", retry_after=2
    )


class _Refused(Exception):  # noqa: N818 - a condition that does not hold is no error
    """A condition does not hold."""

    def __init__(self, found: list[codec.Item | None]) -> None:
        super().__init__("refused")
        self.items = found


def _clause(  # noqa: PLR0913, PLR0917 - two of them are filled
    keyword: str,
    members: Mapping[str, Any],
    form: str,
    prefix: str,
    names: dict[str, str],
    values: dict[str, Any],
) -> str:
    parts = []
    for number, (path, value) in enumerate(members.items()):
        steps = []
        for depth, step in enumerate(path.split(".")):
            names[f"#{prefix}{number}_{depth}"] = step
            steps.append(f"#{prefix}{number}_{depth}")
        values[f":{prefix}{number}"] = value
        parts.append(form.format(".".join(steps), f":{prefix}{number}"))
    return f"{keyword} {', '.join(parts)}" if parts else ""
