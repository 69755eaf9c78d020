"""Checks of the table and the parameters."""

from collections.abc import Iterator

from ops import parameters
from ops import table as tables
from ops.checks.findings import Finding, State, Target, make_finding
from ops.terminal import Problem


def table(target: Target) -> Iterator[Finding]:
    """Compare each property of the table with the template."""
    name, check = target.environment.get("UPLOADS_TABLE", ""), "table"
    if not name:
        return
    client = target.account.client("dynamodb")
    found = tables.describe(client, name)
    run = f"Run `{target.provision_command}`."
    if found is None:
        yield Finding(check, name, State.WRONG, "there is no such table", run)
        return
    yield make_finding(
        check,
        "status",
        is_right=found["TableStatus"] in {"ACTIVE", "UPDATING"},
        detail=f"{name} is {found['TableStatus'].lower()}",
        advice="Wait until it is active.",
    )
    if found["TableStatus"] not in {"ACTIVE", "UPDATING"}:
        return
    for one in tables.compare(client, name, found):
        advice = run if one.can_be_turned_on else tables.unfit_advice(one)
        yield make_finding(check, one.name, is_right=one.is_right, detail=one.state, advice=advice)


def secrets(target: Target) -> Iterator[Finding]:
    """Check that the secrets exist, are encrypted, and are valid for the broker."""
    check = "parameters"
    try:
        wanted = parameters.of(target.environment)
    except Problem as problem:
        yield Finding(check, "secrets", State.WRONG, problem.message, problem.advice)
        return
    advices = {
        parameters.State.MISSING: f"Run `{target.provision_command}`.",
        parameters.State.NOT_VALID: f"Run `{target.provision_command}`, which asks for a new one.",
        parameters.State.NOT_ENCRYPTED: (
            f"Make a new secret, delete the parameter, and run `{target.provision_command}`."
        ),
    }
    for one in wanted:
        found = parameters.read(target.account.client("ssm"), one)
        target.terminal.hide(found.value or "")
        if found.state is parameters.State.VALID:
            target.secrets[one.variable] = found.value or ""
            yield Finding(check, one.name, State.OK, f"holds {one.title}")
        else:
            yield Finding(check, one.name, State.WRONG, found.reason, advices[found.state])
