"""What a run of the probe has seen, and conclusions that follow from it and from nothing else."""

from dataclasses import dataclass, field
from typing import Any

from chalicelib.core.types import Json
from ops.probing.calls import Exchange

# Types for which one byte is presigned: a usual one, and two that are no media.
CONTENT_TYPES = ("video/mp4", "text/plain", "application/octet-stream")
_NOT_ABOUT_THE_REQUEST = {401, 402, 408, 429}


class Undecided(Exception):  # noqa: N818 - a result, not a defect
    """A run does not show the value of a behaviour.

    Args:
        reason: Why, as a sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Sent:
    """The fields that a registration sent.

    Attributes:
        url: The object's URL.
        name: The asset's name; None without one.
        project_id: The asset's project; None without one.
        file_name: The name of the uploaded file, if it matters.
    """

    url: str
    name: str | None
    project_id: str | None = None
    file_name: str = ""


@dataclass
class Evidence:
    """What a run has seen.

    Attributes:
        responses: The responses, by the step that sent the request.
        gaps: Why a step has no response, by the step.
        failed: The steps that another run may be able to take.
        sent: What the registrations sent, by their steps.
        assets: The appearances of an asset in responses, by the step that made it.
        expiries: The values of `expiresIn` of all presigns.
        list_lag: Seconds until the list showed a new asset.
        in_unfiltered_list: Whether the list without a project showed a project's asset.
        cors_refusal: Why a browser would not send a PUT; empty if it would; None if not asked.
        origin: The origin of the page that the preflight was for.
    """

    responses: dict[str, Exchange] = field(default_factory=dict)
    gaps: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    sent: dict[str, Sent] = field(default_factory=dict)
    assets: dict[str, list[Json]] = field(default_factory=dict)
    expiries: list[Any] = field(default_factory=list)
    list_lag: float | None = None
    in_unfiltered_list: bool | None = None
    cors_refusal: str | None = None
    origin: str = ""

    def response(self, step: str) -> Exchange:
        """Return the response of a step.

        Raises:
            Undecided: It has none, or one that is not about the request.
        """
        if step not in self.responses:
            raise Undecided(f"`{step}` {self.gaps.get(step, 'was not sent')}.")
        found = self.responses[step]
        if found.status in _NOT_ABOUT_THE_REQUEST or (found.body is None and found.status >= 300):  # noqa: PLR2004 - the end of success
            raise Undecided(f"`{step}` returned {found.status}, which is not about the request.")
        return found

    def refusal(self, step: str) -> Exchange:
        """Return the refusal of a step.

        Raises:
            Undecided: It was not refused.
        """
        found = self.response(step)
        if found.is_success:
            raise Undecided(f"`{step}` was not refused: it returned {found.status}.")
        return found

    def success(self, step: str) -> Json:
        """Return the body of a successful step.

        Raises:
            Undecided: It did not succeed.
        """
        found = self.response(step)
        if not found.is_success or found.body is None:
            raise Undecided(f"`{step}` returned {words(found)}.")
        return found.body

    def appearances(self, step: str) -> list[Json]:
        """Return how an asset appeared in the responses.

        Raises:
            Undecided: It was not made.
        """
        self.success(step)
        return self.assets.get(step, [])


def agreed(values: list[Any], problem: str) -> Any:
    """Return the one value that all observations have.

    Raises:
        Undecided: Nothing was seen, or several values were.
    """
    different = [one for number, one in enumerate(values) if one not in values[:number]]
    if len(different) != 1:
        listed = ", ".join(repr(one) for one in different)
        raise Undecided(f"{problem}: {listed}." if different else "Nothing was seen of it.")
    return different[0]


def words(found: Exchange) -> str:
    """Return the status of a response, and its code if it has one."""
    return f"{found.status}" + (f" `{found.code}`" if found.code else "")
