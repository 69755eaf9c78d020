"""The settings, the region, the credentials, and the clock beside AWS's."""

import re
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ops import stage
from ops.account import REGION_ADVICE, explain
from ops.checks import web
from ops.checks.findings import Finding, Patient, State, judged
from ops.deployment import PARAMETERS
from ops.terminal import UNREACHABLE

MOST_SECONDS = 60  # AWS itself refuses a signature that is five minutes off


def settings(patient: Patient) -> Iterator[Finding]:
    """Hold the stage's settings against the broker's own rules."""
    name = "settings"
    wrong = stage.problems(patient.environment)
    mend = "Change it in .chalice/config.json (docs/configuration.md), and deploy again."
    if patient.deployment and patient.deployment.is_stack:
        mend = "Change it in .chalice/config.json or the stack's parameters, and deploy again."
    for problem in wrong:
        yield Finding(name, problem.partition(" ")[0], State.WRONG, problem, mend)
    if not wrong:
        yield Finding(name, "values", State.OK, "the broker takes them")
    origins = patient.environment.get("ALLOWED_ORIGINS", "")
    yield judged(
        name,
        "ALLOWED_ORIGINS",
        is_right=bool(origins.strip()),
        detail=origins or "it is empty, so no browser may call",
        advice=f"Set it to your pages' origins. {mend}",
    )
    yield from _names(patient)
    yield from _package_of_key_sets(patient)


def _names(patient: Patient) -> Iterator[Finding]:
    """Compare the table and secrets that a stack uses with those that `provision` makes."""
    if patient.deployment is None or not patient.deployment.is_stack:
        return
    for parameter, variable in PARAMETERS.items():
        used = patient.environment.get(variable, "")
        made = patient.stage.environment.get(variable, "")
        if variable != "ALLOWED_ORIGINS" and used != made:
            detail = f"the stack uses {used or 'none'}, and provision makes {made or 'none'}"
            advice = f"Set the stack's parameter {parameter}, or it in .chalice/config.json."
            yield Finding("settings", variable, State.WRONG, detail, advice)


def _package_of_key_sets(patient: Patient) -> Iterator[Finding]:
    """Look whether the package that an identity provider's keys need is deployed along."""
    if not patient.environment.get("JWT_JWKS_URL"):
        return
    folder = patient.stage.folder
    file = folder / "requirements.txt"
    text = file.read_text() if file.exists() else ""
    is_named = re.search(r"^cryptography\b", text, re.MULTILINE | re.IGNORECASE) is not None
    is_right = is_named or (folder / "vendor" / "cryptography").is_dir()
    yield judged(
        "settings",
        "JWT_JWKS_URL",
        is_right=is_right,
        detail="cryptography is in requirements.txt or vendor"
        if is_right
        else "cryptography, which verifies the tokens, is not in requirements.txt",
        advice="Run `cat requirements-key-sets.txt >> requirements.txt`, and deploy again.",
    )


def account(patient: Patient) -> Iterator[Finding]:
    """Ask AWS who is asking, and what time it is."""
    name, region = "account", patient.account.region
    yield judged(
        name, "region", is_right=bool(region), detail=region or "none is set", advice=REGION_ADVICE
    )
    if not region:
        return
    there = patient.deployment.region if patient.deployment else region
    if there != region:
        detail = f"the stage was deployed to {there}, and your shell is set to {region}"
        yield Finding(name, "region", State.WRONG, detail, f"Set AWS_DEFAULT_REGION to {there}.")
    sent = patient.now()
    try:
        answer: Any = patient.account.client("sts").get_caller_identity()
    except (ClientError, BotoCoreError) as error:
        answer = error.response if isinstance(error, ClientError) else {}
        problem = explain(error)
        state = State.UNKNOWN if problem.code == UNREACHABLE else State.WRONG
        yield Finding(name, "credentials", state, problem.message, problem.advice)
    else:
        yield Finding(name, "credentials", State.OK, answer["Arn"])
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    patient.aws_ahead = web.ahead(date, sent)
    if patient.aws_ahead is not None:
        yield judged(
            name,
            "clock",
            is_right=abs(patient.aws_ahead) <= MOST_SECONDS,
            detail=f"AWS's is {round(patient.aws_ahead):+d} s from this machine's",
            advice="Set this machine's clock: AWS refuses what was signed at a wrong time.",
        )
