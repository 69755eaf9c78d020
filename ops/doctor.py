"""Check everything that a stage needs, and advise how to fix it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from botocore.exceptions import BotoCoreError, ClientError

from ops import deployment, git, presence
from ops.account import code_of, explain
from ops.checks import api, functions, identity, package, storage, upstream
from ops.checks.findings import Finding, State, Target, make_finding
from ops.terminal import FINE, UNREACHABLE, WRONG, Problem

CheckFunction = Callable[[Target], Iterator[Finding]]
_MALFORMED = (OSError, ValueError, LookupError, AttributeError, TypeError)
_CHECK_NAMED = "Check what the message names: a file in .chalice or a resource at AWS."


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: The name of its findings.
        run: Makes the check.
        needs_aws: Whether it needs credentials.
        needs_deployment: Whether it needs a deployed stage.
    """

    name: str
    run: CheckFunction
    needs_aws: bool = True
    needs_deployment: bool = False


CHECKS = (
    Check("settings", identity.settings, needs_aws=False),
    Check("package", package.contents, needs_aws=False),
    Check("table", storage.table),
    Check("parameters", storage.secrets),
    Check("functions", functions.configuration, needs_deployment=True),
    Check("schedule", functions.schedule, needs_deployment=True),
    Check("policy", functions.policy, needs_deployment=True),
    Check("api", api.responses, needs_aws=False),
    Check("Sync", upstream.key),
    Check("storage", upstream.storage),
)


def run(
    target: Target, stack: str | None, *, may_presign: bool, more: Sequence[Check] = ()
) -> list[Finding]:
    """Run all checks, and return their findings.

    Args:
        target: The stage. This function sets its deployment.
        stack: The CloudFormation stack; None for `chalice deploy`.
        may_presign: Whether a check may make a presign.
        more: Checks to make after the others.
    """
    found = _findings(target, "deployment", lambda one: _deployment(one, stack))
    account = _findings(target, "account", identity.account)
    has_aws = any(one.subject == "credentials" and one.state is State.OK for one in account)
    reason = "AWS does not know you"
    if wrong := [one.subject for one in account if one.state is State.WRONG]:
        # In another region or account everything is missing, and advice to create it would harm.
        has_aws = has_aws and not {"region", "credentials"} & set(wrong)
        reason = "the region or the account is wrong"
    found = account + found
    for one in (*CHECKS, *more):
        if one.run is upstream.storage and not may_presign:
            found.append(Finding("storage", "preflight", State.SKIPPED, "by --no-presign"))
        elif one.needs_aws and not has_aws:
            found.append(_not_checked(one, reason, "Fix the account first."))
        elif one.needs_deployment and target.deployment is None:
            found.append(_not_checked(one, "it is not deployed", "Deploy the stage first."))
        elif one.run is api.responses and not target.api_url:
            found.append(_not_checked(one, "its URL is unknown", "Add --url URL."))
        else:
            found += _findings(target, one.name, one.run)
    return found


def _not_checked(one: Check, reason: str, advice: str) -> Finding:
    return Finding(one.name, "all", State.UNKNOWN, f"not checked: {reason}", advice)


def _deployment(target: Target, stack: str | None) -> Iterator[Finding]:
    stage, account, kind = target.stage, target.account, "chalice deploy"
    # After `chalice delete` the record exists, and is empty.
    has_record = bool(stack or presence.recorded_resources(stage))
    if stack is not None:
        kind = f"the stack {stack}"
        target.deployment = deployment.from_stack(stage, account, stack)
    elif has_record:
        target.deployment = deployment.from_record(stage)
        yield from _record_is_committed(target)
    else:
        yield from _without_record(target)
        return
    yield Finding("deployment", kind, State.OK, target.deployment.url)
    if stack is not None:
        yield status_finding(target.deployment.status, stack)


def _without_record(target: Target) -> Iterator[Finding]:
    """Find a stage that was deployed elsewhere, so that nobody deploys it a second time."""
    stage, account = target.stage, target.account
    here = deployment.from_names(stage, account.region, target.url or "")
    terraform = "add --url URL" if target.url is None else "this is right"
    try:
        presence.refuse_unrecorded(stage, account, terraform)
    except Problem as problem:
        target.deployment = here
        state = State.WRONG if target.url is None else State.WARNING
        yield Finding("deployment", "record", state, problem.message, problem.advice)
    else:
        yield from _unseen(target, here)
    if target.deployment is here and target.url is not None:
        yield Finding("deployment", "from another folder", State.OK, target.url)


def _unseen(target: Target, here: deployment.Deployment) -> Iterator[Finding]:
    """Find out where the stage is, of which no API is known here."""
    stage, account = target.stage, target.account
    role = presence.leftover_role(stage, account)
    if role is None and target.url is None:
        raise presence.not_deployed(stage)
    if role is None:
        target.deployment = here
    elif role.region in {None, account.region}:
        detail = f"nothing of the stage is in {account.region}, but its role {role.name} exists"
        advice = (
            "If the stage is deployed in another region, set AWS_DEFAULT_REGION to that. If a"
            f" deployment was interrupted, deploy again: `{stage.deploy_command}`."
        )
        yield Finding("deployment", "record", State.WRONG, detail, advice)
    else:
        # The check of the account compares the regions.
        target.deployment = replace(here, region=role.region or "")
        detail = f"nothing of the stage is in {account.region}; its role was used in {role.region}"
        advice = f"Set AWS_DEFAULT_REGION to {role.region}. Do not deploy to another region."
        yield Finding("deployment", "record", State.WRONG, detail, advice)


def _record_is_committed(target: Target) -> Iterator[Finding]:
    """Warn if other clones do not get the record. Without git, `package` reports that."""
    stage = target.stage
    try:
        is_committed = git.is_committed(stage.folder, presence.record_name(stage))
    except Problem:
        return
    if not is_committed:
        detail = f"{presence.record_name(stage)} is not committed as it is now"
        advice = (
            "Run `git add .chalice/deployed && git commit`. In a clone without it, `chalice deploy`"
            " would create a second API."
        )
        yield Finding("deployment", "record", State.WARNING, detail, advice)


def status_finding(status: str, stack: str) -> Finding:
    """Return a finding about CloudFormation's status of a stack."""
    if status.endswith("_IN_PROGRESS"):
        advice = "Wait until the change has ended, and run the doctor again."
        return Finding("deployment", "status", State.UNKNOWN, status, advice)
    return make_finding(
        "deployment",
        "status",
        is_right=status.endswith("_COMPLETE"),
        detail=status,
        advice=f"Run `aws cloudformation describe-stack-events --stack-name {stack}` to see why.",
    )


def _findings(target: Target, name: str, check: CheckFunction) -> list[Finding]:
    """Run a check, and return its findings; an error of the check is a finding too."""
    target.terminal.progress(f"Checking: {name} ...")
    found: list[Finding] = []
    try:
        found.extend(check(target))
    except (ClientError, BotoCoreError) as error:
        problem = explain(error)
        if isinstance(error, ClientError) and code_of(error) == "ResourceNotFoundException":
            problem = Problem(
                problem.message, f"Deploy again: {target.deploy_command}.", problem.code
            )
        found.append(_stopped(name, problem))
    except Problem as problem:
        found.append(_stopped(name, problem))
    except _MALFORMED as error:  # a file or a response has an unexpected form
        found.append(_stopped(name, Problem(f"{type(error).__name__}: {error}")))
    return found


def _stopped(name: str, problem: Problem) -> Finding:
    state = State.UNKNOWN if problem.code == UNREACHABLE else State.WRONG
    return Finding(name, "check", state, problem.message, problem.advice or _CHECK_NAMED)


def exit_code(found: Sequence[Finding]) -> int:
    """Return the exit code: a wrong finding takes precedence over an unknown one."""
    states = {one.state for one in found}
    if State.WRONG in states:
        return WRONG
    return UNREACHABLE if State.UNKNOWN in states else FINE


def to_lines(found: Sequence[Finding]) -> list[str]:
    """Return the findings as lines of text, under the names of the checks."""
    lines: list[str] = []
    part = ""
    for one in found:
        if one.check != part:
            part = one.check
            lines.append(part)
        word = one.state if one.state in {State.OK, State.SKIPPED} else one.state.upper()
        lines.append(f"  {word:8}{one.subject}: {one.detail}")
        if one.advice and one.state is not State.OK:
            lines.append(f"          -> {one.advice}")
    counted = {state: sum(one.state is state for one in found) for state in State}
    lines.append("")
    lines.append(", ".join(f"{count} {state}" for state, count in counted.items() if count))
    return lines


def to_document(target: Target, found: Sequence[Finding]) -> dict[str, object]:
    """Return the findings as a JSON document."""
    return {
        "command": "doctor",
        "stage": target.stage.name,
        "exitCode": exit_code(found),
        "findings": [asdict(one) for one in found],
    }
