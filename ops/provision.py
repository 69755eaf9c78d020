"""Creates or verifies what a stage needs before it is deployed: its secrets, then its table.

Whatever is as it must be is left alone, so that a run which was cut off is simply repeated.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ops import parameters, table_shape
from ops.account import Account
from ops.asking import Answers
from ops.deployment import recorded_region
from ops.parameters import Parameter, State
from ops.stage import Stage
from ops.table_shape import Property
from ops.terminal import USAGE, Problem, Terminal

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
        leaves_table: Whether the table is a stack's own business.
        table: The table, where it is not the stage's own but a stack's.
    """

    is_dry: bool = False
    replaces_secrets: bool = False
    leaves_table: bool = False
    table: str | None = None


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
    name = orders.table or stage.table
    terminal.progress(f"Looking at the stage {stage.name} in {account.region or 'no region'} ...")
    is_stack = orders.leaves_table or orders.table is not None  # which has it as a parameter
    if not is_stack and not stage.environment.get("ALLOWED_ORIGINS", "").strip():
        terminal.progress("ALLOWED_ORIGINS is empty in .chalice/config.json: no browser may call.")
    there = recorded_region(stage)
    if account.region and there not in {None, account.region}:
        raise Problem(
            f"The stage was deployed to {there}, and your shell is set to {account.region}.",
            f"Set AWS_DEFAULT_REGION to {there}.",
            USAGE,
        )
    kept, wanted = _secrets(stage, account, terminal, orders)
    planned = [] if orders.leaves_table else _table_plan(account, name)
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
        steps += _make_table(account, name, terminal, sleep)
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


def _table_plan(account: Account, name: str) -> list[Step]:
    """Say what would be done to the table.

    Raises:
        Problem: It has what only a person can change, or is being deleted.
    """
    client = account.client("dynamodb")
    found = table_shape.describe(client, name)
    if found is None:
        return [Step(name, "planned", "create the table, with everything that it needs")]
    table_shape.refuse_going(name, found)
    if found["TableStatus"] == "CREATING":  # by a run that was cut off
        return [Step(name, "planned", "wait for the table, and look what it lacks")]
    lacking = _lacking(table_shape.properties(client, name, found), name)
    steps = [Step(name, "planned", f"{one.name}: now {one.state}") for one in lacking]
    return steps or [Step(name, "kept", "the table is as it must be")]


def _make_table(
    account: Account, name: str, terminal: Terminal, sleep: Callable[[float], None]
) -> list[Step]:
    client = account.client("dynamodb")
    steps = []
    if table_shape.describe(client, name) is None:
        terminal.progress(f"Creating the table {name} ...")
        table_shape.create(client, name)
        steps.append(Step(name, "done", "the table was created"))
    table_shape.wait(client, name, terminal.progress, sleep)
    for _ in range(2):  # the second time nothing is left
        found = table_shape.describe(client, name) or {}
        lacking = _lacking(table_shape.properties(client, name, found), name)
        if not lacking:
            return steps or [Step(name, "kept", "the table is as it must be")]
        for one in lacking:
            terminal.progress(f"Putting {name} right: {one.name}, now {one.state} ...")
            table_shape.mend(client, one, sleep)
            table_shape.wait(client, name, terminal.progress, sleep)
            steps.append(Step(name, "done", one.name))
    names = ", ".join(one.name for one in lacking)
    raise Problem(f"AWS took the orders, but of {name} this is still not right: {names}.")


def _lacking(found: list[Property], name: str) -> list[Property]:
    """Say what has to be mended.

    Raises:
        Problem: Something that only a person can mend.
    """
    lacking = [one for one in found if not one.is_right]
    hopeless = [one for one in lacking if one.mend is None]
    if hopeless:
        raise Problem(
            "; ".join(f"The {one.name} of {name} is {one.state}" for one in hopeless) + ".",
            " ".join(one.advice for one in hopeless),
        )
    return lacking


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
