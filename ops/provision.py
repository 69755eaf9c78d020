"""Create or update what a stage needs before it is deployed: secrets, table and bytecode.

The command is idempotent: after an interruption, run it again.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops import bytecode, origins, package, parameters, policy_file, presence, table
from ops import stage as stages
from ops.account import Account
from ops.deployment import OTHER_ACCOUNT_ADVICE
from ops.parameters import Parameter, State
from ops.secret_input import Secrets
from ops.stage import Stage
from ops.table_stack import Need, TableStack
from ops.terminal import USAGE, Problem, Terminal

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BYTECODE = "bytecode"
Ask = Callable[[list[Parameter]], Secrets]


@dataclass(frozen=True)
class Step:
    """A step that a command took, or would take.

    Attributes:
        subject: The table or parameter.
        outcome: `kept`, `done` or `planned`.
        detail: The change, or the reason why nothing changes.
    """

    subject: str
    outcome: str
    detail: str


@dataclass(frozen=True)
class Options:
    """The operator's options.

    Attributes:
        is_dry: Whether the command only reports what it would change.
        replaces_secrets: Whether the command asks for stored secrets again.
        leaves_table: Whether the command does not change the table.
        is_deployed_elsewhere: Whether the stage may be deployed without a record in this folder.
    """

    is_dry: bool = False
    replaces_secrets: bool = False
    leaves_table: bool = False
    is_deployed_elsewhere: bool = False


def run(  # noqa: PLR0913, PLR0917 - tests pass the last two
    stage: Stage,
    account: Account,
    terminal: Terminal,
    options: Options,
    ask: Ask,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Step]:
    """Provision a stage.

    Args:
        stage: The stage.
        account: The AWS account.
        terminal: Shows progress.
        options: The operator's options.
        ask: Returns the secrets of parameters.
        sleep: Waits for a number of seconds.

    Raises:
        Problem: The operator has to fix something first, and nothing was changed; or a step failed.
    """
    terminal.progress(f"Checking the stage {stage.name} in {account.region or 'no region'} ...")
    _check(stage, account, terminal, options)
    name = stage.table
    kept, wanted = _secrets(stage, account, terminal, options)
    planned = [] if options.leaves_table else _plan_table(account, name, terminal)
    if options.is_dry:
        return [
            *(Step(one.name, "kept", one.title) for one in kept),
            *(Step(one.name, "planned", f"ask for {one.title}, and store it") for one in wanted),
            *planned,
            *([] if options.leaves_table else _plan_bytecode(stage)),
        ]
    secrets = ask(wanted) if wanted else {}
    # The secrets come first, because the table may take long or fail, and nobody types them twice.
    steps = [Step(one.name, "kept", one.title) for one in kept]
    steps += _store(account, terminal, wanted, secrets, replace=options.replaces_secrets)
    if not options.leaves_table:
        steps += _deploy_table(account, name, terminal, sleep)
        steps.append(compile_bytecode(stage.folder, terminal))
    return steps


def _check(stage: Stage, account: Account, terminal: Terminal, options: Options) -> None:
    """Check what the next deployment depends on, before anything is changed.

    Raises:
        Problem: The operator has to fix something first.
    """
    if not stage.environment.get("ALLOWED_ORIGINS", "").strip():
        terminal.progress(
            "ALLOWED_ORIGINS is empty in .chalice/config.json. The broker refuses every browser"
            " unless a stack's parameter sets it."
        )
    _refuse_wrong_settings(stage)
    if lacks := policy_file.lacks(stage):
        terminal.progress(
            f"{stage.policy_file} does not name {', '.join(lacks)}. `chalice deploy` would give the"
            " functions no access to them."
        )
    deployed_to = presence.recorded_region(stage)
    if deployed_to not in {None, account.region}:
        raise Problem(
            f"The stage was deployed to {deployed_to}, but your shell is set to"
            f" {account.region or 'none'}.",
            f"Set AWS_DEFAULT_REGION to {deployed_to}.",
            USAGE,
        )
    if recorded := presence.recorded_account(stage):
        used = account.client("sts").get_caller_identity()["Account"]
        if used != recorded:
            message = f"The stage was deployed to the account {recorded}, but this is {used}."
            raise Problem(message, OTHER_ACCOUNT_ADVICE, USAGE)
    if options.leaves_table:  # a rotation of secrets, which no deployment follows
        return
    if not options.is_deployed_elsewhere:
        presence.refuse_unrecorded(stage, account, "add --deployed-elsewhere")
        if role := presence.leftover_role(stage, account):
            _check_role(role, account, terminal)
    _refuse_wrong_package(stage)


def _check_role(role: presence.Role, account: Account, terminal: Terminal) -> None:
    """Refuse another region than that in which a role without functions was last used.

    Raises:
        Problem: The stage may be deployed there, and both regions would share the role.
    """
    if role.region in {None, account.region}:
        terminal.progress(
            f"The role {role.name} exists, but no function in {account.region}. Continue only if a"
            " deployment was interrupted. If the stage is deployed in another region, set"
            " AWS_DEFAULT_REGION to that."
        )
        return
    raise Problem(
        f"The role {role.name} was last used in {role.region}, and nothing of the stage is in"
        f" {account.region}.",
        f"Set AWS_DEFAULT_REGION to {role.region}. If the stage was removed there, delete its"
        " roles, or use --deployed-elsewhere.",
        USAGE,
    )


def _refuse_wrong_settings(stage: Stage) -> None:
    """Refuse settings with which the deployed broker would refuse every request.

    Raises:
        Problem: A setting is not valid.
    """
    parameters.of(stage.environment)  # refuses a secret, in words of its own
    sweep = {**stage.environment, **stage.sweep_only}
    if found := stages.misspelled(sweep):
        wrong = " and ".join(f"{meant} in place of {name}" for name, meant in found.items())
        names = ", ".join(found)
        advice = f"Write {wrong} in .chalice/config.json."
        raise Problem(f"The broker does not know {names}.", advice, USAGE)
    problems = stages.problems(stage.environment, sweep)
    if problems:
        advice = "Change .chalice/config.json (docs/configuration.md)."
        how = origins.advice(stage.environment.get("ALLOWED_ORIGINS", ""))
        advice = f"{how} {advice}" if how else advice
        raise Problem(f"{'; '.join(problems)}.", advice, USAGE)


def _refuse_wrong_package(stage: Stage) -> None:
    """Refuse what would be deployed, and would not work.

    Raises:
        Problem: A package is missing, or not installed as it would be deployed.
    """
    if package.lacks_key_sets(stage.folder, stage.environment):
        raise Problem(f"{package.KEY_SETS_PROBLEM}.", package.KEY_SETS_ADVICE, USAGE)
    archive = package.next_archive(stage)
    missing = package.missing_packages(stage.folder, archive) if archive else []
    if missing:
        raise Problem(
            f"{archive}, which Chalice would use again, lacks {', '.join(missing)}.",
            "Delete it, deploy, and read what Chalice prints about missing wheels.",
        )
    package.modules(stage.folder)


def _plan_bytecode(stage: Stage) -> list[Step]:
    found = bytecode.outdated(stage.folder)
    if not found.names:
        return [Step(_BYTECODE, "kept", f"current, for {found.of} modules")]
    return [Step(_BYTECODE, "planned", f"compile {len(found.names)} of {found.of} modules")]


def compile_bytecode(folder: Path, terminal: Terminal) -> Step:
    """Compile what is deployed.

    Raises:
        Problem: A module does not compile, or a package is not installed as it would be shipped.
    """
    terminal.progress("Compiling what is deployed ...")
    changed = bytecode.compile_project(folder)
    if not changed:
        return Step(_BYTECODE, "kept", "current")
    return Step(_BYTECODE, "done", f"{changed} files in chalicelib and vendor")


def _secrets(
    stage: Stage, account: Account, terminal: Terminal, options: Options
) -> tuple[list[Parameter], list[Parameter]]:
    """Return the parameters to keep, and those whose secrets are needed."""
    ssm = account.client("ssm")
    kept: list[Parameter] = []
    wanted: list[Parameter] = []
    for one in parameters.of(stage.environment):
        found = parameters.read(ssm, one)
        terminal.hide(found.value or "")
        if found.state is State.NOT_ENCRYPTED:
            raise Problem(
                f"{one.name} is not encrypted: {found.reason}.",
                f"Make a new secret, since others may have read this one. Delete the parameter"
                f" (`aws ssm delete-parameter --name {one.name}`), and run this again.",
            )
        is_kept = found.state is State.VALID and not options.replaces_secrets
        (kept if is_kept else wanted).append(one)
        if found.state is State.NOT_VALID:
            terminal.progress(f"{one.name} is not valid: {found.reason}.")
    return kept, wanted


def _store(
    account: Account,
    terminal: Terminal,
    wanted: list[Parameter],
    secrets: Secrets,
    *,
    replace: bool,
) -> list[Step]:
    ssm = account.client("ssm")
    steps = []
    for one in wanted:
        value = secrets.get(one.variable)
        if value is None:
            steps.append(Step(one.name, "kept", one.title))
            continue
        terminal.hide(value)
        terminal.progress(f"Storing {one.name} ...")
        exists = parameters.read(ssm, one).state is not State.MISSING
        parameters.put(ssm, one, value, replace=exists)
        steps.append(Step(one.name, "done", f"{one.title}, {'replaced' if replace else 'stored'}"))
    return steps


def _plan_table(account: Account, name: str, terminal: Terminal) -> list[Step]:
    """Return the steps that the table needs.

    Raises:
        Problem: The operator has to change the table, or it is being deleted.
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

    CloudFormation compares templates. It does not notice that somebody turned protection off, or
    that AWS left it off in a restored table.
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
    for one in _compare(client, name):
        if one.can_be_turned_on:
            terminal.progress(f"Table {name}: turn on {one.name} ...")
            table.turn_on(client, name, one.name)
            done.append(f"{one.name} was turned on")
    table.refuse_unfit(name, _compare(client, name))
    return [Step(name, "done", one) for one in done] or [Step(name, "kept", Need.NOTHING.value)]


def _compare(client: "DynamoDBClient", name: str) -> list[table.Property]:
    table.wait(client, name)
    return table.compare(client, name, table.describe(client, name) or {})


def _refuse_deletion(name: str, found: dict[str, object] | None) -> None:
    """Refuse a table that is being deleted, since its name is still taken."""
    if found is not None and table.is_being_deleted(found):
        raise Problem(f"The table {name} is being deleted.", "Run this again in a few minutes.")


def to_lines(steps: list[Step]) -> list[str]:
    """Return the steps as lines of text."""
    width = max((len(one.subject) for one in steps), default=0)
    return [f"{one.outcome:8}{one.subject:{width}}  {one.detail}" for one in steps]


def to_document(
    command: str, stage: Stage, steps: list[Step], *, is_dry: bool
) -> dict[str, object]:
    """Return the steps as a JSON document."""
    return {
        "command": command,
        "stage": stage.name,
        "dryRun": is_dry,
        "steps": [asdict(one) for one in steps],
    }
