"""Remove what `provision` and the functions created: secrets, on demand logs and the table."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from ops import parameters, table
from ops.account import Account
from ops.deployment import functions_using, stack_exists
from ops.parameters import State
from ops.presence import function_names, is_deployed, record_name, recorded_resources
from ops.provision import Step
from ops.stage import Stage
from ops.table_stack import TableStack
from ops.terminal import USAGE, Problem, Terminal

WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class Options:
    """The operator's options.

    Attributes:
        is_dry: Whether the command only reports what it would change.
        table: The table, if it is not the stage's own.
        deletes_table: Whether to delete the table after the operator has typed its name.
        confirmed: The name of the table to delete without asking.
        stack: A CloudFormation stack that must be deleted already.
        deletes_logs: Whether to delete the log groups of the functions and the gateway.
    """

    is_dry: bool = False
    table: str | None = None
    deletes_table: bool = False
    confirmed: str | None = None
    stack: str | None = None
    deletes_logs: bool = False


def run(  # noqa: PLR0913, PLR0917 - tests pass the last two
    stage: Stage,
    account: Account,
    terminal: Terminal,
    options: Options,
    stdin: TextIO,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Step]:
    """Remove the stage's secrets, and its table if the operator confirms that.

    Args:
        stage: The stage.
        account: The AWS account.
        terminal: Shows progress.
        options: The operator's options.
        stdin: The operator's input.
        sleep: Waits for a number of seconds.

    Raises:
        Problem: The stage is still deployed, or the operator did not confirm the table's name. In
            both cases nothing was removed.
    """
    name = options.table or stage.table
    _refuse_in_use(stage, account, options, name)
    client, ssm = account.client("dynamodb"), account.client("ssm")
    found = table.describe(client, name)
    wants_table = options.deletes_table or options.confirmed is not None
    if wants_table and found is not None:
        _confirm(name, found.get("ItemCount", 0), terminal, options, stdin)
    steps = []
    for one in parameters.of(stage.environment):
        if parameters.read(ssm, one).state is State.MISSING:
            steps.append(Step(one.name, "kept", "there is no such parameter"))
        elif options.is_dry:
            steps.append(Step(one.name, "planned", f"delete {one.title}"))
        else:
            terminal.progress(f"Deleting {one.name} ...")
            parameters.delete(ssm, one)
            steps.append(Step(one.name, "done", f"{one.title} was deleted"))
    steps += _delete_logs(stage, account, terminal, options)
    stack = TableStack(account, name, terminal, sleep)
    if wants_table and not options.is_dry and stack.delete():
        # The stack goes first, since its deletion leaves the table: an interrupted run can be
        # repeated.
        steps.append(Step(name, "done", f"its stack {stack.name} was deleted"))
    if found is None:
        return [*steps, Step(name, "kept", "there is no such table")]
    is_deleting = table.is_being_deleted(found)
    if is_deleting and (options.is_dry or not wants_table):
        return [*steps, Step(name, "kept", "the table is being deleted already")]
    if not wants_table:
        kept = "only the table records who owns which asset; delete it with --delete-table"
        return [*steps, Step(name, "kept", kept)]
    if options.is_dry:
        return [*steps, Step(name, "planned", "delete the table, its content and its stack")]
    _delete(account, name, terminal, sleep, is_deleting=is_deleting)
    return [*steps, Step(name, "done", "the table was deleted")]


def _delete_logs(
    stage: Stage, account: Account, terminal: Terminal, options: Options
) -> list[Step]:
    """Delete the log groups of the functions and the gateway, which outlive them."""
    names = [f"/aws/lambda/{one}" for one in function_names(stage).values()]
    names.append(f"/sync-upload-broker/{stage.name}/access")  # docs/deploy.md creates it
    if options.stack is not None:
        names += [f"/sync-upload-broker/{options.stack}/{one}" for one in ("api", "sweep")]
    if not options.deletes_logs:
        terminal.progress(f"The logs stay, if there are any: {', '.join(names)}.")
        terminal.progress("Delete them with --delete-logs.")
        return []
    logs = account.client("logs")
    steps = []
    for name in names:
        found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        if name not in {one["logGroupName"] for one in found}:
            steps.append(Step(name, "kept", "there is no such log group"))
        elif options.is_dry:
            steps.append(Step(name, "planned", "delete the log group"))
        else:
            terminal.progress(f"Deleting {name} ...")
            logs.delete_log_group(logGroupName=name)
            steps.append(Step(name, "done", "the log group was deleted"))
    return steps


def _refuse_in_use(stage: Stage, account: Account, options: Options, table: str) -> None:
    """Refuse to remove what a deployed function still uses.

    Raises:
        Problem: A function still uses the table or a secret.
    """
    if is_deployed(stage, account):
        advice = (
            f"First run `chalice delete --stage {stage.name}`, which removes the functions and the"
            " API, in the folder that it was deployed from."
        )
        if not recorded_resources(stage):
            advice += (
                f" It removes only what {record_name(stage)} names. If a deployment was interrupted"
                " before it wrote that file, deploy again first."
            )
        raise Problem(f"The stage {stage.name} is still deployed.", advice)
    if options.stack is not None and stack_exists(account, options.stack):
        advice = f"First run `aws cloudformation delete-stack --stack-name {options.stack}`."
        raise Problem(f"The stack {options.stack} still exists.", advice)
    # --stack is optional, and a mistyped name looks like a deleted stack.
    names = {table, *(one.name for one in parameters.of(stage.environment))}
    found = functions_using(account, names)
    if found:
        raise Problem(
            f"These functions still use the stage's table or secrets: {', '.join(found)}.",
            "Remove them first. For a stack, run `aws cloudformation delete-stack`.",
        )


def _confirm(name: str, count: int, terminal: Terminal, options: Options, stdin: TextIO) -> None:
    """Let the operator confirm the table's name.

    Raises:
        Problem: The operator gave another name, or can't be asked.
    """
    given = options.confirmed
    if given is None and options.is_dry:
        return
    if given is None:
        if not stdin.isatty():
            raise Problem(
                "Standard input is not a terminal, so the command can't ask for the table's name.",
                "Use --yes-delete-the-table NAME instead.",
                USAGE,
            )
        terminal.progress(f"The table {name} holds about {count} items: who owns which asset.")
        terminal.progress("AWS keeps a backup for 35 days. Nothing else will be left.")
        terminal.progress("Type the table's name to delete it:")
        given = stdin.readline().strip()
    if given != name:
        message = f"The table is called {name}, not {given!r}."
        raise Problem(message, "Nothing was removed.", USAGE)


def _delete(
    account: Account,
    name: str,
    terminal: Terminal,
    sleep: Callable[[float], None],
    *,
    is_deleting: bool,
) -> None:
    client = account.client("dynamodb")
    if not is_deleting:
        terminal.progress(f"Turning the deletion protection of {name} off ...")
        client.update_table(TableName=name, DeletionProtectionEnabled=False)
        table.wait(client, name)
        terminal.progress(f"Deleting the table {name} ...")
        client.delete_table(TableName=name)
    waited = 0.0
    while table.describe(client, name) is not None:
        if waited > WAIT_SECONDS:
            raise Problem(f"The table {name} is still being deleted after ten minutes.")
        sleep(1.0)
        waited += 1.0
