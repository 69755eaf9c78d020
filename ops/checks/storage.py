"""The table and the parameters."""

from collections.abc import Iterator

from ops import parameters
from ops import table as tables
from ops.checks.findings import Finding, Patient, State, judged
from ops.terminal import Problem


def table(patient: Patient) -> Iterator[Finding]:
    """Compare every property of the table with its template."""
    name, check = patient.environment.get("UPLOADS_TABLE", ""), "table"
    if not name:
        return
    client = patient.account.client("dynamodb")
    found = tables.describe(client, name)
    run = f"Run `{patient.provision}`."
    if found is None:
        yield Finding(check, name, State.WRONG, "there is no such table", run)
        return
    yield judged(
        check,
        "status",
        is_right=found["TableStatus"] in {"ACTIVE", "UPDATING"},
        detail=f"{name} is {found['TableStatus'].lower()}",
        advice="Wait for it.",
    )
    if found["TableStatus"] not in {"ACTIVE", "UPDATING"}:
        return
    for one in tables.compare(client, name, found):
        advice = run if one.can_be_turned_on else tables.unfit_advice(one)
        yield judged(check, one.name, is_right=one.is_right, detail=one.state, advice=advice)


def secrets(patient: Patient) -> Iterator[Finding]:
    """Look whether the secrets are there, encrypted, and such that the broker takes them."""
    check = "parameters"
    try:
        wanted = parameters.of(patient.environment)
    except Problem as problem:
        yield Finding(check, "secrets", State.WRONG, problem.message, problem.advice)
        return
    advices = {
        parameters.State.MISSING: f"Run `{patient.provision}`.",
        parameters.State.NOT_VALID: f"Run `{patient.provision}`, which asks for it again.",
        parameters.State.IN_THE_CLEAR: (
            f"Make a new secret, delete the parameter, and run `{patient.provision}`."
        ),
    }
    for one in wanted:
        found = parameters.read(patient.account.client("ssm"), one)
        patient.terminal.hide(found.value or "")
        if found.state is parameters.State.FINE:
            patient.secrets[one.variable] = found.value or ""
            yield Finding(check, one.name, State.OK, f"holds {one.title}")
        else:
            yield Finding(check, one.name, State.WRONG, found.reason, advices[found.state])
