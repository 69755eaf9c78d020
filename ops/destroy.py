"""Removes what `provision` made: the secrets, and the table only if that is confirmed twice."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from ops import parameters, table
from ops.account import Account
from ops.deployment import is_there, stack_is_there, users
from ops.parameters import State
from ops.provision import Step
from ops.stage import Stage
from ops.table_stack import TableStack
from ops.terminal import USAGE, Problem, Terminal

WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class Orders:
    """What the operator chose.

    Attributes:
        is_dry: Whether nothing may be written.
        table: The table, if it is not the stage's own.
        deletes_table: Whether the table shall go; its name must then be typed.
        confirmed: The table's name, said at once.
        stack: The CloudFormation stack that must be gone before.
    """

    is_dry: bool = False
    table: str | None = None
    deletes_table: bool = False
    confirmed: str | None = None
    stack: str | None = None


def run(  # noqa: PLR0913, PLR0917 - the last two are the world's
    stage: Stage,
    account: Account,
    terminal: Terminal,
    orders: Orders,
    stdin: TextIO,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Step]:
    """Remove the stage's secrets, and its table if that was said twice.

    Args:
        stage: The stage.
        account: Where.
        terminal: Hears of progress.
        orders: What the operator chose.
        stdin: Where the table's name is typed.
        sleep: Waits for a number of seconds.

    Raises:
        Problem: The stage is still deployed, or the second word was another one; nothing was
            removed then.
    """
    name = orders.table or stage.table
    _refuse_in_use(stage, account, orders, name)
    client, ssm = account.client("dynamodb"), account.client("ssm")
    found = table.describe(client, name)
    wants_table = orders.deletes_table or orders.confirmed is not None
    if wants_table and found is not None:
        _confirm(name, found.get("ItemCount", 0), terminal, orders, stdin)
    steps = []
    for one in parameters.of(stage.environment):
        if parameters.read(ssm, one).state is State.MISSING:
            steps.append(Step(one.name, "kept", "there is none"))
        elif orders.is_dry:
            steps.append(Step(one.name, "planned", f"delete {one.title}"))
        else:
            terminal.progress(f"Deleting {one.name} ...")
            parameters.delete(ssm, one)
            steps.append(Step(one.name, "done", f"{one.title} was deleted"))
    stack = TableStack(account, name, terminal, sleep)
    if wants_table and not orders.is_dry and stack.delete():
        # First, since it leaves the table: so a run that was interrupted can be repeated.
        steps.append(Step(name, "done", f"its stack {stack.name} was deleted"))
    if found is None:
        return [*steps, Step(name, "kept", "there is no such table")]
    is_going = table.is_being_deleted(found)
    if is_going and (orders.is_dry or not wants_table):
        return [*steps, Step(name, "kept", "the table is being deleted already")]
    if not wants_table:
        kept = "the table stays: it alone knows which asset is whose (--delete-table)"
        return [*steps, Step(name, "kept", kept)]
    if orders.is_dry:
        return [
            *steps,
            Step(name, "planned", "delete the table with all that is in it, and its stack"),
        ]
    _delete(account, name, terminal, sleep, is_ordered=is_going)
    return [*steps, Step(name, "done", "the table was deleted")]


def _refuse_in_use(stage: Stage, account: Account, orders: Orders, table: str) -> None:
    """Look whether anything still runs on the table or the secrets.

    Raises:
        Problem: It does.
    """
    if is_there(stage, account):
        raise Problem(
            f"The stage {stage.name} is still deployed.",
            f"Run `chalice delete --stage {stage.name}` first, which removes functions and API,"
            " in the folder that it was deployed from.",
        )
    if orders.stack is not None and stack_is_there(account, orders.stack):
        advice = f"Run `aws cloudformation delete-stack --stack-name {orders.stack}` first."
        raise Problem(f"The stack {orders.stack} is still there.", advice)
    # A deleted stack is as unknown by its name as one that never was, and nobody has to name one.
    found = users(account, {table, *(one.name for one in parameters.of(stage.environment))})
    if found:
        raise Problem(
            f"These functions still use the stage's table or secrets: {', '.join(found)}.",
            "Remove them first: a stack by `aws cloudformation delete-stack`.",
        )


def _confirm(name: str, count: int, terminal: Terminal, orders: Orders, stdin: TextIO) -> None:
    """Hear the second word.

    Raises:
        Problem: It is not the table's name.
    """
    word = orders.confirmed
    if word is None and orders.is_dry:
        return
    if word is None:
        if not stdin.isatty():
            raise Problem(
                "The table's name must be typed at a terminal, and standard input is none.",
                "Say --yes-delete-the-table NAME instead.",
                USAGE,
            )
        terminal.progress(f"The table {name} holds about {count} items: who uploaded which asset.")
        terminal.progress("Only AWS's own backup will be left, for 35 days.")
        terminal.progress("Type the table's name to delete it:")
        word = stdin.readline().strip()
    if word != name:
        message = f"The table is called {name}, and that is not what was said."
        raise Problem(message, "Nothing was removed.", USAGE)


def _delete(
    account: Account,
    name: str,
    terminal: Terminal,
    sleep: Callable[[float], None],
    *,
    is_ordered: bool,
) -> None:
    client = account.client("dynamodb")
    if not is_ordered:
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
