"""The table's own CloudFormation stack, which `provision` creates and updates by `table.yaml`."""

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

WAIT_SECONDS = 3600.0  # filling an index of a large table takes long
PROGRESS_SECONDS = 10.0
_DONE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"}
_UPDATABLE = _DONE | {"UPDATE_ROLLBACK_COMPLETE", "IMPORT_ROLLBACK_COMPLETE"}
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_CHANGES = {"Add": "created", "Import": "adopted by its stack, unchanged"}


class Need(StrEnum):
    """What the stack needs until it is what `table.yaml` says."""

    NOTHING = "the table is as the template says"
    WAITING = "wait for the stack's running change"
    CREATION = "create the table, with everything that protects it"
    ADOPTION = "let a stack adopt the table, unchanged"
    UPDATE = "update the table's stack by this version's template"


_KINDS = {Need.CREATION: "CREATE", Need.ADOPTION: "IMPORT", Need.UPDATE: "UPDATE"}


class TableStack:
    """The stack of one table.

    Args:
        account: Where.
        name: The table's name.
        terminal: Hears of progress.
        sleep: Waits for a number of seconds.
        monotonic: Seconds since any moment.
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
        """Return what `deploy` has to do.

        Args:
            found: The table's description, or None if there is no table.

        Raises:
            Problem: The stack is in a state that only a person can end.
        """
        stack = self._describe()
        if stack is None or stack["StackStatus"] == "REVIEW_IN_PROGRESS":
            return Need.CREATION if found is None else Need.ADOPTION
        if stack["StackStatus"].endswith("_IN_PROGRESS"):
            return Need.WAITING
        self._refuse_stuck(stack["StackStatus"])
        if found is None:
            raise Problem(
                f"The stack {self.name} is there, but its table {self._table} is not.",
                f"Restore the table from a backup (docs/operations.md), or, to begin with an empty"
                f" one, {self._deletion}, and run this again.",
            )
        body = self._client.get_template(StackName=self.name)["TemplateBody"]
        return Need.NOTHING if body == self._template else Need.UPDATE

    def deploy(self, need: Need) -> list[str]:
        """Create the stack or update it, and return what changed, in words.

        Raises:
            Problem: CloudFormation refused the change, or undid it.
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
        with suppress(WaiterError):  # that it failed is read below, with the reason
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
                "If another stack or program owns the table, use --secrets-only.",
            )
        self._client.execute_change_set(**change_set)
        self.wait()
        status = (self._describe() or {"StackStatus": "DELETE_COMPLETE"})["StackStatus"]
        if status not in _DONE:
            self._refuse_stuck(status)
            message = f"CloudFormation undid the change of the table {self._table} ({status})"
            raise Problem(f"{message}: {self._reasons()}", "The table is as it was before.")
        return [_words(one["ResourceChange"]) for one in created["Changes"]]

    def wait(self) -> None:
        """Wait until no change of the stack is running.

        Raises:
            Problem: It takes too long; the next run resumes.
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
        """Delete the stack; its table stays, by the template's policy.

        Returns:
            Whether there was one.
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
        """Return the stack, or None if there is none.

        Raises:
            Problem: A stack of this name is something else.
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
            message = f"The stack {self.name} is that of the table {given['TableName']}."
            raise Problem(message, "Name another table in UPLOADS_TABLE.")
        return found

    def _refuse_stuck(self, status: str) -> None:
        """Refuse a stack that takes no further update."""
        if status in _UPDATABLE:
            return
        if status == "UPDATE_ROLLBACK_FAILED":
            advice = f"Run `aws cloudformation continue-update-rollback --stack-name {self.name}`."
        else:  # its creation or deletion failed
            advice = (
                f"If there is a table, it stays. To try again, {self._deletion} and run this again."
            )
        raise Problem(f"The stack {self.name} is {status}: {self._reasons()}", advice)

    def _reasons(self) -> str:
        """Return why the last change failed, from its events."""
        reasons = []
        for event in self._client.describe_stack_events(StackName=self.name)["StackEvents"]:
            reason = event.get("ResourceStatusReason", "")
            if reason == "User Initiated":  # where the last change began; the newest comes first
                break
            if event["ResourceStatus"].endswith("_FAILED") and reason:
                reasons.append(reason)
        return "; ".join(reversed(reasons)) or "AWS gives no reason"


def _words(change: Any) -> str:
    """Return a change of the table in words."""
    if change["Action"] in _CHANGES:
        return f"the table was {_CHANGES[change['Action']]}"
    details = change.get("Details", [])
    properties = sorted({one["Target"]["Name"] for one in details if "Name" in one["Target"]})
    return f"the table was updated: {', '.join(properties) or 'its stack'}"
