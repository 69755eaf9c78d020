"""Ask for known vulnerabilities in everything that is pinned: `make audit`.

What could not be audited is printed in a frame on standard error, so that nobody takes it for a
pass. The exit code is 1 for a finding, and for every question that failed: nobody knows what the
answer would have been. It is 0 where the advisories can't be reached at all, by a machine without a
network or behind a mirror of the package index that has none. All this is the same on a developer's
machine and in CI.
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PYTHON_PINS = ("requirements.txt", "constraints.txt", "sandbox/constraints-dynamodb.txt")
NPM_PINS = "package-lock.json"

# How the two tools report that no connection was made; a connection that broke has other words.
NOT_CONNECTED = re.compile(
    # pip-audit, in the names of urllib3's exceptions, which wraps those about a proxy once more.
    r"(Caused by |ProxyError\('[^']*', )"
    r"(NewConnectionError|NameResolutionError|ConnectTimeoutError|OSError\('Tunnel connection)"
    r"|Could not connect to PyPI's vulnerability feed"
    # npm, in Node's codes. Node gives no reason if a host has several addresses and none accepts.
    r"|reason: (connect |getaddrinfo |Timeout connecting to host |$)"
)
# The status of a server that does not know the call: a mirror without advisories.
NOT_OFFERED = {404, 405, 501}
WIDTH = 78


class Outcome(Enum):
    """What became of a question."""

    CLEAN = "no known vulnerabilities."
    FOUND = "known vulnerabilities:"
    UNREACHABLE = "The advisories can't be reached from here."
    FAILED = "Asking the advisories failed; standard output has the reason."


PASSES = {Outcome.CLEAN, Outcome.UNREACHABLE}


@dataclass(frozen=True)
class Report:
    """What is known about the packages of one file.

    Attributes:
        file: Where they are pinned.
        outcome: What became of the question.
        detail: The findings, or what the tool printed.
        was_answered: Whether the advisories knew at least one of the packages.
    """

    file: str
    outcome: Outcome
    detail: str = ""
    was_answered: bool = False


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a tool in the project's folder, and return what it printed."""
    return subprocess.run(  # noqa: S603 - the project's own tools
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )


def parsed(text: str) -> dict[str, Any]:
    """Return a JSON object, an empty one if the text is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def audit_python(file: str) -> Report:
    """Ask PyPI's advisories about the pins of a file."""
    command = (sys.executable, "-m", "pip_audit", "--requirement", file, "--no-deps")
    options = ("--disable-pip", "--progress-spinner", "off", "--format", "json", "--verbose")
    done = run(*command, *options)
    packages = parsed(done.stdout).get("dependencies")
    if packages is None:
        # pip-audit made no report, so its log has to do.
        log = "\n".join(line for line in done.stderr.splitlines() if line[:6] != "DEBUG:")
        was_answered = "DEBUG:pip_audit._cli:Auditing " in done.stderr
        is_offline = NOT_CONNECTED.search(log) and not was_answered
        outcome = Outcome.UNREACHABLE if is_offline else Outcome.FAILED
        return Report(file, outcome, log, was_answered)
    found = [
        f"{one['name']} {one['version']}: {flaw['id']}, "
        f"fixed in {', '.join(flaw['fix_versions']) or 'no version'}: {flaw['description']}"
        for one in packages
        for flaw in one.get("vulns", ())
    ]
    if found:
        return Report(file, Outcome.FOUND, "\n".join(found), was_answered=True)
    if not packages:
        return Report(file, Outcome.FAILED, f"ERROR: {file} pins nothing.")
    unknown = [one["skip_reason"] for one in packages if "skip_reason" in one]
    if len(unknown) == len(packages):
        return Report(file, Outcome.UNREACHABLE, f"{unknown[0]}, nor any other")
    if unknown:
        # A version that is gone from the index may be one that was withdrawn for what it did.
        return Report(file, Outcome.FAILED, "\n".join(unknown), was_answered=True)
    return Report(file, Outcome.CLEAN, was_answered=True)


def audit_npm() -> Report:
    """Ask npm's advisories about what the lock file pins."""
    done = run("npm", "audit", "--json", "--audit-level=low")
    answer = parsed(done.stdout)
    if "vulnerabilities" in answer:
        if done.returncode == 0:
            return Report(NPM_PINS, Outcome.CLEAN)
        found = [
            f"{name} {one['range']}: {one['severity']}"
            + "".join(f", {via['title']}" for via in one["via"] if isinstance(via, dict))
            for name, one in answer["vulnerabilities"].items()
        ]
        return Report(NPM_PINS, Outcome.FOUND, "\n".join(found))
    is_offline = (
        answer["statusCode"] in NOT_OFFERED
        if "statusCode" in answer
        else NOT_CONNECTED.search(answer.get("message", ""))
    )
    return Report(NPM_PINS, Outcome.UNREACHABLE if is_offline else Outcome.FAILED, done.stderr)


def show(report: Report) -> None:
    """Print a report, in a frame if the file was not audited."""
    if report.outcome in {Outcome.CLEAN, Outcome.FOUND}:
        print(f"{report.file}: {report.outcome.value}")
        print(report.detail, end="\n" if report.detail else "", flush=True)
        return
    print(report.detail, flush=True)
    lines = (f"NOT AUDITED: {report.file}", report.outcome.value)
    frame = ("*" * WIDTH, *(f"* {line:<{WIDTH - 4}} *" for line in lines), "*" * WIDTH)
    print("\n".join(frame), file=sys.stderr, flush=True)


def main() -> int:
    """Ask about everything, print what is known, and return the exit code."""
    reports = [audit_python(file) for file in PYTHON_PINS]
    if any(one.was_answered for one in reports):
        # The advisories were reached a moment ago, so a file without an answer is a failure.
        reports = [
            replace(one, outcome=Outcome.FAILED) if one.outcome is Outcome.UNREACHABLE else one
            for one in reports
        ]
    reports.append(audit_npm())
    for report in reports:
        show(report)
    return 0 if all(one.outcome in PASSES for one in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
