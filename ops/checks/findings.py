"""The findings of the checks, and the stage that they check."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ops.account import Account
from ops.deployment import Deployment
from ops.stage import Stage
from ops.terminal import Terminal


class State(StrEnum):
    """The result of one check."""

    OK = "ok"
    WRONG = "wrong"
    WARNING = "warning"  # it works, but not for ever or not at its best
    UNKNOWN = "unknown"  # the check failed, or could not be made
    SKIPPED = "skipped"  # as the operator or the configuration demands


@dataclass(frozen=True)
class Finding:
    """The result of a check of one subject.

    Attributes:
        check: The part of the stage.
        subject: The thing that was checked.
        state: The result.
        detail: The observed value, or what is wrong.
        advice: How to fix it; empty if nothing is wrong.
    """

    check: str
    subject: str
    state: State
    detail: str
    advice: str = ""


@dataclass
class Target:
    """The stage to check, with what earlier checks have found.

    Attributes:
        stage: The stage as it is configured.
        account: The AWS account.
        terminal: Shows progress and masks secrets.
        deployment: The deployment; None if it is unknown.
        url: The API's URL, if the operator gave one.
        secrets: The values of the parameters, by the names of the settings.
        observed: What the checks saw of Sync, by the sandbox's names of its behaviours.
        aws_ahead: How many seconds AWS's clock is ahead of this machine's; None if unknown.
        now: Returns the seconds since 1970.
        sleep: Waits for a number of seconds.
    """

    stage: Stage
    account: Account
    terminal: Terminal
    deployment: Deployment | None = None
    url: str | None = None
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    observed: dict[str, Any] = field(default_factory=dict)
    aws_ahead: float | None = None
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings of the deployment, or those of the stage if the deployment is unknown."""
        return self.deployment.environment if self.deployment else self.stage.environment

    @property
    def api_url(self) -> str | None:
        """The API's URL; None or empty if it is unknown."""
        return self.url or (self.deployment.url if self.deployment else None)

    @property
    def provision_command(self) -> str:
        """The command that creates and updates the table and the secrets."""
        return f"python -m ops provision --stage {self.stage.name}"

    @property
    def deploy_command(self) -> str:
        """The command that deploys the functions, the roles and the API."""
        return (self.deployment or self.stage).deploy_command


def make_finding(check: str, subject: str, *, is_right: bool, detail: str, advice: str) -> Finding:
    """Return a finding: OK, or wrong with advice."""
    if is_right:
        return Finding(check, subject, State.OK, detail)
    return Finding(check, subject, State.WRONG, detail, advice)
