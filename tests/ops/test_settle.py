"""`python -m ops settle`: an upload whose outcome is unknown, decided by a person."""

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from chalicelib.aws import clients
from chalicelib.core import log
from ops import settle
from ops import stage as stages
from ops.terminal import Problem, Terminal
from tests.ops.shell import KEY, SECRETS, Said, known, run
from tests.support.emulated_aws import EmulatedAws
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream, put

TABLE = "sync-upload-broker-prod"


@pytest.fixture(scope="module")
def broker(
    aws: EmulatedAws, folder_of_all: Path, upstream: RunningUpstream
) -> Iterator[RunningBroker]:
    """The broker's own code over the stage's table."""
    # The first file takes sync.'s stand-in longer than the tests' broker waits.
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
        assert run(folder_of_all, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
        started = RunningBroker(TABLE)
        yield started
        started.stop()
        clients.session.cache_clear()


@pytest.fixture(scope="module")
def folder_of_all(project: Any) -> Path:
    """The project's folder, for the module."""
    folder: Path = project.folder
    return folder


@pytest.fixture
def api(broker: RunningBroker, shell: EmulatedAws, upstream: RunningUpstream) -> Api:  # noqa: ARG001
    """A caller; sync. tells no addresses, so that a lost registration can't be decided."""
    upstream.call("POST", "/_sandbox/reset")
    upstream.behave(assetUrl="absent")
    broker.configure(upstream, SYNC_API_KEY=KEY)
    return Api(broker)


def undecided(api: Api, upstream: RunningUpstream, data: bytes = b"hello", **more: Any) -> str:
    """Lose the answer of a registration, and return the upload's id."""
    upload = api.landed(data, **more)
    fault = {"kind": "cut", "when": "after"}
    upstream.order(fault, "POST", "/v2/assets", times=1)
    assert api.complete(upload).status_code == 202
    assert api.broker.lines("outcome_undecided")[-1]["uploadId"] == upload["id"]
    found: str = upload["id"]
    return found


def operator(folder: Path, *arguments: str) -> Said:
    """Run the command."""
    return run(folder, "settle", "--stage", "prod", "--json", *arguments)


def test_shows(api: Api, upstream: RunningUpstream, folder: Path) -> None:
    """It shows what is known of the upload, and which assets may be its own; no signed address."""
    api.registered(name="Take 2")
    taken = api.registered()  # sync. tells no name, so it may be one that lost it.
    upload_id = undecided(api, upstream, name="Take 1")
    found = operator(folder, upload_id).document
    assert (found["status"], found["name"], found["settled"]) == ("registering", "Take 1", None)
    candidate, other = found["candidates"]
    assert (candidate["why"], candidate["recorded_by"]) == ("unclear", None)
    assert f"asset {candidate['asset']['id']}; fault: cut-after" in upstream.outcomes()
    assert (other["asset"]["id"], other["recorded_by"]) == (taken["asset"]["id"], taken["id"])
    words = run(folder, "settle", "--stage", "prod", upload_id)
    assert f"{candidate['asset']['id']} (unclear, nobody's): " in words.out
    assert "--asset ID" in words.out
    assert "X-Amz" not in words.out + words.err


def test_asset(api: Api, upstream: RunningUpstream, folder: Path) -> None:
    """The asset that a person names is recorded for good, as the broker would record it."""
    upload_id = undecided(api, upstream)
    (candidate,) = operator(folder, upload_id).document["candidates"]
    asset_id = candidate["asset"]["id"]
    assert open_uploads(api) == 1
    said = operator(folder, upload_id, "--asset", asset_id)
    assert said.code == 0, said.err
    assert said.document["settled"] == "registered"
    assert api.call("GET", f"/assets/{asset_id}").json()["id"] == upload_id
    assert api.complete({"id": upload_id}).json()["asset"]["id"] == asset_id
    assert open_uploads(api) == 0
    again = operator(folder, upload_id, "--asset", asset_id)
    assert again.code == 1
    assert "The upload is registered: there is nothing to settle." in again.err


# Clears the screen; colours; the same as one character of C1; and the directions of U+061C, U+200F,
# U+202E, U+2066. Then a delete, a line of its own, and half of a character.
HOSTILE = "\x1b[2J\x1b[31m\x9b31m\u061c\u200f\u202e\u2066gpj\x7f\nupload 0: registered\ud800"


def test_names_are_escaped(api: Api, upstream: RunningUpstream, folder: Path) -> None:
    """Another program's asset can't write into the operator's terminal by its name."""
    upload_id = undecided(api, upstream)
    asset = operator(folder, upload_id).document["candidates"][0]["asset"]
    body = json.dumps({"items": [{**asset, "name": HOSTILE, "url": None}]})
    fault = {"kind": "answer", "status": 200, "body": body}
    upstream.order(fault, "GET", "/v2/assets", times=None)
    said = run(folder, "settle", "--stage", "prod", upload_id)
    as_json = operator(folder, upload_id)
    upstream.call("DELETE", "/_sandbox/faults")
    assert (said.code, as_json.code) == (0, 0)
    for text in (said.out, said.err, as_json.out, as_json.err):
        assert all(line.isprintable() for line in text.split("\n"))
    [line] = [line for line in said.out.split("\n") if asset["id"] in line]
    shown = (
        r"name \x1b[2J\x1b[31m\x9b31m\u061c\u200f\u202e\u2066gpj\x7f\nupload 0: registered\ud800"
    )
    assert shown in line
    [found] = as_json.document["candidates"]
    assert found["asset"]["name"] == HOSTILE


def test_problem_is_escaped() -> None:
    """What ends a command early is told without escape sequences, and each part in one line."""
    err = StringIO()
    terminal = Terminal(StringIO(), err, as_json=False)
    terminal.hide("a\x1bsecret")
    terminal.failed(
        "settle", Problem("It is \x1b[8mhidden\nsettle: fine\x85.", "a\x1bsecret\u2069")
    )
    assert err.getvalue() == ("settle: It is \\x1b[8mhidden\\nsettle: fine\\x85.\n***\\u2069\n")


def open_uploads(api: Api) -> int:
    """Count the caller's open uploads, as its quota does."""
    told: dict[str, int] = api.call("GET", "/limits").json()["openUploads"]
    return told["limit"] - told["left"]


def still_undecided(api: Api, upload_id: str) -> None:
    """Hold that nothing was moved, and that the broker goes on with it."""
    log.configure("INFO", api.broker.log)  # which the command has silenced
    before = len(api.broker.lines("outcome_undecided"))
    assert api.complete({"id": upload_id}).status_code == 202
    assert len(api.broker.lines("outcome_undecided")) == before + 1


def test_another_uploads_asset(api: Api, upstream: RunningUpstream, folder: Path) -> None:
    """An asset that another upload has recorded is never given to a second one."""
    taken = api.registered()["asset"]["id"]
    upload_id = undecided(api, upstream)
    said = operator(folder, upload_id, "--asset", taken)
    assert said.code == 1
    assert f"The asset {taken} is recorded as another upload's." in said.err
    still_undecided(api, upload_id)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "AUDIO"}, "of the type AUDIO, and the upload of VIDEO"),
        ({"size": 10**12}, "It has 1000000000000 bytes"),
        ({"createdAt": "2020-01-01T00:00:00Z"}, "before the registration was sent"),
        (None, "Sync knows no asset"),
    ],
    ids=["type", "size", "older", "unknown"],
)
def test_can_not_be_it(
    api: Api,
    upstream: RunningUpstream,
    folder: Path,
    change: dict[str, Any] | None,
    words: str,
) -> None:
    """An asset that can't be the upload's is refused, and the broker goes on looking."""
    upload_id = undecided(api, upstream)
    (candidate,) = operator(folder, upload_id).document["candidates"]
    asset_id = candidate["asset"]["id"] if change else "0" * 8 + "-0000-4000-8000-" + "0" * 12
    if change:
        body = {**candidate["asset"], **change}
        answer = {"kind": "answer", "status": 200, "body": body}
        upstream.order(answer, "GET", f"/v2/assets/{asset_id}", times=1)
    said = operator(folder, upload_id, "--asset", asset_id)
    assert said.code == 1
    assert words in said.err
    still_undecided(api, upload_id)


def test_sync_is_down(api: Api, upstream: RunningUpstream, folder: Path) -> None:
    """Where sync. can't be asked, the exit code says so, and nothing is moved."""
    upload_id = undecided(api, upstream)
    upstream.order({"kind": "answer", "status": 503, "body": {}}, "GET", "*", times=None)
    for more in ((), ("--asset", "any")):
        said = operator(folder, upload_id, *more)
        assert said.code == 3, said.err
    upstream.call("DELETE", "/_sandbox/faults")
    still_undecided(api, upload_id)


def settler(folder: Path, api: Api) -> settle.Settler:
    """Make a settler by the broker's clock."""
    stage = stages.read(folder, "prod")
    terminal = Terminal(StringIO(), StringIO(), as_json=False)
    return settle.settler(stage.environment, known(), terminal, api.broker.clock)


def test_failed(api: Api, upstream: RunningUpstream, folder: Path) -> None:
    """Once sync. can't be at it any more, the upload may fail; its open place is given back."""
    upload_id = undecided(api, upstream)
    early = operator(folder, upload_id, "--failed")
    assert early.code == 1
    assert "Sync may still carry out the registration until 20" in early.err
    still_undecided(api, upload_id)
    api.broker.clock.advance(151)
    one = settler(folder, api)
    one.fail(one.read(upload_id))
    assert api.complete({"id": upload_id}).json()["code"] == "file_rejected"
    assert api.call("GET", f"/uploads/{upload_id}").json()["status"] == "failed"
    assert open_uploads(api) == 0
    with pytest.raises(Problem, match="nothing to settle"):
        one.fail(one.read(upload_id))


def test_broker_at_it(api: Api, upstream: RunningUpstream, folder: Path) -> None:
    """While an attempt of the broker's holds the lease, nobody else decides."""
    upload_id = undecided(api, upstream)
    one = settler(folder, api)
    seen = one.read(upload_id)
    one._lease(seen)  # noqa: SLF001 - as an attempt that takes its time
    said = operator(folder, upload_id, "--asset", "any")
    assert said.code == 1
    assert "The broker is working on this upload now." in said.err


def test_not_undecided(api: Api, folder: Path) -> None:
    """Of an upload that is pending, or of none, there is nothing to decide."""
    upload = api.begin()
    shown = operator(folder, upload["id"])
    assert (shown.code, shown.document["candidates"]) == (0, [])
    said = operator(folder, upload["id"], "--failed")
    assert said.code == 1
    assert "The upload is pending" in said.err
    missing = operator(folder, "0" * 32)
    assert missing.code == 1
    assert "There is no upload" in missing.err
