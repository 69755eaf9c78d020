"""Ask Sync, without harm, what its documentation leaves open, and write down what was seen."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chalicelib.core import settings, urls
from chalicelib.core.clock import Clock
from ops import parameters
from ops.account import Account
from ops.probing import report, table
from ops.probing.calls import MAX_PRESIGNS, Caller
from ops.probing.journal import Journal
from ops.probing.report import Comparison, Report
from ops.probing.run import CLEANUP_SECONDS, probe
from ops.probing.steps import STEPS, Options
from ops.probing.table import Findings
from ops.stage import Stage
from ops.terminal import FINE, UNREACHABLE, USAGE, WRONG, Problem, Terminal
from sandbox.upstream.behavior import Behavior, BehaviorError, camel

REPORT, BEHAVIOR = "report.md", "behavior.json"
ORIGIN = "https://app.example.com"
_BASE_URL = "https://api.sync.so"
_LAG_TOLERANCE = 2.0  # seconds between two measurements of the list's lag that mean the same


@dataclass(frozen=True)
class Target:
    """The Sync to ask.

    Attributes:
        base_url: Its URL, without a slash at the end.
        key: The API key.
        origin: The origin of a page that uploads.
    """

    base_url: str
    key: str = field(repr=False)
    origin: str = ORIGIN


def base_url(environment: Mapping[str, str]) -> str:
    """Return Sync's URL in a stage's settings or in the environment.

    Raises:
        Problem: It is not a URL.
    """
    try:
        return urls.base_url(environment.get("SYNC_BASE_URL") or _BASE_URL)
    except ValueError as error:
        raise Problem(f"SYNC_BASE_URL must be {error}.", "", USAGE) from error


def from_environment(environment: Mapping[str, str]) -> Target:
    """Return the target that environment variables name.

    Raises:
        Problem: There is no valid key.
    """
    given = environment.get("SYNC_API_KEY", "").strip()
    if not given:
        advice = "Set SYNC_API_KEY in the environment, or use --stage for a stage's key."
        raise Problem("There is no Sync API key.", advice, USAGE)
    try:
        return Target(base_url(environment), settings.api_key(given))
    except ValueError as error:
        raise Problem(f"SYNC_API_KEY must be {error}.", "", USAGE) from error


def from_stage(stage: Stage, account: Account) -> Target:
    """Return the target of a stage.

    Raises:
        Problem: The stage has no valid key.
    """
    wanted = {one.variable: one for one in parameters.of(stage.environment)}
    parameter = wanted.get("SYNC_API_KEY")
    found = parameters.read(account.client("ssm"), parameter) if parameter else None
    if found is None or found.state is not parameters.State.VALID:
        advice = "Run `python -m ops doctor` to see why."
        raise Problem("The stage has no valid Sync API key.", advice)
    origins = [one for one in settings.origins(stage.environment) if one != "*"]
    return Target(base_url(stage.environment), found.value or "", next(iter(origins), ORIGIN))


def read_behavior(path: Path) -> dict[str, Any]:
    """Return the behaviours in a file, to compare with.

    Raises:
        Problem: The file can't be read, or is not one of behaviours.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        Behavior().changed(found)
    except OSError as error:
        raise Problem(f"{path} can't be read: {error.strerror}.", "", USAGE) from error
    except (ValueError, RecursionError, BehaviorError) as error:
        advice = "It must be a behavior.json that an earlier probe has written."
        raise Problem(f"{path} is not valid: {error}.", advice, USAGE) from error
    return dict(found)


def run(  # noqa: PLR0913, PLR0917 - a run's circumstances and its parts
    target: Target,
    folder: Path,
    terminal: Terminal,
    clock: Clock,
    options: Options,
    expected: Mapping[str, Any] | None = None,
) -> Report:
    """Ask, write report and behaviours into a folder, and return the report.

    Args:
        target: The Sync to ask.
        folder: The folder, which is created.
        terminal: Shows progress and masks secrets.
        clock: The time.
        options: The operator's choices.
        expected: The behaviours to compare with.

    Raises:
        Problem: Sync can't be reached or refuses the key, or the folder can't be used.
    """
    terminal.hide(target.key)
    journal = Journal(folder, (REPORT, BEHAVIOR))
    try:
        at = clock.now()
        terminal.progress(f"Asking {target.base_url} ...")
        seconds = options.seconds - CLEANUP_SECONDS
        caller = Caller(target.base_url, target.key, clock, seconds)
        outcome = probe(caller, journal, clock, options, terminal)
        findings = table.conclude(outcome.evidence)
        comparison = None if expected is None else compare(expected, findings)
        made = Report(target.base_url, at, outcome, findings, comparison)
        journal.write(REPORT, terminal.masked(report.to_markdown(made)))
        journal.write(BEHAVIOR, terminal.masked(json.dumps(findings.behavior, indent=2)) + "\n")
    finally:
        journal.close()
    return made


def compare(expected: Mapping[str, Any], findings: Findings) -> Comparison:
    """Compare the behaviours of a file with those that a run has found."""
    seen, reasons = findings.behavior, findings.undecided | table.not_probed()
    differences = {
        name: (expected[name], seen[name])
        for name in expected
        if name in seen and not _is_alike(name, expected[name], seen[name])
    }
    not_compared = {name: reasons[name] for name in expected if name not in seen}
    not_compared |= {name: "The file does not have it." for name in seen if name not in expected}
    return Comparison(differences, not_compared)


def _is_alike(name: str, one: Any, other: Any) -> bool:
    if name == "listLagSeconds":
        return bool(abs(one - other) <= _LAG_TOLERANCE)
    return bool(one == other)


def exit_code(made: Report) -> int:
    """Return the exit code: what a person must do takes precedence over what is unknown."""
    outcome = made.outcome
    if outcome.left or (made.comparison and made.comparison.differences):
        return WRONG
    gaps = outcome.recovered.gaps or outcome.cleaned.gaps
    is_partial = outcome.evidence.failed or gaps
    return UNREACHABLE if is_partial else FINE


def plan_lines(url: str, folder: Path) -> list[str]:
    """Return what a run would ask, as lines of text."""
    return [
        f"Would ask {url}, with at most {MAX_PRESIGNS} presigns:",
        *(f"  {step.asks}" for step in STEPS),
        "to find out:",
        *(f"  {row.question}" for row in table.probed().values()),
        f"Would write {folder / REPORT} and {folder / BEHAVIOR}.",
    ]


def plan_document(url: str, folder: Path) -> dict[str, object]:
    """Return what a run would ask, as a JSON document."""
    return {
        "command": "probe",
        "exitCode": FINE,
        "dryRun": True,
        "baseUrl": url,
        "folder": str(folder),
        "requests": [step.asks for step in STEPS],
        "questions": {camel(name): row.question for name, row in table.probed().items()},
        "notAsked": table.not_probed(),
    }


def to_lines(made: Report, folder: Path) -> list[str]:
    """Return the result as lines of text."""
    lines = [f"{name:34}{json.dumps(value)}" for name, value in made.findings.behavior.items()]
    if made.findings.undecided:
        lines += ["", "Not decided:"]
        lines += [f"  {name}: {reason}" for name, reason in made.findings.undecided.items()]
    if made.comparison is not None:
        lines += ["", *_comparison_lines(made.comparison)]
    left = list(report.left_lines(made.outcome))
    lines += ["", *left] if left else []
    lines += ["", f"Read {folder / REPORT}. The sandbox reads {folder / BEHAVIOR}."]
    return lines


def _comparison_lines(comparison: Comparison) -> list[str]:
    count = len(comparison.differences)
    words = "1 behaviour differs" if count == 1 else f"{count or 'No'} behaviours differ"
    lines = [f"{words} from the file."]
    lines += [
        f"  {name}: {json.dumps(now)}, in the file {json.dumps(before)}"
        for name, (before, now) in comparison.differences.items()
    ]
    if comparison.not_compared:
        lines += ["", "Not compared:"]
        lines += [f"  {name}: {reason}" for name, reason in comparison.not_compared.items()]
    return lines


def to_document(made: Report, folder: Path) -> dict[str, object]:
    """Return the result as a JSON document."""
    outcome = made.outcome
    comparison = made.comparison
    return {
        "command": "probe",
        "exitCode": exit_code(made),
        "baseUrl": made.base_url,
        "report": str(folder / REPORT),
        "behaviorFile": str(folder / BEHAVIOR),
        "behavior": made.findings.behavior,
        "undecided": made.findings.undecided,
        "notAsked": table.not_probed(),
        "presigns": outcome.presigns,
        "deleted": [*outcome.recovered.deleted, *outcome.cleaned.deleted],
        "left": list(report.left_lines(outcome)),
        "differences": None
        if comparison is None
        else {
            name: {"file": before, "seen": now}
            for name, (before, now) in comparison.differences.items()
        },
        "notCompared": None if comparison is None else dict(comparison.not_compared),
    }
