"""A probe that is killed leaves nothing behind that its next run does not delete."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.core.clock import MINUTE
from ops import probe
from tests.ops.probing import (
    ask,
    assets,
    kill_at,
    registrations,
    reset,
)
from tests.ops.shell import KEY
from tests.support.hasty_clock import HastyClock
from tests.support.project import ORIGIN
from tests.support.upstream_process import RunningUpstream, put

LATE = {"kind": "delay", "seconds": 30, "when": "after"}
# The registrations of a run, in their order.
REGISTRATIONS = 8
FIRST, WITHOUT_NAME = 2, 5


def kill_after(upstream: RunningUpstream, folder: Path, number: int) -> None:
    """Kill a run that waits for the response to a registration, which has been carried out."""
    upstream.order(LATE, "POST", "/v2/assets", skip=number)
    kill_at(upstream, folder, "fault: delay-after")
    upstream.call("DELETE", "/_sandbox/faults")


def make_asset(upstream: RunningUpstream, name: str) -> str:
    """Make an asset as another program does, and return its id."""
    key = {"x-api-key": KEY}
    body = {"fileName": "a.wav", "contentType": "audio/wav", "size": 1}
    presigned = upstream.call("POST", "/v2/assets/upload", json=body, headers=key).json()
    assert put(presigned["uploadUrl"], b"a", "audio/wav").status_code == 200
    fields = {"url": presigned["url"], "type": "AUDIO", "name": name}
    made = upstream.call("POST", "/v2/assets", json=fields, headers=key).json()
    return str(made["id"])


def test_run_has_so_many_registrations(upstream: RunningUpstream, tmp_path: Path) -> None:
    """A run sends as many registrations as the tests of this module interrupt."""
    reset(upstream)
    ask(upstream.url, tmp_path)
    assert len(registrations(upstream)) == REGISTRATIONS


@pytest.mark.parametrize("number", range(REGISTRATIONS))
def test_next_run_deletes_what_a_killed_run_made(
    upstream: RunningUpstream, tmp_path: Path, number: int
) -> None:
    """Wherever a run is killed, the next run deletes all of its assets."""
    reset(upstream)
    kill_after(upstream, tmp_path, number)
    report = ask(upstream.url, tmp_path)
    assert assets(upstream) == []
    assert not list(report.outcome.cleaned.left)
    made = sum(one.startswith("asset ") for one in registrations(upstream))
    deleted = report.outcome.recovered.deleted + report.outcome.cleaned.deleted
    assert made >= len(set(deleted)) >= 5


@pytest.mark.parametrize(
    ("number", "behaviors"),
    [
        (FIRST, {"assetLabels": "absent", "assetUrl": "absent", "recordsDigest": False}),
        (FIRST, {"assetLabels": "absent", "recordsDigest": False, "optionalFields": "missing"}),
        (WITHOUT_NAME, {"assetUrl": "absent"}),
        (WITHOUT_NAME, {"recordsDigest": False}),
        (WITHOUT_NAME, {"assetLabels": "absent", "assetUrl": "rewritten"}),
    ],
    ids=["search", "search or URL", "digest", "URL", "digest beside rewritten URL"],
)
def test_killed_run_is_found_by_each_way(
    upstream: RunningUpstream, tmp_path: Path, number: int, behaviors: dict[str, Any]
) -> None:
    """The assets of a killed run are found by search, URL or digest, as far as Sync shows them."""
    reset(upstream, **behaviors)
    kill_after(upstream, tmp_path, number)
    report = ask(upstream.url, tmp_path)
    assert len(report.outcome.recovered.deleted) >= 1
    assert assets(upstream) == []


def test_interrupted_run_cleans_at_once(upstream: RunningUpstream, tmp_path: Path) -> None:
    """After Ctrl-C a run deletes what it has made, also that whose response did not come."""
    reset(upstream)
    upstream.order(LATE, "POST", "/v2/assets", skip=FIRST)
    assert kill_at(upstream, tmp_path, "fault: delay-after", signal.SIGINT) == 130
    assert assets(upstream) == []
    assert len(registrations(upstream)) == FIRST + 1


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[RunningUpstream]:
    """A stand-in that has received a registration of a killed run, and never carries it out."""
    started = RunningUpstream(tmp_path / "sync", SYNC_API_KEY=KEY, ALLOWED_ORIGINS=ORIGIN)
    late = {"kind": "delay", "seconds": 600, "when": "before"}
    started.order(late, "POST", "/v2/assets", skip=FIRST)
    kill_at(started, tmp_path / "out", "fault: delay-before")
    yield started
    started.kill()


def test_late_registration_is_deleted_by_later_run(
    hanging: RunningUpstream, tmp_path: Path
) -> None:
    """A registration that is carried out after the next run stays recorded until a later run."""
    out = tmp_path / "out"
    report = ask(hanging.url, out)
    assert report.outcome.cleaned.open_count == 1
    assert probe.exit_code(report) == 0
    words = "Registrations whose outcome is unknown: 1. The next run looks for their assets again."
    assert (out / "report.md").read_text().count(words) == 1
    assert assets(hanging) == []
    begun = json.loads((out / "journal.jsonl").read_text().splitlines()[1])
    make_asset(hanging, f" sync-upload-broker-probe-{begun['run']} ")  # as Sync would do it late
    assert len(ask(hanging.url, out).outcome.recovered.deleted) == 1
    assert assets(hanging) == []
    last = ask(hanging.url, out, HastyClock(ahead=11 * MINUTE))
    assert last.outcome.recovered.open_count == 0


def test_lost_journal_is_replaced_by_search(upstream: RunningUpstream, tmp_path: Path) -> None:
    """Without the journal, assets with the probe's name are deleted, once no run can be theirs."""
    reset(upstream)
    kill_after(upstream, tmp_path / "lost", FIRST)
    shutil.rmtree(tmp_path / "lost")
    (asset,) = assets(upstream)
    soon = ask(upstream.url, tmp_path)
    assert soon.outcome.recovered.young == [asset["id"]]
    assert probe.exit_code(soon) == 0
    assert asset["id"] in (tmp_path / "report.md").read_text()
    later = ask(upstream.url, tmp_path, HastyClock(ahead=6 * MINUTE))
    assert later.outcome.recovered.deleted == [asset["id"]]
    assert assets(upstream) == []


def test_other_sync_is_not_searched(upstream: RunningUpstream, tmp_path: Path) -> None:
    """The assets of a killed run are searched at the Sync that it asked, and at no other."""
    reset(upstream)
    kill_after(upstream, tmp_path, FIRST)
    other = upstream.url.replace("127.0.0.1", "localhost")
    report = ask(other, tmp_path)
    assert report.outcome.recovered.deleted == []
    assert len(assets(upstream)) == 1
    ask(upstream.url, tmp_path)
    assert assets(upstream) == []


def test_foreign_assets_are_never_deleted(upstream: RunningUpstream, tmp_path: Path) -> None:
    """An asset whose name only resembles the probe's stays, also if nothing tells assets apart."""
    reset(upstream)
    like_ours = f"sync-upload-broker-probe-{'0' * 16}"
    names = ("sync-upload-broker-probe-notes", f"copy of {like_ours}", f"{like_ours}0", "x")
    kept = [make_asset(upstream, name) for name in names]
    ask(upstream.url, tmp_path, HastyClock(ahead=20 * MINUTE))
    upstream.behave(assetLabels="absent", assetUrl="absent", recordsDigest=False)
    kill_after(upstream, tmp_path, FIRST)
    ask(upstream.url, tmp_path, HastyClock(ahead=20 * MINUTE))
    assert sorted(one["id"] for one in assets(upstream)) == sorted(kept)


def test_lost_response_is_cleaned_at_once(upstream: RunningUpstream, tmp_path: Path) -> None:
    """If a response is lost, the same run deletes the asset, and reports that it was not sure."""
    reset(upstream)
    upstream.order({"kind": "cut", "when": "after"}, "POST", "/v2/assets", skip=FIRST)
    report = ask(upstream.url, tmp_path)
    assert assets(upstream) == []
    assert len(report.outcome.cleaned.deleted) == 1
    assert probe.exit_code(report) == 3
    assert "duplicateUrl" in report.findings.undecided
    events = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    begun = {one["id"] for one in events if one["event"] == "begin"}
    assert len(begun - {one["id"] for one in events if one["event"] == "end"}) == 1


def test_undeletable_assets_are_named(upstream: RunningUpstream, tmp_path: Path) -> None:
    """If Sync forbids deletions, a run leaves two assets at most, names them, and exits with 1."""
    reset(upstream, deleteForbidden=True)
    report = ask(upstream.url, tmp_path)
    assert probe.exit_code(report) == 1
    assert report.findings.behavior["deleteForbidden"] is True
    words = (tmp_path / "report.md").read_text()
    left = assets(upstream)
    assert len(left) == 2
    for one in left:
        assert f'Delete the asset "{one["id"]}" by hand' in words
    again = ask(upstream.url, tmp_path)
    assert len(again.outcome.recovered.deleted) == 2
    assert assets(upstream) == []
