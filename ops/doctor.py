"""Checks everything that a stage needs, and says what to do about each thing that is wrong."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from botocore.exceptions import BotoCoreError, ClientError

from ops import deployment
from ops.account import code_of, explain
from ops.checks import api, functions, identity, storage, upstream
from ops.checks.findings import Finding, Patient, State, judged
from ops.terminal import FINE, UNREACHABLE, WRONG, Problem

Check = Callable[[Patient], Iterator[Finding]]
_BROKEN = (OSError, ValueError, LookupError, AttributeError, TypeError)
_LOOK = "Look at what it names: a file of .chalice is missing or broken, or something at AWS."


@dataclass(frozen=True)
class Round:
    """One check.

    Attributes:
        name: What its findings are called.
        run: What it does.
        needs_aws: Whether it makes no sense without credentials.
        needs_deployment: Whether it makes no sense before the stage is deployed.
    """

    name: str
    run: Check
    needs_aws: bool = True
    needs_deployment: bool = False


ROUNDS = (
    Round("settings", identity.settings, needs_aws=False),
    Round("table", storage.table),
    Round("parameters", storage.secrets),
    Round("functions", functions.configuration, needs_deployment=True),
    Round("schedule", functions.schedule, needs_deployment=True),
    Round("policy", functions.policy, needs_deployment=True),
    Round("api", api.answers, needs_aws=False),
    Round("sync.", upstream.key),
    Round("storage", upstream.storage),
)


def run(patient: Patient, stack: str | None, *, may_presign: bool) -> list[Finding]:
    """Run all checks.

    Args:
        patient: The stage; what it was deployed as is filled in here.
        stack: The CloudFormation stack; None for `chalice deploy`.
        may_presign: Whether the one presign may be made.
    """
    found = _one(patient, "deployment", lambda one: _deployment(one, stack))
    account = _one(patient, "account", identity.account)
    has_aws = any(one.subject == "credentials" and one.state is State.OK for one in account)
    reason = "AWS does not know you"
    if any(one.subject == "region" and one.state is State.WRONG for one in account):
        # Elsewhere everything is missing, and advice to make it would lead to a second stage.
        has_aws, reason = False, "the region is wrong"
    found = account + found
    for one in ROUNDS:
        if one.run is upstream.storage and not may_presign:
            found.append(Finding("storage", "preflight", State.SKIPPED, "by --no-presign"))
        elif one.needs_aws and not has_aws:
            found.append(_later(one, reason, "Put the account right first."))
        elif one.needs_deployment and patient.deployment is None:
            found.append(_later(one, "it is not deployed", "Deploy the stage first."))
        elif one.run is api.answers and patient.api is None:
            found.append(_later(one, "nobody knows where it is", "Deploy first, or say --url."))
        else:
            found += _one(patient, one.name, one.run)
    return found


def _later(one: Round, reason: str, advice: str) -> Finding:
    return Finding(one.name, "all", State.UNKNOWN, f"not checked: {reason}", advice)


def _deployment(patient: Patient, stack: str | None) -> Iterator[Finding]:
    stage, account, kind = patient.stage, patient.account, "chalice deploy"
    if stack is not None:
        kind = f"the stack {stack}"
        patient.deployment = deployment.stack(stage, account, stack)
    elif patient.url is not None and not stage.record.exists():
        kind = "from elsewhere"
        patient.deployment = deployment.elsewhere(stage, account.region, patient.url)
    else:
        patient.deployment = deployment.plain(stage)
    yield Finding("deployment", kind, State.OK, patient.deployment.url)
    if stack is not None:
        yield judge_status(patient.deployment.status, stack)


def judge_status(status: str, stack: str) -> Finding:
    """Judge how a stack's last change ended, in CloudFormation's word."""
    if status.endswith("_IN_PROGRESS"):
        advice = "Wait until it has ended, and look again."
        return Finding("deployment", "status", State.UNKNOWN, status, advice)
    return judged(
        "deployment",
        "status",
        is_right=status.endswith("_COMPLETE"),
        detail=status,
        advice=f"`aws cloudformation describe-stack-events --stack-name {stack}` says why.",
    )


def _one(patient: Patient, name: str, check: Check) -> list[Finding]:
    """Run a check; what stops it is a finding too."""
    patient.terminal.progress(f"Checking: {name} ...")
    found: list[Finding] = []
    try:
        found.extend(check(patient))
    except (ClientError, BotoCoreError) as error:
        problem = explain(error)
        if isinstance(error, ClientError) and code_of(error) == "ResourceNotFoundException":
            problem = Problem(problem.message, f"Deploy again: {patient.deploy}.", problem.code)
        found.append(_stopped(name, problem))
    except Problem as problem:
        found.append(_stopped(name, problem))
    except _BROKEN as error:  # a file or an answer of another form than it must have
        found.append(_stopped(name, Problem(f"{type(error).__name__}: {error}")))
    return found


def _stopped(name: str, problem: Problem) -> Finding:
    state = State.UNKNOWN if problem.code == UNREACHABLE else State.WRONG
    return Finding(name, "check", state, problem.message, problem.advice or _LOOK)


def exit_code(found: Sequence[Finding]) -> int:
    """Say how the command ends: what is wrong outweighs what is not known."""
    states = {one.state for one in found}
    if State.WRONG in states:
        return WRONG
    return UNREACHABLE if State.UNKNOWN in states else FINE


def told(found: Sequence[Finding]) -> list[str]:
    """Write the findings in words, each part under its name."""
    lines: list[str] = []
    part = ""
    for one in found:
        if one.check != part:
            part = one.check
            lines.append(part)
        word = one.state.upper() if one.state in {State.WRONG, State.UNKNOWN} else one.state
        lines.append(f"  {word:8}{one.subject}: {one.detail}")
        if one.advice and one.state is not State.OK:
            lines.append(f"          -> {one.advice}")
    counted = {state: sum(one.state is state for one in found) for state in State}
    lines.append("")
    lines.append(", ".join(f"{count} {state}" for state, count in counted.items() if count))
    return lines


def document(patient: Patient, found: Sequence[Finding]) -> dict[str, object]:
    """Write the findings for machines."""
    return {
        "command": "doctor",
        "stage": patient.stage.name,
        "exitCode": exit_code(found),
        "findings": [asdict(one) for one in found],
    }
