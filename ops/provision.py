"""Creates or verifies what a stage needs before it is deployed: its secrets, then its table.

Whatever is as it must be is left alone, so that a run which was cut off is simply repeated.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ops import parameters, table
from ops.account import Account
from ops.asking import Answers
from ops.deployment import recorded_region
from ops.parameters import Parameter, State
from ops.stage import Stage
from ops.table_stack import Need, TableStack
from ops.terminal import USAGE, Problem, Terminal

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Ask = Callable[[list[Parameter]], Answers]


@dataclass(frozen=True)
class Step:
    """What a command did about one thing, or would do.

    Attributes:
        subject: The table or parameter.
        outcome: `kept`, `done` or `planned`.
        detail: What about it.
    """

    subject: str
    outcome: str
    detail: str


@dataclass(frozen=True)
class Orders:
    """What the operator chose.

    Attributes:
        is_dry: Whether nothing may be written.
        replaces_secrets: Whether stored secrets are asked for again.
        leaves_table: Whether the table is left alone.
    """

    is_dry: bool = False
    replaces_secrets: bool = False
    leaves_table: bool = False


def run(  # noqa: PLR0913, PLR0917 - the last two are the world's
    stage: Stage,
    account: Account,
    terminal: Terminal,
    orders: Orders,
    ask: Ask,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Step]:
    """Provision a stage.

    Args:
        stage: The stage.
        account: Where.
        terminal: Hears of progress.
        orders: What the operator chose.
        ask: Asks for secrets.
        sleep: Waits for a number of seconds.

    Raises:
        Problem: Something is there that only a person can put right; nothing was written then.
    """
    name = stage.table
    terminal.progress(f"Looking at the stage {stage.name} in {account.region or 'no region'} ...")
    if not stage.environment.get("ALLOWED_ORIGINS", "").strip():
        terminal.progress(
            "ALLOWED_ORIGINS is empty in .chalice/config.json: unless a stack's parameter sets it,"
            " no browser may call."
        )
    there = recorded_region(stage)
    if account.region and there not in {None, account.region}:
        raise Problem(
            f"The stage was deployed to {there}, and your shell is set to {account.region}.",
            f"Set AWS_DEFAULT_REGION to {there}.",
            USAGE,
        )
    kept, wanted = _secrets(stage, account, terminal, orders)
    planned = [] if orders.leaves_table else _plan_table(account, name, terminal)
    if orders.is_dry:
        return [
            *(Step(one.name, "kept", one.title) for one in kept),
            *(Step(one.name, "planned", f"ask for {one.title}, and store it") for one in wanted),
            *planned,
        ]
    answers = ask(wanted) if wanted else {}
    # The secrets first: they were typed, and whatever comes later may take long or fail.
    steps = [Step(one.name, "kept", one.title) for one in kept]
    steps += _store(account, terminal, wanted, answers, replace=orders.replaces_secrets)
    if not orders.leaves_table:
        steps += _deploy_table(account, name, terminal, sleep)
    return steps


def _secrets(
    stage: Stage, account: Account, terminal: Terminal, orders: Orders
) -> tuple[list[Parameter], list[Parameter]]:
    """Say which secrets are there and stay, and which are to be asked for."""
    ssm = account.client("ssm")
    kept: list[Parameter] = []
    wanted: list[Parameter] = []
    for one in parameters.of(stage.environment):
        found = parameters.read(ssm, one)
        terminal.hide(found.value or "")
        if found.state is State.IN_THE_CLEAR:
            raise Problem(
                f"{one.name} lies there in the clear: {found.reason}.",
                f"Make a new secret, since others may have read it. Delete the parameter"
                f" (`aws ssm delete-parameter --name {one.name}`), and run this again.",
            )
        is_kept = found.state is State.FINE and not orders.replaces_secrets
        (kept if is_kept else wanted).append(one)
        if found.state is State.NOT_VALID:
            terminal.progress(f"{one.name} can't be used: {found.reason}.")
    return kept, wanted


def _store(
    account: Account,
    terminal: Terminal,
    wanted: list[Parameter],
    answers: Answers,
    *,
    replace: bool,
) -> list[Step]:
    ssm = account.client("ssm")
    steps = []
    for one in wanted:
        value = answers.get(one.variable)
        if value is None:
            steps.append(Step(one.name, "kept", one.title))
            continue
        terminal.hide(value)
        terminal.progress(f"Storing {one.name} ...")
        is_there = parameters.read(ssm, one).state is not State.MISSING
        parameters.put(ssm, one, value, replace=is_there)
        steps.append(Step(one.name, "done", f"{one.title}, {'replaced' if replace else 'stored'}"))
    return steps


def _plan_table(account: Account, name: str, terminal: Terminal) -> list[Step]:
    """Return what would be done to the table.

    Raises:
        Problem: It has what only a person can change, or is being deleted.
    """
    client = account.client("dynamodb")
    found = table.describe(client, name)
    _refuse_deletion(name, found)
    need = TableStack(account, name, terminal).need(found)
    steps = [] if need is Need.NOTHING else [Step(name, "planned", need.value)]
    if found is not None and found["TableStatus"] != "CREATING":
        compared = table.compare(client, name, found)
        if need in {Need.NOTHING, Need.ADOPTION}:
            table.refuse_unfit(name, compared)
        lacking = [one for one in compared if one.can_be_turned_on]
        steps += [Step(name, "planned", f"turn on {one.name}") for one in lacking]
    return steps or [Step(name, "kept", Need.NOTHING.value)]


def _deploy_table(
    account: Account, name: str, terminal: Terminal, sleep: Callable[[float], None]
) -> list[Step]:
    """Let CloudFormation deploy the template, and turn on protection that is off.

    CloudFormation compares templates, so it does not see protection that somebody turned off, or
    that AWS left off in a restored table which the stack has adopted.
    """
    client, stack = account.client("dynamodb"), TableStack(account, name, terminal, sleep)
    found = table.describe(client, name)
    if found is not None:
        table.wait(client, name)
    need = stack.need(found)
    if need is Need.WAITING:  # an earlier run was interrupted
        terminal.progress(f"Waiting for the stack {stack.name} ...")
        stack.wait()
        need = stack.need(table.describe(client, name))
    done = []
    if need is not Need.NOTHING:
        terminal.progress(f"Table {name}: {need.value} (stack {stack.name}) ...")
        done += stack.deploy(need)
    for one in _look(client, name):
        if one.can_be_turned_on:
            terminal.progress(f"Table {name}: turn on {one.name} ...")
            table.turn_on(client, name, one.name)
            done.append(f"{one.name} was turned on")
    table.refuse_unfit(name, _look(client, name))
    return [Step(name, "done", one) for one in done] or [Step(name, "kept", Need.NOTHING.value)]


def _look(client: "DynamoDBClient", name: str) -> list[table.Property]:
    table.wait(client, name)
    return table.compare(client, name, table.describe(client, name) or {})


def _refuse_deletion(name: str, found: dict[str, object] | None) -> None:
    """Refuse a table that is being deleted: its name is free only when it is gone."""
    if found is not None and table.is_being_deleted(found):
        raise Problem(f"The table {name} is being deleted.", "Run this again in some minutes.")


def told(steps: list[Step]) -> list[str]:
    """Write the steps in words."""
    width = max((len(one.subject) for one in steps), default=0)
    return [f"{one.outcome:8}{one.subject:{width}}  {one.detail}" for one in steps]


def document(command: str, stage: Stage, steps: list[Step], *, is_dry: bool) -> dict[str, object]:
    """Write the steps for machines."""
    return {
        "command": command,
        "stage": stage.name,
        "dryRun": is_dry,
        "steps": [asdict(one) for one in steps],
    }
