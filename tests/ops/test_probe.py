"""`python -m ops probe`: its limits, its files, its output, and what it keeps secret."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops import probe
from ops.probing.calls import MAX_PRESIGNS, Call, Caller, NotDone, is_usable
from ops.terminal import Problem
from tests.ops.probing import PROJECT, ask, assets, environment, registrations, reset
from tests.ops.shell import KEY, SECRETS, run
from tests.support.clocks import ManualClock
from tests.support.emulated_aws import EmulatedAws
from tests.support.hasty_clock import HastyClock
from tests.support.scripted_sync import Received, Reply, ScriptedSync
from tests.support.upstream_process import RunningUpstream

ALLOWED = re.compile(
    r"POST /v2/assets(/upload)?|GET /v2/(assets|assets/uploaded|projects)"
    r"|(GET|HEAD|DELETE) /v2/assets/[0-9a-f-]{36}|GET /v2/assets/not-an-id-of-an-asset"
    r"|(PUT|OPTIONS) /storage/[0-9a-f]{32}/sync-upload-broker-probe-[0-9a-f]{16}%28\d%29\.wav"
)


@pytest.fixture
def shell_variables(upstream: RunningUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of an operator who has a key and no stage."""
    for name in ("SYNC_API_KEY", "SYNC_BASE_URL", "NO_PROXY"):
        monkeypatch.setenv(name, environment(upstream)[name])


def test_probe_makes_allowed_calls_only(upstream: RunningUpstream, tmp_path: Path) -> None:
    """A run makes no call but the allowed ones, none of which costs anything."""
    reset(upstream)
    ask(upstream.url, tmp_path, project=None)
    sent = {f"{one['method']} {one['path']}" for one in upstream.journal()}
    assert [one for one in sent if not ALLOWED.fullmatch(one)] == []
    assert "GET /v2/projects" in sent
    paths = {path for _, path in (call.value for call in Call)}
    assert not any(word in path for path in paths for word in ("generat", "tts", "voice", "batch"))


@pytest.mark.parametrize(
    "asset_id", ["", ".", "..", "../generate", "a/b", "a?b", "%2e%2e", "upload", "batch", "a" * 129]
)
def test_asset_id_stays_in_its_segment(asset_id: str) -> None:
    """An id that Sync returns can't lead a call to another path."""
    assert not is_usable(asset_id)
    caller = Caller("http://127.0.0.1:9", KEY, ManualClock(), 60)
    with pytest.raises(NotDone, match="was not sent"):
        caller.send(Call.DELETE, asset_id)


def test_busy_presign_is_repeated_after_its_wait(upstream: RunningUpstream, tmp_path: Path) -> None:
    """After a 429 a presign is repeated once its wait is over, and it counts."""
    reset(upstream)
    busy = {"kind": "answer", "status": 429, "body": {}, "headers": {"Retry-After": "7"}}
    upstream.order(busy, "POST", "/v2/assets/upload", times=2)
    clock = HastyClock()
    report = ask(upstream.url, tmp_path, clock)
    assert clock.waits.count(7.0) == 2
    assert report.outcome.presigns == 11
    assert probe.exit_code(report) == 0
    assert "expiresIn" in report.findings.behavior


def test_presigns_are_bounded(upstream: RunningUpstream, tmp_path: Path) -> None:
    """A run with many 429s ends at the largest number of presigns, and reports what is missing."""
    reset(upstream)
    busy = {"kind": "answer", "status": 429, "body": {}, "headers": {"Retry-After": "1"}}
    upstream.order(busy, "POST", "/v2/assets/upload", times=None)
    report = ask(upstream.url, tmp_path)
    sent = [one for one in upstream.journal() if one["path"] == "/v2/assets/upload"]
    assert len(sent) == report.outcome.presigns == MAX_PRESIGNS
    assert probe.exit_code(report) == 3
    assert "notUploadedStatus" in report.findings.undecided
    assert registrations(upstream) == ["refused: 422"]


class HurriedClock(ManualClock):
    """A clock that advances by two seconds at each reading, as if each call took long."""

    def monotonic(self) -> float:
        """Return the time in seconds."""
        self.advance(2)
        return super().monotonic()


def test_run_ends_in_time_and_cleans(upstream: RunningUpstream, tmp_path: Path) -> None:
    """A run that is too slow stops asking in time, and still deletes what it has made."""
    reset(upstream)
    clock = HurriedClock()
    began_at = clock.milliseconds
    report = ask(upstream.url, tmp_path, clock)
    assert assets(upstream) == []
    assert probe.exit_code(report) == 3
    assert any(
        "the time of the run is over" in one for one in report.outcome.evidence.gaps.values()
    )
    assert clock.milliseconds - began_at < 120_000


def test_run_without_time_left_cleans(upstream: RunningUpstream, tmp_path: Path) -> None:
    """If the time ends while an asset exists, the time that is kept for deletions is used."""
    reset(upstream, listLagSeconds=3600, recordsDigest=False)
    report = ask(upstream.url, tmp_path, ManualClock(), seconds=55)
    assert report.outcome.evidence.gaps["delete"] == "was not sent: the time of the run is over"
    assert len(report.outcome.cleaned.deleted) == 1
    assert assets(upstream) == []


def test_lag_is_measured(upstream: RunningUpstream, tmp_path: Path) -> None:
    """The lag is the time until the list showed the asset, whose responses three times lack it."""
    reset(upstream)
    empty_page = {"kind": "answer", "status": 200, "body": {"items": []}}
    upstream.order(empty_page, "GET", "/v2/assets", skip=3, times=3)
    report = ask(upstream.url, tmp_path, ManualClock())
    assert report.findings.behavior["listLagSeconds"] == 1.5


def test_lag_beyond_the_run_is_undecided(upstream: RunningUpstream, tmp_path: Path) -> None:
    """If the list does not show the asset in time, its lag is undecided, and all is deleted."""
    reset(upstream, listLagSeconds=3600)
    report = ask(upstream.url, tmp_path, ManualClock())
    assert "is longer" in report.findings.undecided["listLagSeconds"]
    assert "projectAssetsInUnfilteredList" in report.findings.undecided
    assert assets(upstream) == []


def test_failed_list_decides_nothing(upstream: RunningUpstream, tmp_path: Path) -> None:
    """If a list can't be read, neither its lag nor what it leaves out is guessed."""
    reset(upstream)
    failure = {"kind": "answer", "status": 500, "body": {"message": "no", "statusCode": 500}}
    # A run reads the list at its start, for two 401s, for its first asset, and twice for a project.
    for skipped, missing in ((3, "listLagSeconds"), (5, "projectAssetsInUnfilteredList")):
        upstream.order(failure, "GET", "/v2/assets", skip=skipped, times=1)
        report = ask(upstream.url, tmp_path / missing)
        assert missing in report.findings.undecided
        assert probe.exit_code(report) == 3
        assert assets(upstream) == []


@pytest.fixture
def scripted() -> Iterator[Callable[[Any], ScriptedSync]]:
    """A function that starts a Sync whose responses the test writes."""
    started: list[ScriptedSync] = []

    def start(script: Any) -> ScriptedSync:
        started.append(ScriptedSync(script))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_redirects_are_not_followed(
    scripted: Callable[[Any], ScriptedSync], tmp_path: Path
) -> None:
    """A redirect leads nowhere, and so the key does not either."""
    other = scripted(lambda _: Reply(200))
    away = scripted(lambda _: Reply(307, headers={"Location": f"{other.url}/v2/assets"}))
    with pytest.raises(Problem, match=r"The list of assets returned 307\."):
        ask(away.url, tmp_path)
    assert other.requests == []


@pytest.mark.parametrize(
    "url", ["http://storage.example/one?X-Amz-Signature=abc", "file:///one", "https://u:p@x/one"]
)
def test_insecure_storage_is_not_used(
    scripted: Callable[[Any], ScriptedSync], tmp_path: Path, url: str
) -> None:
    """A presigned URL that is not https gets no bytes."""

    def script(one: Received) -> Reply:
        if one.path == "/v2/assets/upload":
            return Reply(201, {"uploadUrl": url, "url": url.partition("?")[0], "expiresIn": 60})
        return Reply(200, {"items": []}) if one.method == "GET" else Reply(422, {"message": "no"})

    report = ask(scripted(script).url, tmp_path)
    assert "the URL of the presign is not https" in report.outcome.evidence.gaps["put"]
    assert "storageCors" in report.findings.undecided


def test_broken_search_deletes_no_foreign_asset(
    scripted: Callable[[Any], ScriptedSync], tmp_path: Path
) -> None:
    """If the search ignores its query and assets have no names, nothing is deleted."""
    foreign = {"id": "foreign", "createdAt": "2026-01-01T00:00:00Z", "type": "AUDIO"}

    def script(one: Received) -> Reply | None:
        if one.method == "POST" and one.path == "/v2/assets":
            return None  # the outcome is unknown
        if one.path == "/v2/assets/upload":
            return Reply(400, {"message": "no"})
        return Reply(200, {"items": [foreign], "asset": None})

    server = scripted(script)
    report = ask(server.url, tmp_path)
    assert report.outcome.cleaned.open_count == 1
    assert server.count("GET", "/v2/assets") > 3
    assert not [one for one in server.requests if one.method == "DELETE"]


def test_report_masks_what_sync_quotes(upstream: RunningUpstream, tmp_path: Path) -> None:
    """Neither the key nor a signature nor markup that Sync quotes gets into the report."""
    reset(upstream)
    text = f"<b>{KEY}|</b> `x` https://s.example/o?X-Amz-Signature=0abc&X-Amz-Credential=me \x1b[2J"
    body = {"message": text, "errorCode": "a|b", "statusCode": 400}
    fault = {"kind": "answer", "status": 400, "body": body}
    upstream.order(fault, "GET", "/v2/assets/not-an-id-of-an-asset")
    # No key was sent with the second request, but Sync knows it.
    upstream.order({**fault, "body": f"not {KEY}"}, "GET", "/v2/assets", skip=1)
    ask(upstream.url, tmp_path)
    words = (tmp_path / "report.md").read_text()
    assert '400 "not ***"' in words
    expected = "400 `a&#124;b` \"&#60;b&#62;***&#124;&#60;/b&#62; 'x' https://s.example/o?***"
    assert expected in words
    assert "0abc" not in words
    assert "\x1b" not in words
    assert (tmp_path / "journal.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("shell_variables")
@pytest.mark.parametrize(("status", "code"), [(401, 3), (402, 3), (403, 3), (500, 3), (302, 3)])
def test_refused_key_exits_with_3(
    upstream: RunningUpstream,
    tmp_path: Path,
    status: int,
    code: int,
) -> None:
    """If Sync refuses the key or fails at once, the command asks nothing more and exits with 3."""
    reset(upstream)
    upstream.order({"kind": "answer", "status": status, "body": "x"}, "GET", "/v2/assets")
    result = run(tmp_path, "probe", "--out", str(tmp_path / "out"), "--json")
    assert (result.code, result.document["exitCode"]) == (code, code)
    assert len(upstream.journal()) == 1


def test_unreachable_sync_exits_with_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Sync can't be reached, the command exits with 3."""
    monkeypatch.setenv("SYNC_API_KEY", KEY)
    monkeypatch.setenv("SYNC_BASE_URL", "http://127.0.0.1:9")
    result = run(tmp_path, "probe")
    assert result.code == 3
    assert "Sync can't be reached" in result.err


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "There is no Sync API key."),
        ({"SYNC_API_KEY": "a b"}, "SYNC_API_KEY must be"),
        ({"SYNC_API_KEY": KEY, "SYNC_BASE_URL": "http://sync.example"}, "SYNC_BASE_URL must be"),
    ],
    ids=["no key", "key", "URL"],
)
def test_bad_environment_exits_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    """A missing key, a malformed one and a URL without https are usage errors."""
    for name in ("SYNC_API_KEY", "SYNC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = run(tmp_path, "probe")
    assert result.code == 2
    assert words in result.err
    assert list(tmp_path.iterdir()) == []


def test_probe_uses_the_stage(
    empty: EmulatedAws, upstream: RunningUpstream, folder: Path, tmp_path: Path
) -> None:
    """With --stage, the key, the URL and the origin are the stage's."""
    assert empty.url
    reset(upstream)
    missing = run(folder, "probe", "--stage", "prod", "--out", str(tmp_path / "out"))
    assert missing.code == 1
    assert "The stage has no valid Sync API key." in missing.err
    stored = run(
        folder,
        "provision",
        "--stage",
        "prod",
        "--secrets-from-stdin",
        "--secrets-only",
        stdin=SECRETS,
    )
    assert stored.code == 0, stored.err
    result = run(folder, "probe", "--stage", "prod", "--out", str(tmp_path / "out"), "--json")
    assert result.code == 0, result.err
    assert result.document["baseUrl"] == upstream.url
    assert result.document["behavior"]["storageCors"] is True
    assert "preflight from https://app.example.com" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.usefixtures("shell_variables")
def test_dry_run_asks_nothing(upstream: RunningUpstream, tmp_path: Path) -> None:
    """A dry run lists requests and questions, sends nothing and writes nothing."""
    reset(upstream)
    result = run(tmp_path, "probe", "--dry-run")
    assert result.code == 0
    assert f"Would ask {upstream.url}, with at most {MAX_PRESIGNS} presigns:" in result.out
    assert "  May a page of another origin PUT to storage?" in result.out
    document = run(tmp_path, "probe", "--dry-run", "--json").document
    assert len(document["questions"]) + len(document["notAsked"]) > 30
    assert upstream.journal() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("shell_variables")
def test_result_is_text_or_json(upstream: RunningUpstream, tmp_path: Path) -> None:
    """The result is text that names the files, or JSON with the same; progress is beside it."""
    reset(upstream)
    words = run(tmp_path, "probe", "--project", PROJECT)
    assert words.code == 0, words.err
    assert re.search(r"^expiresIn +3600$", words.out, re.MULTILINE)
    assert f"Read {tmp_path / 'sync-probe' / 'report.md'}." in words.out
    assert "DELETE /v2/assets/{id} of what is left" in words.err
    document = run(tmp_path, "probe", "--project", PROJECT, "--json").document
    written = json.loads((tmp_path / "sync-probe" / "behavior.json").read_text())
    assert document["behavior"] == written
    assert document["presigns"] == 9
    assert len(document["deleted"]) == 5
    assert document["left"] == []


@pytest.mark.usefixtures("shell_variables")
def test_compare_reports_differences(upstream: RunningUpstream, tmp_path: Path) -> None:
    """--compare exits with 1 and lists what Sync does otherwise than an earlier run saw."""
    reset(upstream)
    out = tmp_path / "sync-probe"
    assert run(tmp_path, "probe").code == 0
    (tmp_path / "before.json").write_text((out / "behavior.json").read_text())
    again = ("probe", "--json", "--compare", str(tmp_path / "before.json"))
    same = run(tmp_path, *again)
    assert (same.code, same.document["differences"]) == (0, {})
    assert "Nothing differs." in (out / "report.md").read_text()
    upstream.behave(duplicateUrl="same", expiresIn=60)
    changed = run(tmp_path, *again)
    assert changed.code == 1
    assert changed.document["differences"] == {
        "duplicateUrl": {"file": "new", "seen": "same"},
        "expiresIn": {"file": 3600, "seen": 60},
    }
    assert "| `expiresIn` | `3600` | `60` |" in (out / "report.md").read_text()
    words = run(tmp_path, *again[:1], *again[2:]).out
    assert "2 behaviours differ from the file." in words
    assert "  expiresIn: 60, in the file 3600" in words


@pytest.mark.usefixtures("shell_variables")
def test_compare_lists_what_only_one_has(upstream: RunningUpstream, tmp_path: Path) -> None:
    """--compare says why a behaviour that only the file or only the run has was not compared."""
    reset(upstream)
    file = tmp_path / "before.json"
    before = {"expiresIn": 60, "oversizeStatus": 413, "rateWindow": "fixed"}
    file.write_text(json.dumps(before))
    again = ("probe", "--compare", str(file))
    made = run(tmp_path, *again, "--json").document
    assert set(made["differences"]) == {"expiresIn"}
    reasons = made["notCompared"]
    assert set(reasons) == (set(before) | set(made["behavior"])) - {"expiresIn"}
    assert "was not refused" in reasons["oversizeStatus"]
    assert reasons["rateWindow"] == "The limit of presigns would have to be used up."
    assert reasons["duplicateUrl"] == "The file does not have it."
    words = run(tmp_path, *again).out
    assert "1 behaviour differs from the file." in words
    assert "Not compared:\n  oversizeStatus: " in words
    report = (tmp_path / "sync-probe" / "report.md").read_text()
    assert "| `duplicateUrl` | The file does not have it. |" in report


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("https://app.example.com/page", "Write https://app.example.com in place"),
        ("https://a.example.com,https://b.example.com", "Write one origin."),
        ("*", "Write one origin."),
        ("", "Write one origin."),
        ("https://[::1", "Write an origin such as https://app.example.com"),
    ],
)
def test_origin_is_exact(
    tmp_path: Path, origin: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """--origin refuses what no browser sends, and names the right form."""
    assert run(tmp_path, "probe", "--origin", origin).code == 2
    assert words in capsys.readouterr().err


@pytest.mark.usefixtures("shell_variables")
@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), ("{", "is not valid"), ('{"expiresIn": 0}', "expiresIn must be")],
    ids=["missing", "no JSON", "value"],
)
def test_bad_file_to_compare_exits_with_2(
    tmp_path: Path,
    content: str | None,
    words: str,
) -> None:
    """A file to compare with that can't be used is a usage error, before anything is asked."""
    file = tmp_path / "before.json"
    if content is not None:
        file.write_text(content)
    result = run(tmp_path, "probe", "--compare", str(file))
    assert result.code == 2
    assert words in result.err


@pytest.mark.parametrize("name", ["report.md", "behavior.json", "journal.jsonl"])
def test_foreign_files_are_not_replaced(
    upstream: RunningUpstream, tmp_path: Path, name: str
) -> None:
    """A file that the probe did not write, or that was changed since, is not replaced."""
    reset(upstream)
    (tmp_path / name).write_text("mine\n")
    with pytest.raises(Problem, match="is not the output of an earlier probe") as caught:
        ask(upstream.url, tmp_path)
    assert caught.value.code == 2
    assert (tmp_path / name).read_text() == "mine\n"
    assert upstream.journal() == []


def test_own_files_are_replaced_until_changed(upstream: RunningUpstream, tmp_path: Path) -> None:
    """A run replaces the files of an earlier one, unless a person has changed them."""
    reset(upstream)
    ask(upstream.url, tmp_path)
    upstream.behave(expiresIn=60)
    ask(upstream.url, tmp_path)
    file = tmp_path / "behavior.json"
    assert json.loads(file.read_text())["expiresIn"] == 60
    file.write_text(file.read_text().replace("60", "61"))
    with pytest.raises(Problem, match=r"behavior\.json is not the output"):
        ask(upstream.url, tmp_path)


@pytest.mark.parametrize("kept", [0, 10, 62, 100])
def test_cut_journal_is_continued(upstream: RunningUpstream, tmp_path: Path, kept: int) -> None:
    """A journal whose last line was cut off is continued on a new line."""
    reset(upstream)
    ask(upstream.url, tmp_path / "a")
    journal = (tmp_path / "a" / "journal.jsonl").read_bytes()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "journal.jsonl").write_bytes(journal[:kept])
    ask(upstream.url, tmp_path / "b")
    lines = (tmp_path / "b" / "journal.jsonl").read_bytes()[kept:].splitlines()
    assert all(json.loads(line) for line in lines if line)
    assert ask(upstream.url, tmp_path / "b").outcome.recovered.open_count == 0


def test_folder_is_used_by_one_probe(upstream: RunningUpstream, tmp_path: Path) -> None:
    """A second probe in the same folder stops at once."""
    reset(upstream)
    second: list[Problem] = []

    class Meddler(HastyClock):
        def sleep(self, seconds: float) -> None:
            with pytest.raises(Problem, match="Another probe uses") as caught:
                ask(upstream.url, tmp_path)
            second.append(caught.value)
            super().sleep(seconds)

    upstream.behave(recordsDigest=False)  # so that the run waits
    ask(upstream.url, tmp_path, Meddler())
    assert [one.code for one in second] == [2]


def test_sharing_upstream_with_older_asset(upstream: RunningUpstream, tmp_path: Path) -> None:
    """If Sync returns an older asset for an empty object, that asset is not deleted."""
    reset(upstream)
    older = {"id": "older", "createdAt": "2020-01-01T00:00:00Z", "type": "VIDEO", "name": "mine"}
    fault = {"kind": "answer", "status": 201, "body": older}
    upstream.order(fault, "POST", "/v2/assets", skip=4)
    report = ask(upstream.url, tmp_path)
    assert "refused: asset_not_found" not in upstream.outcomes()[5:]
    assert "/v2/assets/older" not in {one["path"] for one in upstream.journal()}
    assert report.findings.behavior["emptyObject"] == "registered"
    assert assets(upstream) == []
