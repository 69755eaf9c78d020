"""What a check finds, and what all checks work with."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ops.account import Account
from ops.deployment import Deployment
from ops.stage import Stage
from ops.terminal import Terminal


class State(StrEnum):
    """How a thing stands."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "unknown"  # it could not be checked, though it should be
    SKIPPED = "skipped"  # the operator, or the configuration, wants it so


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes:
        check: The part that it belongs to.
        subject: What was looked at.
        state: How it stands.
        detail: What was seen.
        advice: What to do about it, unless it is fine.
    """

    check: str
    subject: str
    state: State
    detail: str
    advice: str = ""


@dataclass
class Patient:
    """A stage, and what is already known of it.

    Attributes:
        stage: The stage as it is configured.
        account: AWS.
        terminal: Hears of progress and hides secrets.
        deployment: What was deployed; None where that is not known.
        url: Where the API is, where the operator says so.
        secrets: What the parameters hold, by the settings' names.
        aws_ahead: Seconds that AWS's clock is ahead of this machine's; None where that is unknown.
        now: Seconds since 1970.
        sleep: Waits for a number of seconds.
    """

    stage: Stage
    account: Account
    terminal: Terminal
    deployment: Deployment | None = None
    url: str | None = None
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    aws_ahead: float | None = None
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings: those of the deployment, as far as it is known."""
        return self.deployment.environment if self.deployment else self.stage.environment

    @property
    def api(self) -> str | None:
        """Where the API is."""
        return self.url or (self.deployment.url if self.deployment else None)

    @property
    def provision(self) -> str:
        """The command that creates and updates table and secrets."""
        return f"python -m ops provision --stage {self.stage.name}"

    @property
    def deploy(self) -> str:
        """The command that puts functions, roles and API right."""
        return (
            self.deployment.again
            if self.deployment
            else f"chalice deploy --stage {self.stage.name}"
        )


def judged(check: str, subject: str, *, is_right: bool, detail: str, advice: str) -> Finding:
    """Make a finding that is fine, or else comes with advice."""
    if is_right:
        return Finding(check, subject, State.OK, detail)
    return Finding(check, subject, State.WRONG, detail, advice)
