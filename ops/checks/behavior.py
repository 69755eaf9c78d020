"""Checks of what `python -m ops probe` saw at Sync, against the settings and what Sync does now."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chalicelib.core import settings
from chalicelib.core.errors import Misconfigured
from chalicelib.core.settings import Settings
from ops.checks.findings import Finding, State, Target, make_finding
from ops.probing.table import probed
from sandbox.upstream.behavior import camel

CHECK = "behavior"


def compare(target: Target, file: Path, behavior: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare the behaviours of a file.

    Args:
        target: The stage, with what earlier checks have observed.
        file: The file's name, for the advice.
        behavior: Its content, by the sandbox's names in JSON.
    """
    try:
        yield from _settings(settings.load(target.environment), behavior)
    except Misconfigured:
        yield Finding(CHECK, "settings", State.UNKNOWN, "not compared", "Fix the settings first.")
    yield from _concerns(behavior)
    for name, now in target.observed.items():
        if name in behavior:
            yield _observed(name, behavior[name], now, target.stage.name, file)


def _observed(name: str, before: Any, now: Any, stage: str, file: Path) -> Finding:
    subject, detail = f"{name} now", json.dumps(now)
    if now == before:
        return Finding(CHECK, subject, State.OK, detail)
    detail += f", but {json.dumps(before)} in {file}"
    advice = f"Sync has changed. Run `python -m ops probe --stage {stage} --compare {file}`."
    return Finding(CHECK, subject, State.WARNING, detail, advice)


def _settings(chosen: Settings, behavior: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare the settings that depend on how Sync behaves."""
    if (lag := behavior.get("listLagSeconds")) is not None:
        yield make_finding(
            CHECK,
            "SETTLE_SECONDS",
            is_right=chosen.settle_seconds > lag,
            detail=f"{chosen.settle_seconds}, and the list shows a new asset after {lag:g} s",
            advice="Set it well above that time, or a lost registration may be repeated.",
        )
    if "oversizeStatus" in behavior:
        yield make_finding(
            CHECK,
            "MAX_UPLOAD_BYTES",
            is_right=chosen.max_upload_bytes < settings.LARGEST,
            detail=f"{chosen.max_upload_bytes}, and your plan refuses {settings.LARGEST}",
            advice="Set it to your plan's limit, so that users learn it before they upload.",
        )


def _concerns(behavior: Mapping[str, Any]) -> Iterator[Finding]:
    """Warn of behaviours that cost the operator something."""
    rows = {camel(name): row for name, row in probed().items()}
    for name, value in behavior.items():
        if name in rows and value in rows[name].concerns:
            yield Finding(CHECK, name, State.WARNING, json.dumps(value), rows[name].means(value))
