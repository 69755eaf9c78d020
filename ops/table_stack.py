"""The table's CloudFormation stack, which `provision` deploys from `table.yaml`."""

import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from ops import table
from ops.account import Account, code_of
from ops.terminal import Problem, Terminal

WAIT_SECONDS = 3600.0  # a new index of a large table takes long to fill
PROGRESS_SECONDS = 10.0
_DONE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"}
_UPDATABLE = _DONE | {"UPDATE_ROLLBACK_COMPLETE", "IMPORT_ROLLBACK_COMPLETE"}
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_CHANGES = {"Add": "created", "Import": "adopted by its stack, unchanged"}


class Need(StrEnum):
    """The change that makes the stack match `table.yaml`."""

    NOTHING = "the table matches the template"
    WAITING = "wait for the running change of the stack"
    CREATION = "create the table, with everything that protects it"
    ADOPTION = "let a stack adopt the table, unchanged"
    UPDATE = "update the table's stack to this version's template"


_KINDS = {Need.CREATION: "CREATE", Need.ADOPTION: "IMPORT", Need.UPDATE: "UPDATE"}


class TableStack:
    """The stack of one table.

    Args:
        account: The AWS account.
        name: The table's name.
        terminal: Shows progress.
        sleep: Waits for a number of seconds.
        monotonic: Returns a monotonic time in seconds.
        template: The stack's template.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - tests pass the last three
        self,
        account: Account,
        name: str,
        terminal: Terminal,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        template: Path = table.TEMPLATE,
    ) -> None:
        self.name = f"table-{re.sub(r'[^A-Za-z0-9]', '-', name)}"[:128]
        self._client: Any = account.client("cloudformation")
        self._table = name
        self._terminal = terminal
        self._sleep = sleep
        self._monotonic = monotonic
        self._template = template.read_text()

    def need(self, found: dict[str, Any] | None) -> Need:
        """Return the change that the stack needs.

        Args:
            found: The table's description, or None if there is no table.

        Raises:
            Problem: The operator has to fix the stack first.
        """
        stack = self._describe()
        if stack is None or stack["StackStatus"] == "REVIEW_IN_PROGRESS":
            return Need.CREATION if found is None else Need.ADOPTION
        if stack["StackStatus"].endswith("_IN_PROGRESS"):
            return Need.WAITING
        self._refuse_stuck(stack["StackStatus"])
        if found is None:
            raise Problem(
                f"The stack {self.name} exists, but its table {self._table} does not.",
                f"Restore the table from a backup (docs/operations.md). Or, for an empty table,"
                f" {self._deletion} and run this again.",
            )
        body = self._client.get_template(StackName=self.name)["TemplateBody"]
        return Need.NOTHING if body == self._template else Need.UPDATE

    def deploy(self, need: Need) -> list[str]:
        """Create or update the stack, and return descriptions of the changes.

        Raises:
            Problem: CloudFormation refused the change, or rolled it back.
        """
        change_set = {"StackName": self.name, "ChangeSetName": f"provision-{uuid.uuid4().hex}"}
        request: dict[str, Any] = {"ChangeSetType": _KINDS[need]}
        if need is Need.ADOPTION:
            identifier = {
                "ResourceType": "AWS::DynamoDB::Table",
                "LogicalResourceId": table.RESOURCE,
                "ResourceIdentifier": {"TableName": self._table},
            }
            request["ResourcesToImport"] = [identifier]
        self._client.create_change_set(
            **change_set,
            **request,
            TemplateBody=self._template,
            Parameters=[{"ParameterKey": "TableName", "ParameterValue": self._table}],
        )
        with suppress(WaiterError):  # a failure is read below, with its reason
            self._client.get_waiter("change_set_create_complete").wait(
                **change_set, WaiterConfig={"Delay": 1, "MaxAttempts": 600}
            )
        created = self._client.describe_change_set(**change_set)
        if created["Status"] != "CREATE_COMPLETE":
            self._client.delete_change_set(**change_set)
            reason = created.get("StatusReason", "AWS gives no reason")
            if any(words in reason for words in _NO_CHANGES):
                return []
            if need is not Need.UPDATE:
                self.delete()  # CloudFormation leaves an empty stack behind
            raise Problem(
                f"CloudFormation refused the template of the table {self._table}: {reason}",
                "If another stack or tool owns the table, use --secrets-only.",
            )
        self._client.execute_change_set(**change_set)
        self.wait()
        status = (self._describe() or {"StackStatus": "DELETE_COMPLETE"})["StackStatus"]
        if status not in _DONE:
            self._refuse_stuck(status)
            message = f"CloudFormation rolled back the change of {self._table} ({status})"
            raise Problem(f"{message}: {self._reasons()}", "The table is unchanged.")
        return [_describe_change(one["ResourceChange"]) for one in created["Changes"]]

    def wait(self) -> None:
        """Wait until no change of the stack is running.

        Raises:
            Problem: It takes too long. The next run waits again.
        """
        began = reported = self._monotonic()
        while (stack := self._describe()) and stack["StackStatus"].endswith("_IN_PROGRESS"):
            waited = self._monotonic() - began
            if waited > WAIT_SECONDS:
                message = f"The stack {self.name} is still {stack['StackStatus']}"
                raise Problem(f"{message} after {waited:.0f} s.", "Run this again later.")
            if self._monotonic() - reported >= PROGRESS_SECONDS:
                self._terminal.progress(f"  still {stack['StackStatus']} ({waited:.0f} s)")
                reported = self._monotonic()
            self._sleep(min(5.0, 0.2 + waited / 5))

    def delete(self) -> bool:
        """Delete the stack. The template's DeletionPolicy retains the table.

        Returns:
            Whether the stack existed.
        """
        if self._describe() is None:
            return False
        self._client.delete_stack(StackName=self.name)
        self.wait()
        left = self._describe()
        if left is not None:
            message = f"The stack {self.name} could not be deleted ({left['StackStatus']})"
            raise Problem(f"{message}: {self._reasons()}")
        return True

    @property
    def _deletion(self) -> str:
        return f"run `aws cloudformation delete-stack --stack-name {self.name}`"

    def _describe(self) -> Any:
        """Return the stack's description, or None if there is no stack.

        Raises:
            Problem: The stack of this name has another table.
        """
        try:
            (found,) = self._client.describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if code_of(error) == "ValidationError":  # CloudFormation's code for an unknown name
                return None
            raise
        if found["StackStatus"] == "DELETE_COMPLETE":
            return None
        given = {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", [])}
        if given.get("TableName", self._table) != self._table:
            message = f"The stack {self.name} belongs to the table {given['TableName']}."
            raise Problem(message, "Name another table in UPLOADS_TABLE.")
        return found

    def _refuse_stuck(self, status: str) -> None:
        """Refuse a stack that CloudFormation can't update."""
        if status in _UPDATABLE:
            return
        if status == "UPDATE_ROLLBACK_FAILED":
            advice = f"Run `aws cloudformation continue-update-rollback --stack-name {self.name}`."
        else:  # its creation or deletion failed
            advice = (
                f"If the table exists, it stays. To try again, {self._deletion} and run this again."
            )
        raise Problem(f"The stack {self.name} is {status}: {self._reasons()}", advice)

    def _reasons(self) -> str:
        """Return why the last change failed, according to its events."""
        reasons = []
        for event in self._client.describe_stack_events(StackName=self.name)["StackEvents"]:
            reason = event.get("ResourceStatusReason", "")
            if reason == "User Initiated":  # the first event of the last change; newest come first
                break
            if event["ResourceStatus"].endswith("_FAILED") and reason:
                reasons.append(reason)
        return "; ".join(reversed(reasons)) or "AWS gives no reason"


def _describe_change(change: Any) -> str:
    """Return a description of a change of the table."""
    if change["Action"] in _CHANGES:
        return f"the table was {_CHANGES[change['Action']]}"
    details = change.get("Details", [])
    properties = sorted({one["Target"]["Name"] for one in details if "Name" in one["Target"]})
    return f"the table was updated: {', '.join(properties) or 'its stack'}"
