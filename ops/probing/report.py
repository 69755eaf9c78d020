"""The report of a run, for a person: what was asked, what was seen, and what it means."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ops.probing.calls import Exchange
from ops.probing.run import Outcome
from ops.probing.table import Findings, not_probed, probed
from ops.terminal import printable
from sandbox.upstream.behavior import camel

_LONGEST = 160  # characters of a text that Sync sent
_QUERY = re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]*")
_SIGNED = re.compile(r"(X-Amz-[A-Za-z-]+)(=|%3D)[^\s&\"'<>]*", re.IGNORECASE)


@dataclass(frozen=True)
class Comparison:
    """The behaviours of a run beside those of another file.

    Attributes:
        differences: What the file has, and what was seen, for each behaviour that differs.
        not_compared: Why a behaviour that only one of them has was not compared.
    """

    differences: Mapping[str, tuple[Any, Any]]
    not_compared: Mapping[str, str]


@dataclass(frozen=True)
class Report:
    """A run with its conclusions.

    Attributes:
        base_url: Sync's URL.
        at: When the run began, in milliseconds since 1970.
        outcome: What the run has done.
        findings: What follows from it.
        comparison: How the values compare with those of another file; None if there is no file.
    """

    base_url: str
    at: int
    outcome: Outcome
    findings: Findings
    comparison: Comparison | None = None


def to_markdown(report: Report) -> str:
    """Return the report as a page."""
    parts = (_head, _left, _comparison, _found, _undecided, _not_asked, _requests)
    return "\n".join(line for part in parts for line in part(report)) + "\n"


def _head(report: Report) -> Iterator[str]:
    outcome = report.outcome
    day = datetime.fromtimestamp(report.at / 1000, UTC).date()
    made, presigns = len(outcome.cleaned.deleted) + len(outcome.cleaned.left), outcome.presigns
    yield f"# The behaviour of Sync at {report.base_url}"
    yield ""
    yield (
        f"`python -m ops probe` asked on {day}. It requested {presigns} presigns, made {made}"
        f" assets, and deleted {len(outcome.cleaned.deleted)} of them."
    )
    if outcome.recovered.deleted:
        count = len(outcome.recovered.deleted)
        yield f"Assets of earlier runs that it deleted before: {count}."
    yield ""
    yield (
        "`behavior.json` beside this file has what was seen. `make run` starts a sandbox that acts"
        " alike if `SANDBOX_BEHAVIOR` is `@` and the path of that file."
    )
    yield ""


def _left(report: Report) -> Iterator[str]:
    lines = list(left_lines(report.outcome))
    if lines:
        yield "## Left behind"
        yield ""
        yield from (f"- {line}" for line in lines)
        yield ""


def left_lines(outcome: Outcome) -> Iterator[str]:
    """Yield sentences about what was not deleted."""
    for asset_id, reason in outcome.left.items():
        yield f"Delete the asset {quoted(asset_id)} by hand, or run the probe again: {reason}."
    for asset_id in outcome.recovered.young:
        yield (
            f"The asset {quoted(asset_id)} belongs to a probe that is running or was interrupted."
            " Run the probe again in five minutes."
        )
    if outcome.cleaned.open_count:
        yield (
            f"Registrations whose outcome is unknown: {outcome.cleaned.open_count}. The next run"
            " looks for their assets again."
        )
    yield from dict.fromkeys([*outcome.recovered.gaps, *outcome.cleaned.gaps])


def _comparison(report: Report) -> Iterator[str]:
    if report.comparison is None:
        return
    yield "## Compared with the given file"
    yield ""
    if not report.comparison.differences:
        yield "Nothing differs."
    else:
        yield "| behaviour | in the file | seen |"
        yield "|---|---|---|"
        for name, (before, now) in report.comparison.differences.items():
            yield f"| `{name}` | {value_words(before)} | {value_words(now)} |"
    yield ""
    if report.comparison.not_compared:
        yield "| not compared | why |"
        yield "|---|---|"
        for name, reason in report.comparison.not_compared.items():
            yield f"| `{name}` | {_plain(reason)} |"
        yield ""


def _found(report: Report) -> Iterator[str]:
    yield "## What was seen"
    yield ""
    yield "| question | behaviour | seen | what it means for the broker |"
    yield "|---|---|---|---|"
    for name, row in probed().items():
        key = camel(name)
        if key in report.findings.behavior:
            value = report.findings.behavior[key]
            yield f"| {row.question} | `{key}` | {value_words(value)} | {row.means(value)} |"
    yield ""


def _undecided(report: Report) -> Iterator[str]:
    if not report.findings.undecided:
        return
    yield "## What this run could not decide"
    yield ""
    yield "| question | behaviour | why |"
    yield "|---|---|---|"
    for name, row in probed().items():
        key = camel(name)
        if key in report.findings.undecided:
            yield f"| {row.question} | `{key}` | {_plain(report.findings.undecided[key])} |"
    yield ""


def _not_asked(_: Report) -> Iterator[str]:
    yield "## What is not asked"
    yield ""
    yield "| behaviour | why |"
    yield "|---|---|"
    for name, reason in not_probed().items():
        yield f"| `{name}` | {reason} |"
    yield ""


def _requests(report: Report) -> Iterator[str]:
    seen = report.outcome.evidence
    yield "## The requests"
    yield ""
    yield "| request | response |"
    yield "|---|---|"
    for step, found in seen.responses.items():
        yield f"| {step} | {response_words(found)} |"
    if seen.cors_refusal is not None:
        words = seen.cors_refusal or "a browser would send the PUT"
        yield f"| preflight from {seen.origin} | {_plain(words)} |"
    for step, reason in seen.gaps.items():
        if step not in seen.responses:
            yield f"| {step} | {_plain(reason)} |"


def response_words(found: Exchange) -> str:
    """Return a response's status, and the code and message of an error."""
    words = str(found.status)
    if not found.is_success:
        words += f" `{_plain(found.code)}`" if found.code else ""
        text = found.message or ("" if found.body is not None else found.text)
        words += f" {quoted(text)}" if text else ""
    return words


def value_words(value: Any) -> str:
    """Return a value as its JSON."""
    return f"`{json.dumps(value)}`"


def quoted(text: str) -> str:
    """Return a text of Sync's, short and in quotation marks."""
    plain = _plain(text.replace("`", "'"))
    return f'"{plain[:_LONGEST]}{"..." if len(plain) > _LONGEST else ""}"'


def _plain(text: str) -> str:
    """Return a text that can't end a cell, style the page, or show a signature."""
    shown = _SIGNED.sub(r"\1=***", _QUERY.sub(r"\1?***", text))
    shown = printable(" ".join(shown.split()))
    return re.sub(r"[|<>]", lambda found: f"&#{ord(found[0])};", shown)
