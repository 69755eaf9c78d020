"""Checks of the deployment package that Chalice would make next."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ops import bytecode, git, package, runtimes
from ops.checks.findings import Finding, State, Target
from ops.terminal import Problem

CHECK = "package"
_SHOWN = 5  # names in a finding


def contents(target: Target) -> Iterator[Finding]:
    """Check what the next deployment ships: its files, its packages, its bytecode, its Python."""
    folder = target.stage.folder
    yield _strays(folder)
    archive = package.next_archive(target.stage)
    if archive is not None:
        yield wheels(folder, archive, CHECK, "wheels")
    yield _bytecode(folder)
    yield runtime(target, target.stage.next_runtime, CHECK, "Python")


def _strays(folder: Path) -> Finding:
    """Find files that would be shipped although git does not track them, such as a `secret.env`."""
    try:
        untracked = git.untracked(folder, "app.py", "chalicelib", "vendor")
    except Problem as problem:
        return Finding(CHECK, "files", State.SKIPPED, problem.message)
    vendored = _vendored(folder / "vendor")
    found = [
        name
        for name in untracked
        if not ("__pycache__/" in name and name.endswith(".pyc"))
        and name.removeprefix("vendor/") not in vendored
    ]
    if not found:
        return Finding(CHECK, "files", State.OK, "git tracks all that is shipped")
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return Finding(
        CHECK,
        "files",
        State.WRONG,
        f"shipped, but not in git: {', '.join(found[:_SHOWN])}{more}",
        "Move them out of chalicelib and vendor, since everybody who may view the function can read"
        " them, or add them to git.",
    )


def _vendored(vendor: Path) -> set[str]:
    """Return the files that belong to packages in `vendor`, as their lists name them."""
    return {
        line.split(",")[0]
        for record in vendor.glob("*.dist-info/RECORD")
        for line in record.read_text().splitlines()
    }


def wheels(folder: Path, archive: Path, check: str, subject: str) -> Finding:
    """Check that a package which Chalice made has all that requirements.txt names."""
    missing = package.missing_packages(folder, archive)
    if not missing:
        return Finding(check, subject, State.OK, f"{archive.name} has all of requirements.txt")
    return Finding(
        check,
        subject,
        State.WRONG,
        f"{archive.name} lacks {', '.join(missing)}",
        f"Delete {archive}, which Chalice would use again. Deploy, and read what Chalice prints"
        " about missing wheels.",
    )


def _bytecode(folder: Path) -> Finding:
    try:
        found = bytecode.outdated(folder)
    except Problem as problem:
        return Finding(CHECK, "bytecode", State.WARNING, problem.message, problem.advice)
    if not found.names:
        return Finding(CHECK, "bytecode", State.OK, f"current, for {found.of} modules")
    advice = "Run `python -m ops compile` before you deploy: cold starts are shorter with it."
    return Finding(CHECK, "bytecode", State.WARNING, found.describe(), advice)


def runtime(target: Target, name: str, check: str, subject: str) -> Finding:
    """Check how long Lambda supports a runtime."""
    today = datetime.fromtimestamp(target.now(), UTC).date()
    detail = runtimes.describe(name)
    advice = (
        f"Install Python {runtimes.ADVISED}, run `make clean`, and the commands of docs/deploy.md."
    )
    if runtimes.is_frozen(name, today):
        return Finding(check, subject, State.WRONG, f"{detail}; AWS refuses updates", advice)
    if runtimes.ends_soon(name, today):
        return Finding(check, subject, State.WARNING, detail, advice)
    return Finding(check, subject, State.OK, detail)
