"""Search the advisories for vulnerabilities of all pinned packages: `make audit`.

`python scripts/audit.py requirements.txt` audits only that file.

The script prints a frame on standard error for each file that it could not audit, so that nobody
takes that for a pass. It exits with 1 for a finding or a failed request. It exits with 0 if the
advisories can't be reached at all: without a network, or behind a mirror of the package index that
has no advisories. CI runs the same command.
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PYTHON_PINS = ("requirements.txt", "constraints.txt", "sandbox/constraints-dynamodb.txt")
NPM_PINS = "package-lock.json"

# The two tools' messages for a connection that was never established. Those for a connection that
# broke differ.
NOT_CONNECTED = re.compile(
    # pip-audit prints urllib3's exceptions, which wrap those about a proxy once more.
    r"(Caused by |ProxyError\('[^']*', )"
    r"(NewConnectionError|NameResolutionError|ConnectTimeoutError|OSError\('Tunnel connection)"
    r"|Could not connect to PyPI's vulnerability feed"
    # npm prints Node's codes. Node gives no reason if a host has several IP addresses and none
    # of them accepts a connection.
    r"|reason: (connect |getaddrinfo |Timeout connecting to host |$)"
)
# The statuses of a server without advisories, such as a mirror of the package index.
NOT_OFFERED = {404, 405, 501}
WIDTH = 78


class Outcome(Enum):
    """The result of an audit."""

    CLEAN = "no known vulnerabilities."
    FOUND = "known vulnerabilities:"
    UNREACHABLE = "The advisories can't be reached from here."
    FAILED = "The request to the advisories failed; standard output has the reason."


PASSES = {Outcome.CLEAN, Outcome.UNREACHABLE}


@dataclass(frozen=True)
class Report:
    """The result of the audit of one file.

    Attributes:
        file: The file with the pins.
        outcome: The result.
        detail: The findings, or the output of the tool.
        was_reached: Whether the advisories returned a response for at least one package.
    """

    file: str
    outcome: Outcome
    detail: str = ""
    was_reached: bool = False


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a tool in the project's folder, and return its output."""
    return subprocess.run(  # noqa: S603 - the project's own tools
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )


def parsed(text: str) -> dict[str, Any]:
    """Return a text as a JSON object; an empty object if it has another form."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def audit_python(file: str) -> Report:
    """Search PyPI's advisories for the pins of a file."""
    command = (sys.executable, "-m", "pip_audit", "--requirement", file, "--no-deps")
    options = ("--disable-pip", "--progress-spinner", "off", "--format", "json", "--verbose")
    done = run(*command, *options)
    packages = parsed(done.stdout).get("dependencies")
    if packages is None:
        # pip-audit printed no report, but its log has the reason.
        log = "\n".join(line for line in done.stderr.splitlines() if line[:6] != "DEBUG:")
        was_reached = "DEBUG:pip_audit._cli:Auditing " in done.stderr
        is_offline = NOT_CONNECTED.search(log) and not was_reached
        outcome = Outcome.UNREACHABLE if is_offline else Outcome.FAILED
        return Report(file, outcome, log, was_reached)
    found = [
        f"{one['name']} {one['version']}: {flaw['id']}, "
        f"fixed in {', '.join(flaw['fix_versions']) or 'no version'}: {flaw['description']}"
        for one in packages
        for flaw in one.get("vulns", ())
    ]
    if found:
        return Report(file, Outcome.FOUND, "\n".join(found), was_reached=True)
    if not packages:
        return Report(file, Outcome.FAILED, f"ERROR: {file} pins nothing.")
    unknown = [one["skip_reason"] for one in packages if "skip_reason" in one]
    if len(unknown) == len(packages):
        return Report(file, Outcome.UNREACHABLE, f"{unknown[0]}, nor any other")
    if unknown:
        # A version may be missing from the index because it was malicious.
        return Report(file, Outcome.FAILED, "\n".join(unknown), was_reached=True)
    return Report(file, Outcome.CLEAN, was_reached=True)


def audit_npm() -> Report:
    """Search npm's advisories for the pins of the lock file."""
    done = run("npm", "audit", "--json", "--audit-level=low")
    report = parsed(done.stdout)
    if "vulnerabilities" in report:
        if done.returncode == 0:
            return Report(NPM_PINS, Outcome.CLEAN)
        found = [
            f"{name} {one['range']}: {one['severity']}"
            + "".join(f", {via['title']}" for via in one["via"] if isinstance(via, dict))
            for name, one in report["vulnerabilities"].items()
        ]
        return Report(NPM_PINS, Outcome.FOUND, "\n".join(found))
    is_offline = (
        report["statusCode"] in NOT_OFFERED
        if "statusCode" in report
        else NOT_CONNECTED.search(report.get("message", ""))
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


def main(files: Sequence[str]) -> int:
    """Audit files, print the reports, and return the exit code.

    Args:
        files: Files with pins; all of the project's if there are none.
    """
    files = files or (*PYTHON_PINS, NPM_PINS)
    if unknown := sorted({*files} - {*PYTHON_PINS, NPM_PINS}):
        sys.exit(f"{unknown[0]}: not one of {', '.join((*PYTHON_PINS, NPM_PINS))}")
    reports = [audit_python(file) for file in PYTHON_PINS if file in files]
    if any(one.was_reached for one in reports):
        # The advisories were reachable for another file, so an unreachable one is a failure.
        reports = [
            replace(one, outcome=Outcome.FAILED) if one.outcome is Outcome.UNREACHABLE else one
            for one in reports
        ]
    if NPM_PINS in files:
        reports.append(audit_npm())
    for report in reports:
        show(report)
    return 0 if all(one.outcome in PASSES for one in reports) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
