"""`python -m ops settle`: an operator settles an upload whose outcome is unknown."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from chalicelib.aws import clients
from chalicelib.core import log
from ops import settle
from ops import stage as stages
from ops.terminal import Problem, Terminal
from tests.ops.shell import KEY, SECRETS, Result, cached_account, run
from tests.support.emulated_aws import EmulatedAws
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream, put

TABLE = "sync-upload-broker-prod"


@pytest.fixture(scope="module")
def broker(
    aws: EmulatedAws, module_folder: Path, upstream: RunningUpstream
) -> Iterator[RunningBroker]:
    """The broker, with the stage's table."""
    # The stand-in for Sync takes long for its first file, longer than the tests' broker waits.
    key = {"x-api-key": KEY}
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
    first = upstream.call("POST", "/v2/assets/upload", headers=key, json=body).json()
    assert put(first["uploadUrl"], b"hello").status_code == 200
    new = {"url": first["url"], "type": "VIDEO"}
    assert upstream.call("POST", "/v2/assets", headers=key, json=new).status_code == 201
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**aws.environment, "NO_PROXY": "*"}.items():
            patch.setenv(name, value)
        clients.session.cache_clear()
        piped = ("--secrets-from-stdin", "--json")
        assert run(module_folder, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
        started = RunningBroker(TABLE)
        yield started
        started.stop()
        clients.session.cache_clear()


@pytest.fixture(scope="module")
def module_folder(project: Any) -> Path:
    """The project's folder, for the module."""
    folder: Path = project.folder
    return folder


@pytest.fixture
def api(broker: RunningBroker, shell: EmulatedAws, upstream: RunningUpstream) -> Api:  # noqa: ARG001 - its environment
    """A caller, while Sync returns no URLs, so that the broker can't reconcile a registration."""
    upstream.call("POST", "/_sandbox/reset")
    upstream.behave(assetUrl="absent")
    broker.configure(upstream, SYNC_API_KEY=KEY)
    return Api(broker)


def undecided(api: Api, upstream: RunningUpstream, data: bytes = b"hello", **more: Any) -> str:
    """Lose the response to a registration, and return the upload's id."""
    upload = api.landed(data, **more)
    fault = {"kind": "cut", "when": "after"}
    upstream.order(fault, "POST", "/v2/assets", times=1)
    assert api.complete(upload).status_code == 202
    assert api.broker.lines("outcome_undecided")[-1]["uploadId"] == upload["id"]
    found: str = upload["id"]
    return found


def operator(folder: Path, *arguments: str) -> Result:
    """Run `settle` with --json."""
    return run(folder, "settle", "--stage", "prod", "--json", *arguments)


def test_settle_lists_matches(api: Api, upstream: RunningUpstream, folder: Path) -> None:
    """Settle shows the upload and the assets that may belong to it, and no signed URL."""
    api.registered(name="Take 2")
    taken = api.registered()  # Sync returns no name for it, so its name may be the upload's
    upload_id = undecided(api, upstream, name="Take 1")
    found = operator(folder, upload_id).document
    assert (found["status"], found["name"], found["settled"]) == ("registering", "Take 1", None)
    # Sync made both within a second, so their order is not certain.
    other, match = sorted(
        found["matches"], key=lambda one: one["asset"]["id"] != taken["asset"]["id"]
    )
    assert (match["why"], match["recorded_by"]) == ("unclear", None)
    assert f"asset {match['asset']['id']}; fault: cut-after" in upstream.outcomes()
    assert (other["asset"]["id"], other["recorded_by"]) == (taken["asset"]["id"], taken["id"])
    words = run(folder, "settle", "--stage", "prod", upload_id)
    assert f"{match['asset']['id']} (unclear, not owned; made " in words.out
    assert "--asset ID" in words.out
    assert "X-Amz" not in words.out + words.err


def test_settle_sorts_matches_by_time(api: Api, upstream: RunningUpstream, folder: Path) -> None:
    """The matches nearest in time come first, and those older than the upload are marked."""
    upload_id = undecided(api, upstream)
    (match,) = operator(folder, upload_id).document["matches"]
    sent = datetime.fromisoformat(operator(folder, upload_id).document["firstPostAt"])
    items = []
    for number, seconds in enumerate((600, -40, 5, None, -70)):
        created = (sent + timedelta(seconds=seconds)).isoformat() if seconds else "recently"
        items.append({**match["asset"], "id": f"asset-{number}", "url": None, "createdAt": created})
    body = json.dumps({"items": items})
    upstream.order({"kind": "answer", "status": 200, "body": body}, "GET", "/v2/assets", times=None)
    found = operator(folder, upload_id).document["matches"]
    text = run(folder, "settle", "--stage", "prod", upload_id).out
    upstream.call("DELETE", "/_sandbox/faults")
    assert [one["asset"]["id"][-1] for one in found] == list("21403")
    assert [one["is_older"] for one in found] == [False, True, True, False, False]
    assert found[-1]["seconds"] is None
    lines = {line.split(" (")[0].strip(): line for line in text.splitlines() if "asset-" in line}
    assert " s after the first registration)" in lines["asset-2"]
    assert "before the first registration, OLDER than the upload)" in lines["asset-1"]
    assert "made at an unknown time)" in lines["asset-3"]


def test_settle_records_asset(api: Api, upstream: RunningUpstream, folder: Path) -> None:
    """Settle records the asset that the operator names, as the broker would."""
    upload_id = undecided(api, upstream)
    (match,) = operator(folder, upload_id).document["matches"]
    asset_id = match["asset"]["id"]
    assert open_uploads(api) == 1
    result = operator(folder, upload_id, "--asset", asset_id)
    assert result.code == 0, result.err
    assert result.document["settled"] == "registered"
    assert api.call("GET", f"/assets/{asset_id}").json()["id"] == upload_id
    assert api.complete({"id": upload_id}).json()["asset"]["id"] == asset_id
    assert open_uploads(api) == 0
    again = operator(folder, upload_id, "--asset", asset_id)
    assert again.code == 1
    assert "The upload is registered, so there is nothing to settle." in again.err


# Escape sequences that clear the screen and set a colour, the latter also with the C1 character;
# bidirectional controls (U+061C, U+200F, U+202E, U+2066); a delete, a new line, a lone surrogate.
HOSTILE = "\x1b[2J\x1b[31m\x9b31m\u061c\u200f\u202e\u2066gpj\x7f\nupload 0: registered\ud800"


def test_settle_escapes_asset_names(api: Api, upstream: RunningUpstream, folder: Path) -> None:
    """The name of an asset can't control the operator's terminal."""
    upload_id = undecided(api, upstream)
    asset = operator(folder, upload_id).document["matches"][0]["asset"]
    body = json.dumps({"items": [{**asset, "name": HOSTILE, "url": None}]})
    fault = {"kind": "answer", "status": 200, "body": body}
    upstream.order(fault, "GET", "/v2/assets", times=None)
    result = run(folder, "settle", "--stage", "prod", upload_id)
    as_json = operator(folder, upload_id)
    upstream.call("DELETE", "/_sandbox/faults")
    assert (result.code, as_json.code) == (0, 0)
    for text in (result.out, result.err, as_json.out, as_json.err):
        assert all(line.isprintable() for line in text.split("\n"))
    [line] = [line for line in result.out.split("\n") if asset["id"] in line]
    shown = (
        r"name \x1b[2J\x1b[31m\x9b31m\u061c\u200f\u202e\u2066gpj\x7f\nupload 0: registered\ud800"
    )
    assert shown in line
    [found] = as_json.document["matches"]
    assert found["asset"]["name"] == HOSTILE


def test_terminal_escapes_problems() -> None:
    """A problem's message and advice are escaped, and each is one line."""
    err = StringIO()
    terminal = Terminal(StringIO(), err, as_json=False)
    terminal.hide("a\x1bsecret")
    terminal.failed(
        "settle", Problem("It is \x1b[8mhidden\nsettle: fine\x85.", "a\x1bsecret\u2069")
    )
    assert err.getvalue() == ("settle: It is \\x1b[8mhidden\\nsettle: fine\\x85.\n***\\u2069\n")


def open_uploads(api: Api) -> int:
    """Return the number of the caller's open uploads, as its quota counts them."""
    quota: dict[str, int] = api.call("GET", "/limits").json()["openUploads"]
    return quota["limit"] - quota["left"]


def check_still_undecided(api: Api, upload_id: str) -> None:
    """Check that the upload is unchanged, and that the broker still reconciles it."""
    log.configure("INFO", api.broker.log)  # the command has silenced the log
    before = len(api.broker.lines("outcome_undecided"))
    assert api.complete({"id": upload_id}).status_code == 202
    assert len(api.broker.lines("outcome_undecided")) == before + 1


def test_settle_refuses_asset_of_another_upload(
    api: Api, upstream: RunningUpstream, folder: Path
) -> None:
    """Settle refuses an asset that another upload owns."""
    taken = api.registered()["asset"]["id"]
    upload_id = undecided(api, upstream)
    result = operator(folder, upload_id, "--asset", taken)
    assert result.code == 1
    assert f"The asset {taken} belongs to another upload." in result.err
    check_still_undecided(api, upload_id)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "AUDIO"}, "Its type is AUDIO, but the upload's is VIDEO."),
        ({"size": 10**12}, "It has 1000000000000 bytes"),
        ({"size": 0}, "It has 0 bytes"),
        ({"createdAt": "2020-01-01T00:00:00Z"}, "before the registration was sent"),
        (None, "Sync has no asset"),
    ],
    ids=["type", "size", "empty", "older", "unknown"],
)
def test_settle_refuses_unfit_asset(
    api: Api,
    upstream: RunningUpstream,
    folder: Path,
    change: dict[str, Any] | None,
    words: str,
) -> None:
    """Settle refuses an asset that can't belong to the upload, and the broker still reconciles."""
    upload_id = undecided(api, upstream)
    (match,) = operator(folder, upload_id).document["matches"]
    asset_id = match["asset"]["id"] if change else "0" * 8 + "-0000-4000-8000-" + "0" * 12
    if change:
        body = {**match["asset"], **change}
        response = {"kind": "answer", "status": 200, "body": body}
        upstream.order(response, "GET", f"/v2/assets/{asset_id}", times=1)
    result = operator(folder, upload_id, "--asset", asset_id)
    assert result.code == 1
    assert words in result.err
    check_still_undecided(api, upload_id)


def test_settle_without_sync_exits_with_3(
    api: Api, upstream: RunningUpstream, folder: Path
) -> None:
    """If Sync can't be reached, the exit code is 3, and the upload is unchanged."""
    upload_id = undecided(api, upstream)
    upstream.order({"kind": "answer", "status": 503, "body": {}}, "GET", "*", times=None)
    for more in ((), ("--asset", "any")):
        result = operator(folder, upload_id, *more)
        assert result.code == 3, result.err
    upstream.call("DELETE", "/_sandbox/faults")
    check_still_undecided(api, upload_id)


def settler(folder: Path, api: Api) -> settle.Settler:
    """Return a settler that uses the broker's clock."""
    stage = stages.read(folder, "prod")
    terminal = Terminal(StringIO(), StringIO(), as_json=False)
    return settle.settler(stage.environment, cached_account(), terminal, api.broker.clock)


def test_settle_fails_upload_after_settle_time(
    api: Api, upstream: RunningUpstream, folder: Path
) -> None:
    """Settle fails an upload only after the settle time, and releases its quota."""
    upload_id = undecided(api, upstream)
    early = operator(folder, upload_id, "--failed")
    assert early.code == 1
    assert "Sync may still carry out the registration until 20" in early.err
    check_still_undecided(api, upload_id)
    api.broker.clock.advance(151)
    one = settler(folder, api)
    one.fail(one.read(upload_id))
    assert api.complete({"id": upload_id}).json()["code"] == "file_rejected"
    assert api.call("GET", f"/uploads/{upload_id}").json()["status"] == "failed"
    assert open_uploads(api) == 0
    with pytest.raises(Problem, match="nothing to settle"):
        one.fail(one.read(upload_id))


def test_settle_refuses_leased_upload(api: Api, upstream: RunningUpstream, folder: Path) -> None:
    """Settle refuses an upload while an attempt of the broker holds the lease."""
    upload_id = undecided(api, upstream)
    one = settler(folder, api)
    seen = one.read(upload_id)
    one._lease(seen)  # noqa: SLF001 - stands for an attempt of the broker that is running
    result = operator(folder, upload_id, "--asset", "any")
    assert result.code == 1
    assert "The broker is working on this upload now." in result.err


def test_settle_refuses_pending_or_unknown_upload(api: Api, folder: Path) -> None:
    """Settle refuses an upload that is pending, and one that does not exist."""
    upload = api.begin()
    shown = operator(folder, upload["id"])
    assert (shown.code, shown.document["matches"]) == (0, [])
    result = operator(folder, upload["id"], "--failed")
    assert result.code == 1
    assert "The upload is pending" in result.err
    missing = operator(folder, "0" * 32)
    assert missing.code == 1
    assert "There is no upload" in missing.err
