"""Checks of the settings, the region, the credentials, and this machine's clock."""

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ops import deployment, origins, package, stage
from ops.account import REGION_ADVICE, explain
from ops.checks import web
from ops.checks.findings import Finding, State, Target, make_finding
from ops.terminal import UNREACHABLE

_ORIGINS = "ALLOWED_ORIGINS"
MAX_SKEW_SECONDS = 60  # AWS refuses a signature whose time is five minutes off


def settings(target: Target) -> Iterator[Finding]:
    """Check the stage's settings with the broker's own rules."""
    name = "settings"
    sweep = {**target.environment, **target.stage.sweep_only}
    problems = stage.problems(target.environment, sweep)
    advice = "Change it in .chalice/config.json (docs/configuration.md), and deploy again."
    if target.deployment and target.deployment.is_stack:
        advice = "Change it in .chalice/config.json or the stack's parameters, and deploy again."
    for problem in problems:
        subject = problem.partition(" ")[0]
        how = origins.advice(target.environment.get(_ORIGINS, "")) if subject == _ORIGINS else ""
        yield Finding(name, subject, State.WRONG, problem, f"{how} {advice}".strip())
    if not problems:
        yield Finding(name, "values", State.OK, "the broker accepts them")
    if not any(problem.startswith(_ORIGINS) for problem in problems):
        given = target.environment.get(_ORIGINS, "")
        yield make_finding(
            name,
            _ORIGINS,
            is_right=bool(given.strip()),
            detail=given or "it is empty, so the broker refuses every browser",
            advice=f"Set it to your pages' origins. {advice}",
        )
    for unknown, meant in stage.misspelled(sweep).items():
        detail = "the broker does not know it, and ignores it"
        yield Finding(name, unknown, State.WRONG, detail, f"Write {meant}. {advice}")
    yield from _names(target)
    yield from _key_set_package(target)


def _names(target: Target) -> Iterator[Finding]:
    """Compare the table and secrets that a stack uses with those that `provision` creates."""
    if target.deployment is None or not target.deployment.is_stack:
        return
    for parameter, variable in deployment.PARAMETERS.items():
        used = target.environment.get(variable, "")
        created = target.stage.environment.get(variable, "")
        if variable != "ALLOWED_ORIGINS" and used != created:
            detail = f"the stack uses {used or 'none'}, but provision creates {created or 'none'}"
            advice = (
                f"Set the stack's parameter {parameter}, or {variable} in .chalice/config.json."
            )
            yield Finding("settings", variable, State.WRONG, detail, advice)


def _key_set_package(target: Target) -> Iterator[Finding]:
    """Check that the deployment includes the package that verifies an identity provider's keys."""
    if not target.environment.get("JWT_JWKS_URL"):
        return
    is_right = not package.lacks_key_sets(target.stage.folder, target.environment)
    yield make_finding(
        "settings",
        "JWT_JWKS_URL",
        is_right=is_right,
        detail="cryptography is in requirements.txt or vendor"
        if is_right
        else package.KEY_SETS_PROBLEM,
        advice=f"{package.KEY_SETS_ADVICE} Then deploy again.",
    )


def _credentials(target: Target, identity: Mapping[str, str]) -> Finding:
    """Compare the account with that of the deployment, if that is known."""
    name, recorded = "credentials", target.deployment.account if target.deployment else None
    is_right = recorded in {None, identity["Account"]}
    detail = identity["Arn"]
    if not is_right:
        detail = f"{detail}, but the stage was deployed to the account {recorded}"
    return make_finding(
        "account", name, is_right=is_right, detail=detail, advice=deployment.OTHER_ACCOUNT_ADVICE
    )


def account(target: Target) -> Iterator[Finding]:
    """Check the region, the credentials, and this machine's clock against AWS's."""
    name, region = "account", target.account.region
    yield make_finding(
        name, "region", is_right=bool(region), detail=region or "none is set", advice=REGION_ADVICE
    )
    if not region:
        return
    deployed_to = target.deployment.region if target.deployment else region
    if deployed_to != region:
        detail = f"the stage was deployed to {deployed_to}, but your shell is set to {region}"
        advice = f"Set AWS_DEFAULT_REGION to {deployed_to}."
        yield Finding(name, "region", State.WRONG, detail, advice)
    sent = target.now()
    try:
        response: Any = target.account.client("sts").get_caller_identity()
    except (ClientError, BotoCoreError) as error:
        response = error.response if isinstance(error, ClientError) else {}
        problem = explain(error)
        state = State.UNKNOWN if problem.code == UNREACHABLE else State.WRONG
        yield Finding(name, "credentials", state, problem.message, problem.advice)
    else:
        yield _credentials(target, response)
    date = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    target.aws_ahead = web.seconds_ahead(date, sent)
    if target.aws_ahead is not None:
        yield make_finding(
            name,
            "clock",
            is_right=abs(target.aws_ahead) <= MAX_SKEW_SECONDS,
            detail=f"AWS's clock differs from this machine's by {round(target.aws_ahead):+d} s",
            advice="Set this machine's clock: AWS refuses requests with a wrong time.",
        )
