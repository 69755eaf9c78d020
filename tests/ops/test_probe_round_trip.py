"""What the probe sees is what the stand-in for Sync does: each value, and mixtures of values."""

import json
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.probing import table
from ops.probing.table import NotProbed, Probed
from sandbox.upstream.behavior import Behavior, Rule, camel
from tests.ops.probing import ask, assets, registrations, reset
from tests.ops.shell import KEY
from tests.support.upstream_process import RunningUpstream

# Values of the behaviours that have too many to try all.
SAMPLES: dict[str, list[Any]] = {
    "expiresIn": [3600, 604_800],
    "listLagSeconds": [0.0, 1.0],
}
# Values of behaviours that can't be seen whole, but on which others depend.
CONTEXT: dict[str, list[Any]] = {
    "planMaxBytes": [5_368_709_120, 1_000_000],
    "refusedContentTypes": [[], ["text/plain"], ["image/*"], ["text/*", "application/*"]],
}
# A refusal that no request meets can't be seen.
NEEDS: dict[str, dict[str, Any]] = {
    "oversizeStatus": {"planMaxBytes": 1_000_000},
    "oversizeCode": {"planMaxBytes": 1_000_000},
    "contentTypeStatus": {"refusedContentTypes": ["text/plain"]},
}


def values_of(name: str, rule: Rule) -> list[Any]:
    """Return the values of a behaviour to try."""
    return list(rule.choices) or SAMPLES[name]


VALUES = {
    camel(one.name): values_of(camel(one.name), one.metadata["rule"])
    for one in fields(Behavior)
    if isinstance(table.SWITCHES[one.name], Probed)
}
CASES = [(name, value) for name, values in VALUES.items() for value in values]


def test_table_has_every_behaviour() -> None:
    """The table has a row for each behaviour of the sandbox, and no other."""
    assert set(table.SWITCHES) == {one.name for one in fields(Behavior)}
    for row in table.SWITCHES.values():
        words = row.reason if isinstance(row, NotProbed) else row.question
        assert words.endswith((".", "?", "?)")) or "?" in words


@pytest.mark.parametrize("name", VALUES)
def test_each_value_has_a_meaning(name: str) -> None:
    """The report has a sentence for each value of each behaviour."""
    (row,) = [row for key, row in table.probed().items() if camel(key) == name]
    for value in VALUES[name]:
        assert row.means(value).endswith((".", "`."))


def is_seen(name: str, values: dict[str, Any]) -> bool:
    """Whether a run can see a behaviour, beside the values of the others."""
    is_labelled = values["assetLabels"] != "absent"
    is_found_again = values["assetUrl"] in {"same", "normalized"} or values["recordsDigest"]
    conditions = {
        "oversizeStatus": values["planMaxBytes"] == 1_000_000,
        "oversizeCode": values["planMaxBytes"] == 1_000_000,
        "contentTypeStatus": not {"text/plain", "text/*"}.isdisjoint(values["refusedContentTypes"]),
        "emptyObject": not values["deleteForbidden"],
        "unnamedAsset": not values["deleteForbidden"] and is_labelled and is_found_again,
        "projectAssetsInUnfilteredList": not values["deleteForbidden"],
    }
    return conditions.get(name, True)


def check(upstream: RunningUpstream, folder: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Run the probe beside some behaviours, and return what it saw, which must be right."""
    reset(upstream, **changes)
    defaults = Behavior().to_json()
    defaults["refusedContentTypes"] = list(defaults["refusedContentTypes"])
    values = defaults | changes
    report = ask(upstream.url, folder)
    seen = report.findings.behavior
    assert json.loads((folder / "behavior.json").read_text()) == seen
    assert set(seen) == {name for name in VALUES if is_seen(name, values)}
    assert set(seen) | set(report.findings.undecided) == set(VALUES)
    for name, value in seen.items():
        if name == "listLagSeconds":
            assert (value > 0) == (values[name] > 0)  # a busy machine takes part of it
        else:
            assert value == values[name], name
    left = assets(upstream)
    assert len(left) == (len(report.outcome.cleaned.left) if values["deleteForbidden"] else 0)
    assert len(left) <= 2
    assert report.outcome.presigns <= 10
    return seen


@pytest.mark.parametrize(("name", "value"), CASES, ids=[f"{name}={value}" for name, value in CASES])
def test_probe_sees_each_value(
    upstream: RunningUpstream, tmp_path: Path, name: str, value: Any
) -> None:
    """The probe sees each value of each behaviour."""
    changes = {**NEEDS.get(name, {}), name: value}
    assert name in check(upstream, tmp_path, changes)


MIXTURES = st.fixed_dictionaries(
    {name: st.sampled_from(values) for name, values in (VALUES | CONTEXT).items()}
)


@settings(max_examples=25, derandomize=True)
@given(changes=MIXTURES)
def test_probe_sees_mixtures(upstream: RunningUpstream, changes: dict[str, Any]) -> None:
    """Beside any values of other behaviours, the probe sees the right value or none."""
    with tempfile.TemporaryDirectory() as folder:
        check(upstream, Path(folder), changes)


def test_unmarked_asset_is_not_made(upstream: RunningUpstream, tmp_path: Path) -> None:
    """If neither URL nor digest shows an asset, none is made without a name."""
    check(upstream, tmp_path, {"assetUrl": "absent", "recordsDigest": False})
    assert sum(one.startswith("asset ") for one in registrations(upstream)) == 4


def test_sandbox_starts_with_what_was_seen(upstream: RunningUpstream, tmp_path: Path) -> None:
    """A sandbox that starts with the file of a run behaves as that run saw."""
    changes = {"notUploadedStatus": 422, "assetUrl": "absent", "expiresIn": 604_800}
    seen = check(upstream, tmp_path / "out", changes)
    copy = RunningUpstream(
        tmp_path / "copy",
        SYNC_API_KEY=KEY,
        SANDBOX_BEHAVIOR=f"@{tmp_path}/out/behavior.json",
        ALLOWED_ORIGINS="https://app.example.com",
    )
    try:
        behavior = copy.call("GET", "/_sandbox/behavior").json()
        assert {name: behavior[name] for name in changes} == changes
        assert ask(copy.url, tmp_path / "again").findings.behavior == seen
    finally:
        assert copy.stop() == 0


def test_refused_upload_leaves_the_rest_undecided(
    upstream: RunningUpstream, tmp_path: Path
) -> None:
    """If the plan refuses even a small file, what depends on an asset is undecided."""
    reset(upstream, planMaxBytes=1)
    report = ask(upstream.url, tmp_path)
    seen = report.findings.behavior
    assert seen == {
        "notUploadedStatus": 400,
        "notUploadedCode": True,
        "unreachableStatus": 422,
        "expiresIn": 3600,
        "unauthorizedShape": "byCause",
        "messageShape": "string",
        "malformedIdStatus": 404,
    }
    assert "`presign` returned 422" in report.findings.undecided["contentTypeStatus"]
