"""The DynamoDB table: its definition in `table.yaml`, and comparison with an existing table.

The sandbox and the tests create the emulator's table from the template that `provision` deploys.
"""

from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml
from botocore.exceptions import ClientError

from ops.account import code_of
from ops.terminal import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import CreateTableInputTypeDef

TEMPLATE = Path(__file__).with_name("table.yaml")
RESOURCE = "Uploads"  # the table's logical name in the template
_SHAPE = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
ENCRYPTION, PROTECTION = "encryption with the account's key", "deletion protection"
EXPIRY, RECOVERY = "time to live", "point-in-time recovery"
_ON = {"ENABLED", "ENABLING", "UPDATING"}


@cache
def _template() -> Any:
    """Return the table's properties, with CloudFormation's names."""
    return yaml.safe_load(TEMPLATE.read_text())["Resources"][RESOURCE]["Properties"]


def definition(name: str) -> "CreateTableInputTypeDef":
    """Return the table's key, indexes and billing as arguments of `create_table`."""
    properties: Any = {one: deepcopy(_template()[one]) for one in _SHAPE}
    properties["TableName"] = name
    return cast("CreateTableInputTypeDef", properties)


def create(client: "DynamoDBClient", name: str) -> bool:
    """Create the emulator's table and wait until it can be used.

    Returns:
        Whether it was created; False if it already existed.
    """
    try:
        client.create_table(**definition(name))
    except ClientError as error:
        if code_of(error) != "ResourceInUseException":
            raise
        return False
    wait(client, name)
    client.update_time_to_live(
        TableName=name, TimeToLiveSpecification=_template()["TimeToLiveSpecification"]
    )
    return True


def wait(client: "DynamoDBClient", name: str) -> None:
    """Wait until the table is active, at most ten minutes."""
    client.get_waiter("table_exists").wait(
        TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 600}
    )


def describe(client: "DynamoDBClient", name: str) -> dict[str, Any] | None:
    """Return a table's description, or None if there is no such table."""
    try:
        found: Any = client.describe_table(TableName=name)["Table"]
    except ClientError as error:
        if code_of(error) == "ResourceNotFoundException":
            return None
        raise
    return dict(found)


def is_being_deleted(found: dict[str, Any]) -> bool:
    """Whether the table is being deleted."""
    return bool(found["TableStatus"] == "DELETING")


@dataclass(frozen=True)
class Property:
    """One property of a table, compared with the template.

    Attributes:
        name: The property.
        state: The table's value.
        wanted: The template's value.
    """

    name: str
    state: str
    wanted: str

    @property
    def is_right(self) -> bool:
        """Whether the table matches the template."""
        return self.state == self.wanted

    @property
    def can_be_turned_on(self) -> bool:
        """Whether it is protection that is off, which `turn_on` fixes."""
        return self.state == "off"


def compare(client: "DynamoDBClient", name: str, found: dict[str, Any]) -> list[Property]:
    """Return the properties of a table: first its shape, then what protects its data."""
    wanted: Any = _template()
    backups: Any = client.describe_continuous_backups(TableName=name)[
        "ContinuousBackupsDescription"
    ]
    expiry: Any = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    encryption = found.get("SSEDescription") or {}
    recovery = backups.get("PointInTimeRecoveryDescription") or {}
    indexes = {one["IndexName"]: one for one in found.get("GlobalSecondaryIndexes") or []}
    # A table has no summary if its billing mode was never PAY_PER_REQUEST.
    billing = (found.get("BillingModeSummary") or {}).get("BillingMode", "PROVISIONED")
    return [
        Property("key", _key(found, found), _key(wanted, wanted)),
        Property("billing", billing, wanted["BillingMode"]),
        *(
            Property(
                f"index {one['IndexName']}",
                _index(found, indexes.get(one["IndexName"])),
                _index(wanted, one),
            )
            for one in wanted["GlobalSecondaryIndexes"]
        ),
        Property(
            ENCRYPTION, _switch(encryption.get("Status"), encryption.get("SSEType")), "on, KMS"
        ),
        Property(PROTECTION, "on" if found.get("DeletionProtectionEnabled") else "off", "on"),
        Property(
            EXPIRY,
            _switch(expiry["TimeToLiveStatus"], expiry.get("AttributeName")),
            f"on, {wanted['TimeToLiveSpecification']['AttributeName']}",
        ),
        Property(RECOVERY, _switch(recovery.get("PointInTimeRecoveryStatus")), "on"),
    ]


def _switch(status: str | None, how: str | None = None) -> str:
    """Return whether something is on, and how; `off` only if it can be turned on."""
    if status in {None, "DISABLED"}:
        return "off"
    state = "on" if status in _ON else str(status).lower()
    return f"{state}, {how}" if how else state


def _key(owner: Any, keyed: Any) -> str:
    """Return a key with its types, for example `pk (S)`."""
    types = {one["AttributeName"]: one["AttributeType"] for one in owner["AttributeDefinitions"]}
    ordered = sorted(keyed["KeySchema"], key=lambda one: one["KeyType"])  # HASH before RANGE
    names = [one["AttributeName"] for one in ordered]
    return ", ".join(f"{name} ({types.get(name, '?')})" for name in names)


def _index(owner: Any, index: Any) -> str:
    if index is None:
        return "missing"
    projection = index["Projection"]
    attributes = ", ".join(sorted(projection.get("NonKeyAttributes") or []))
    return f"{_key(owner, index)}, {projection['ProjectionType']} {attributes}".strip()


def turn_on(client: "DynamoDBClient", name: str, protection: str) -> None:
    """Turn protection on with the template's values, and wait until the table is active again.

    AWS leaves expiry, recovery and deletion protection off in a restored table.
    """
    wanted = _template()
    calls: dict[str, Callable[[], object]] = {
        ENCRYPTION: lambda: client.update_table(
            TableName=name, SSESpecification={"Enabled": wanted["SSESpecification"]["SSEEnabled"]}
        ),
        PROTECTION: lambda: client.update_table(
            TableName=name, DeletionProtectionEnabled=wanted["DeletionProtectionEnabled"]
        ),
        EXPIRY: lambda: client.update_time_to_live(
            TableName=name, TimeToLiveSpecification=wanted["TimeToLiveSpecification"]
        ),
        RECOVERY: lambda: client.update_continuous_backups(
            TableName=name,
            PointInTimeRecoverySpecification=wanted["PointInTimeRecoverySpecification"],
        ),
    }
    calls[protection]()
    wait(client, name)


def refuse_unfit(name: str, compared: list[Property]) -> None:
    """Refuse a table that differs from the template in a property that `provision` can't change.

    Raises:
        Problem: It differs.
    """
    unfit = [one for one in compared if not one.is_right and not one.can_be_turned_on]
    if unfit:
        raise Problem(
            "; ".join(f"The {one.name} of {name} is {one.state}" for one in unfit) + ".",
            " ".join(unfit_advice(one) for one in unfit),
        )


def unfit_advice(one: Property) -> str:
    """Return how an operator can fix a property that `provision` can't change."""
    if one.name == "key":
        return (
            f"It must be {one.wanted}. A key can't be changed, so name another table in"
            " UPLOADS_TABLE."
        )
    return f"It must be {one.wanted}. Change the {one.name} in DynamoDB, and run this again."
