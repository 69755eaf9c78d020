"""A run of the probe: it deletes what earlier runs left, takes the steps, and deletes its own."""

from dataclasses import dataclass

from chalicelib.core.clock import Clock
from ops.probing.calls import Caller, NotDone
from ops.probing.cleanup import Cleaned, Cleaner
from ops.probing.evidence import Evidence
from ops.probing.journal import Journal
from ops.probing.steps import Options, Run
from ops.terminal import UNREACHABLE, Problem, Terminal

CLEANUP_SECONDS = 25.0  # of them, for the deletion of what was made
_REFUSED_KEY = {401, 402, 403}


@dataclass(frozen=True)
class Outcome:
    """What a run has done.

    Attributes:
        evidence: What it has seen.
        recovered: The deletion of what earlier runs left.
        cleaned: The deletion of what this run made.
        presigns: How many presigns were requested.
    """

    evidence: Evidence
    recovered: Cleaned
    cleaned: Cleaned
    presigns: int

    @property
    def left(self) -> dict[str, str]:
        """Why an asset could not be deleted, by its id."""
        found = self.recovered.left | self.cleaned.left
        return {name: why for name, why in found.items() if name not in self.cleaned.deleted}


def probe(
    caller: Caller, journal: Journal, clock: Clock, options: Options, terminal: Terminal
) -> Outcome:
    """Take the steps, and delete what they made.

    Raises:
        Problem: Sync can't be reached or refuses the key.
    """
    recovered = _recover(Cleaner(caller, journal, clock))
    run = Run(caller, journal, clock, options, terminal)
    try:
        run.take_steps()
    finally:
        terminal.progress("  DELETE /v2/assets/{id} of what is left")
        caller.extend(CLEANUP_SECONDS)
        cleaned = run.cleaner.clean()
    return Outcome(run.seen, recovered, cleaned, caller.presigns)


def _recover(cleaner: Cleaner) -> Cleaned:
    """Delete what earlier runs left, with the first use of the key.

    Raises:
        Problem: Sync can't be reached or refuses the key.
    """
    advice = "Check SYNC_BASE_URL and the network."
    try:
        response = cleaner.delete_abandoned()
    except NotDone as gap:
        raise Problem(f"The list of assets {gap.reason}.", advice, UNREACHABLE) from None
    if response.status in _REFUSED_KEY:
        raise Problem(
            f"Sync refuses the key: it returns {response.status}.",
            "Check the key and your plan at Sync.",
            UNREACHABLE,
        )
    if not response.is_success:
        message = f"The list of assets returned {response.status}."
        raise Problem(message, advice, UNREACHABLE)
    return cleaner.clean()
