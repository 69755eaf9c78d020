"""How a table that is there differs from the one that the broker needs, and what mends it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ops import table
from ops.account import code_of
from ops.terminal import Problem

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TTL_ATTRIBUTE = "ttl"
ENCRYPTION: Any = {"Enabled": True}  # by the key that AWS manages for the account, audited
WAIT_SECONDS = 3600.0  # an index of a large table is filled for long
SAY_SECONDS = 10.0
_ON = {"ENABLED", "ENABLING", "UPDATING"}
# What AWS says for a while after a table was created.
_LATER = {
    "ContinuousBackupsUnavailableException",
    "ResourceInUseException",
    "LimitExceededException",
}

Mend = Callable[["DynamoDBClient"], object]


@dataclass(frozen=True)
class Property:
    """One thing that the broker needs of its table.

    Attributes:
        name: What it is.
        state: How it is.
        is_right: Whether that will do.
        mend: What makes it right; None where a person has to.
        advice: What to do, where a person has to.
    """

    name: str
    state: str
    is_right: bool
    mend: Mend | None = None
    advice: str = ""


def create(client: "DynamoDBClient", name: str) -> None:
    """Order the table; it is there when `wait` returns, and `properties` says what it lacks."""
    wanted = table.definition(name)
    wanted["SSESpecification"] = ENCRYPTION
    wanted["DeletionProtectionEnabled"] = True
    client.create_table(**wanted)


def describe(client: "DynamoDBClient", name: str) -> dict[str, Any] | None:
    """Read a table's description; None where there is no such table."""
    try:
        found: Any = client.describe_table(TableName=name)["Table"]
    except ClientError as error:
        if code_of(error) == "ResourceNotFoundException":
            return None
        raise
    return dict(found)


def is_going(found: dict[str, Any]) -> bool:
    """Say whether the table is being deleted."""
    return bool(found["TableStatus"] == "DELETING")


def refuse_going(name: str, found: dict[str, Any]) -> None:
    """Hold that the table is not being deleted.

    Raises:
        Problem: It is: another one of its name can be made only when it is gone.
    """
    if is_going(found):
        raise Problem(f"The table {name} is being deleted.", "Run this again in some minutes.")


def properties(client: "DynamoDBClient", name: str, found: dict[str, Any]) -> list[Property]:
    """Compare a table with its definition, in the order in which it can be mended."""
    backups: Any = client.describe_continuous_backups(TableName=name)
    ttl: Any = client.describe_time_to_live(TableName=name)
    return [
        _key(found),
        _billing(name, found),
        *(_index(name, found, index) for index in table.definition(name)["GlobalSecondaryIndexes"]),
        _encryption(name, found),
        _protection(name, found),
        _ttl(name, ttl["TimeToLiveDescription"]),
        _recovery(name, backups["ContinuousBackupsDescription"]),
    ]


def wait(  # noqa: PLR0913, PLR0917 - the last three are the world's
    client: "DynamoDBClient",
    name: str,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
    longest: float = WAIT_SECONDS,
) -> None:
    """Wait until the table and its indexes can be used, and say now and then that it lasts.

    Raises:
        Problem: It takes too long, and the next run goes on; or the table is being deleted.
    """
    began = said = monotonic()
    while True:
        found = describe(client, name) or {"TableStatus": "CREATING"}
        refuse_going(name, found)
        busy = [
            one["IndexName"]
            for one in _indexes(found)
            if one.get("IndexStatus", "ACTIVE") != "ACTIVE"
        ]
        if found["TableStatus"] == "ACTIVE" and not busy:
            return
        now = monotonic()
        if now - began > longest:
            message = f"The table {name} is not ready after {longest:.0f} s."
            raise Problem(message, "Run this again later: it goes on where it is.")
        if now - said >= SAY_SECONDS:
            what = f"index {busy[0]}" if busy else f"table, {found['TableStatus'].lower()}"
            say(f"  still waiting for the {what} ({now - began:.0f} s)")
            said = now
        sleep(min(2.0, 0.1 + (now - began) / 5))


def mend(client: "DynamoDBClient", wrong: Property, sleep: Callable[[float], None]) -> None:
    """Make a property right, again while AWS is not ready for it."""
    if wrong.mend is None:
        raise ValueError(f"only a person can mend {wrong.name}")
    for number in range(60):
        try:
            wrong.mend(client)
        except ClientError as error:
            if code_of(error) not in _LATER or number == 59:  # noqa: PLR2004 - the last one
                raise
            sleep(2.0)
        else:
            return


def _indexes(found: dict[str, Any]) -> list[dict[str, Any]]:
    indexes: list[dict[str, Any]] = found.get("GlobalSecondaryIndexes") or []
    return indexes


def _typed(found: Any, keys: Any) -> str:
    """Write a key with its types, as `pk (S)`."""
    types = {one["AttributeName"]: one["AttributeType"] for one in found["AttributeDefinitions"]}
    ordered = sorted(keys, key=lambda one: one["KeyType"])  # HASH comes before RANGE
    names = [one["AttributeName"] for one in ordered]
    return ", ".join(f"{name} ({types.get(name, '?')})" for name in names)


def _key(found: dict[str, Any]) -> Property:
    wanted = table.definition("")
    state, right = _typed(found, found["KeySchema"]), _typed(wanted, wanted["KeySchema"])
    advice = f"It must be {right}, and a key can't be changed: name another table in UPLOADS_TABLE."
    return Property("key", state, state == right, advice=advice)


def _billing(name: str, found: dict[str, Any]) -> Property:
    # A table that never was on demand has no summary.
    mode = (found.get("BillingModeSummary") or {}).get("BillingMode", "PROVISIONED")
    return Property(
        "billing",
        mode,
        mode == "PAY_PER_REQUEST",
        lambda client: client.update_table(TableName=name, BillingMode="PAY_PER_REQUEST"),
    )


def _shape(owner: Any, index: Any) -> str:
    projection = index["Projection"]
    carried = ", ".join(sorted(projection.get("NonKeyAttributes") or []))
    kind = projection["ProjectionType"] + (f" {carried}" if carried else "")
    return f"{_typed(owner, index['KeySchema'])}, {kind}"


def _index(name: str, found: dict[str, Any], wanted: Any) -> Property:
    title = f"index {wanted['IndexName']}"
    right = _shape(table.definition(name), wanted)
    there = [one for one in _indexes(found) if one["IndexName"] == wanted["IndexName"]]
    if not there:
        attributes = table.definition(name)["AttributeDefinitions"]
        update: Any = [{"Create": wanted}]
        return Property(
            title,
            "missing",
            is_right=False,
            mend=lambda client: client.update_table(
                TableName=name,
                AttributeDefinitions=attributes,
                GlobalSecondaryIndexUpdates=update,
            ),
        )
    state = _shape(found, there[0])
    advice = (
        f"It must be {right}. Delete the index, at an hour when nobody uploads, and run"
        " `python -m ops provision` again, which makes it anew."
    )
    return Property(title, state, state == right, advice=advice)


def _encryption(name: str, found: dict[str, Any]) -> Property:
    description = found.get("SSEDescription") or {}
    is_right = description.get("Status") in _ON and description.get("SSEType") == "KMS"
    return Property(
        "encryption",
        "with a key of this account" if is_right else "with DynamoDB's own key",
        is_right,
        lambda client: client.update_table(TableName=name, SSESpecification=ENCRYPTION),
    )


def _protection(name: str, found: dict[str, Any]) -> Property:
    is_on = bool(found.get("DeletionProtectionEnabled"))
    return Property(
        "deletion protection",
        "on" if is_on else "off",
        is_on,
        lambda client: client.update_table(TableName=name, DeletionProtectionEnabled=True),
    )


def _ttl(name: str, found: dict[str, Any]) -> Property:
    status, attribute = found["TimeToLiveStatus"], found.get("AttributeName")
    is_right = status in _ON and attribute == TTL_ATTRIBUTE
    state = f"{status.lower()}, by {attribute}" if attribute else status.lower()
    advice = f"Turn it off, wait for the hour that AWS needs, and provision by {TTL_ATTRIBUTE}."
    return Property(
        "time to live",
        state,
        is_right,
        None if status != "DISABLED" else lambda client: _turn_ttl_on(client, name),
        advice,
    )


def _turn_ttl_on(client: "DynamoDBClient", name: str) -> None:
    client.update_time_to_live(
        TableName=name,
        TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL_ATTRIBUTE},
    )


def _recovery(name: str, found: dict[str, Any]) -> Property:
    description = found.get("PointInTimeRecoveryDescription") or {}
    status = description.get("PointInTimeRecoveryStatus", "DISABLED")
    return Property(
        "point-in-time recovery",
        status.lower(),
        status in _ON,
        lambda client: client.update_continuous_backups(
            TableName=name,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        ),
    )
