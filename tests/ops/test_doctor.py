"""`python -m ops doctor` on a stage that `chalice deploy` deployed."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from chalicelib.aws import clients
from chalicelib.aws.table import Table
from chalicelib.core.clock import MINUTE, Clock
from chalicelib.core.errors import RateLimited
from chalicelib.ratelimit.limiter import RateLimiter
from ops import deployment, doctor
from ops import stage as stages
from ops.checks import api, functions, identity, storage, upstream
from ops.checks.findings import Finding, State, Target
from ops.terminal import Terminal
from tests.ops.aws_proxy import AwsProxy, Response
from tests.ops.shell import KEY, SECRETS, cached_account, commit, not_ok, run
from tests.support.emulated_aws import EmulatedAws
from tests.support.imported_api import ImportingGateway
from tests.support.project import ORIGIN, Project
from tests.support.running_broker import RunningBroker
from tests.support.upstream_process import ROOT, RunningUpstream

NAME = "sync-upload-broker-prod"
SWEEP = f"{NAME}-sweep"
RATE_LIMIT_KEY = {"pk": {"S": "limit#presigns"}}
PARTS = {"account", "deployment", "settings", "table", "parameters", "functions", "policy", "api"}
PARTS |= {"Sync", "storage", "schedule", "package"}


def active(forward: Callable[[], Response]) -> Response:
    """Report a function as active; the emulator does so only after a call."""
    status, response = forward()
    return status, response | ({"State": "Active"} if "State" in response else {})


@pytest.fixture(scope="module", autouse=True)
def url(aws: EmulatedAws, project: Project, proxy: AwsProxy) -> str:
    """Provision and deploy the stage once, and return the API's URL."""
    # boto3 waits until a function is active, and polls every five seconds.
    proxy.rules["GET ['functions']"] = active
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        piped = ("--secrets-from-stdin", "--json")
        assert run(project.folder, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
        gateway = ImportingGateway(aws)
        environment = {**aws.environment, "AWS_ENDPOINT_URL_API_GATEWAY": gateway.url}
        environment["AWS_ENDPOINT_URL_LAMBDA"] = proxy.url
        project.chalice("deploy", "--stage", "prod", **environment)
        gateway.stop()
    commit(project.folder, ".chalice")
    record = json.loads((project.folder / ".chalice" / "deployed" / "prod.json").read_text())
    (api_,) = [one for one in record["resources"] if one["name"] == "rest_api"]
    return aws.api(api_["rest_api_id"])


@pytest.fixture(autouse=True)
def reset_state(shell: EmulatedAws, upstream: RunningUpstream) -> None:
    """Remove the stand-in's faults, and the rate limiter's state."""
    upstream.call("POST", "/_sandbox/reset")
    shell.client("dynamodb").delete_item(TableName=NAME, Key=RATE_LIMIT_KEY)


@pytest.fixture
def target(folder: Path, url: str) -> Target:
    """The deployed stage, with the results of earlier checks."""
    stage = stages.read(folder, "prod")
    terminal = Terminal(io.StringIO(), io.StringIO(), as_json=False)
    known_secrets = {"SYNC_API_KEY": KEY}
    found = deployment.from_record(stage)
    return Target(stage, cached_account(), terminal, found, url, known_secrets, aws_ahead=0)


def with_settings(target: Target, **settings: str) -> Target:
    """Return a target whose stage and deployment have other settings."""
    environment = {**target.stage.environment, **settings}
    assert target.deployment is not None
    return replace(
        target,
        stage=replace(target.stage, environment=environment),
        deployment=replace(target.deployment, environment=environment),
    )


def wrong(check: Callable[[Target], Iterator[Finding]], target: Target) -> list[Finding]:
    """Run a check, and return the findings that are not OK; each of them has advice."""
    found = [one for one in check(target) if one.state is not State.OK]
    assert all(one.advice for one in found), found
    return found


def test_doctor_accepts_deployed_stage(folder: Path, url: str) -> None:
    """The doctor finds nothing wrong with a stage that was provisioned and deployed."""
    result = run(folder, "doctor", "--stage", "prod", "--url", url, "--json")
    found = result.document["findings"]
    assert not_ok(found) == []
    assert {one["check"] for one in found} == PARTS
    assert result.code == result.document["exitCode"] == 0
    assert "Checking: policy ..." in result.err


def test_doctor_finds_functions_by_name(folder: Path, url: str, tmp_path: Path) -> None:
    """Without Chalice's record, the doctor finds the functions by Chalice's names."""
    kept = shutil.ignore_patterns("deployed", "deployments")
    shutil.copytree(folder, tmp_path / "clone", ignore=kept)
    more = ("--url", url, "--json", "--no-presign")
    found = run(tmp_path / "clone", "doctor", "--stage", "prod", *more).document["findings"]
    record, skipped = not_ok(found)
    assert (record["subject"], record["state"]) == ("record", "warning")
    assert "Do not run `chalice deploy`" in record["advice"]
    assert "If Terraform deploys the stage, this is right." in record["advice"]
    assert skipped["detail"] == "by --no-presign"
    assert {one["check"] for one in found} == PARTS
    (one,) = [one for one in found if one["subject"] == "from another folder"]
    assert (one["check"], one["detail"]) == ("deployment", url)


def test_uncommitted_record_is_a_warning(folder: Path, url: str, tmp_path: Path) -> None:
    """The doctor warns if git would not give other clones the record as it is now."""
    clone = tmp_path / "clone"
    shutil.copytree(folder, clone, ignore=shutil.ignore_patterns("deployments"))
    doctor_ = ("doctor", "--stage", "prod", "--url", url, "--json", "--no-presign")
    assert [one["state"] for one in not_ok(run(clone, *doctor_).document["findings"])] == [
        "skipped"
    ]
    record = clone / ".chalice" / "deployed" / "prod.json"
    record.write_text(record.read_text() + "\n")
    changed = run(clone, *doctor_)
    (found, _) = not_ok(changed.document["findings"])
    assert (found["check"], found["subject"], found["state"]) == (
        *("deployment", "record"),
        "warning",
    )
    assert found["detail"] == ".chalice/deployed/prod.json is not committed as it is now"
    assert "git add .chalice/deployed && git commit" in found["advice"]
    assert changed.code == 0
    subprocess.run(["git", "rm", "-q", "--cached", str(record)], cwd=clone, check=True)
    (found, _) = not_ok(run(clone, *doctor_).document["findings"])
    assert found["state"] == "warning"


def test_text_output_counts_findings(folder: Path, url: str) -> None:
    """The text output lists the findings, and its last line counts them."""
    result = run(folder, "doctor", "--stage", "prod", "--url", url, "--no-presign")
    assert result.code == 0, result.out
    assert "\n  ok      deletion protection: on\n" in result.out
    assert "\n  skipped preflight: by --no-presign\n" in result.out
    assert result.out.splitlines()[-1].endswith(" ok, 1 skipped")


def test_unknown_storage_host_is_wrong(target: Target, sync: RunningUpstream) -> None:
    """The doctor names a storage host that SYNC_STORAGE_HOSTS lacks."""
    assert wrong(upstream.storage, target) == []
    (found,) = wrong(upstream.storage, with_settings(target, SYNC_STORAGE_HOSTS="assets.sync.so"))
    assert found.subject == "hosts"
    assert found.advice == f"Add to SYNC_STORAGE_HOSTS: 127.0.0.1:{sync.port}"


def test_storage_without_cors_is_wrong(folder: Path, url: str, upstream: RunningUpstream) -> None:
    """If storage refuses browsers, the doctor advises a relay."""
    upstream.behave(storageCors=False)
    result = run(folder, "doctor", "--stage", "prod", "--url", url)
    assert result.code == 1
    assert f"WRONG   preflight from {ORIGIN}: storage, 127.0.0.1:" in result.out
    assert "docs/relay.md" in result.out
    assert "STORAGE_RELAY" in result.out
    assert upstream.outcomes().count("presigned") == 1
    assert "X-Amz-Signature" not in result.out + result.err


def test_probe_is_compared_with_settings(
    folder: Path, url: str, tmp_path: Path, upstream: RunningUpstream
) -> None:
    """With --behavior, the doctor compares the settings and Sync with what a probe saw."""
    file = tmp_path / "behavior.json"
    command = ("doctor", "--stage", "prod", "--url", url, "--json", "--behavior", str(file))

    def findings(**behaviors: Any) -> dict[str, tuple[str, str, str]]:
        file.write_text(json.dumps(behaviors))
        found = run(folder, *command).document["findings"]
        kept = [one for one in found if one["check"] == "behavior"]
        return {one["subject"]: (one["state"], one["detail"], one["advice"]) for one in kept}

    fine = findings(listLagSeconds=2.0, expiresIn=3600, assetUrl="same")
    states = {name: state for name, (state, _, _) in fine.items()}
    assert states == {"SETTLE_SECONDS": "ok", "expiresIn now": "ok"}
    upstream.behave(storageCors=False)
    bad = findings(listLagSeconds=90, oversizeStatus=422, storageCors=True, deleteForbidden=True)
    states = {name: state for name, (state, _, _) in bad.items()}
    assert states.pop("SETTLE_SECONDS") == states.pop("MAX_UPLOAD_BYTES") == "wrong"
    assert states == {"storageCors now": "warning", "deleteForbidden": "warning"}
    assert bad["SETTLE_SECONDS"][1] == "90, and the list shows a new asset after 90 s"
    assert bad["storageCors now"][1] == f"false, but true in {file}"
    assert bad["storageCors now"][2].endswith(
        f"`python -m ops probe --stage prod --compare {file}`."
    )
    assert "AssetNotDeletedAlarm" in bad["deleteForbidden"][2]
    file.write_text("{")
    assert run(folder, *command).code == 2


@pytest.fixture
def relay(upstream: RunningUpstream) -> Iterator[str]:
    """A relay that allows preflights of one origin, and forwards a PUT."""

    class Handler(BaseHTTPRequestHandler):
        def do_OPTIONS(self) -> None:
            self.send_response(204 if "X-Amz-Signature" in self.path else 404)
            self.send_header("Access-Control-Allow-Origin", ORIGIN)
            self.send_header("Access-Control-Allow-Methods", "PUT")
            self.send_header("Access-Control-Allow-Headers", "content-type")
            self.end_headers()

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kind = {"Content-Type": self.headers["Content-Type"]}
            storage = f"http://127.0.0.1:{upstream.port}{self.path}"
            response = requests.put(storage, body, headers=kind, timeout=9)
            self.send_response(response.status_code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_relay_is_checked_in_place_of_storage(
    target: Target, relay: str, sync: RunningUpstream
) -> None:
    """With STORAGE_RELAY, the doctor checks the relay's CORS, and a PUT through it."""
    sync.behave(storageCors=False)
    assert wrong(upstream.storage, with_settings(target, STORAGE_RELAY=relay)) == []
    origins = f"{ORIGIN},https://other.example.com"
    (found,) = wrong(
        upstream.storage, with_settings(target, STORAGE_RELAY=relay, ALLOWED_ORIGINS=origins)
    )
    assert found.subject == "preflight from https://other.example.com"
    assert f"the relay, {relay[7:]}: it allows {ORIGIN}" in found.detail
    assert "preflight" not in sync.outcomes()
    refused = {"kind": "answer", "status": 403, "body": {}}
    sync.order(refused, "PUT", "*")
    (found,) = wrong(upstream.storage, with_settings(target, STORAGE_RELAY=relay))
    assert (found.subject, found.state) == ("PUT", State.WRONG)
    assert found.detail == f"a byte through the relay, {relay[7:]}: storage returns 403"
    assert "STORAGE_ORIGIN" in found.advice


@pytest.fixture
def sync(request: pytest.FixtureRequest) -> RunningUpstream:
    """The stand-in for Sync, by a name that differs from the module `upstream`."""
    found: RunningUpstream = request.getfixturevalue("upstream")
    return found


def grants(aws: EmulatedAws) -> int:
    """Return the number of presigns that the rate limiter has granted."""
    item = aws.client("dynamodb").get_item(TableName=NAME, Key=RATE_LIMIT_KEY).get("Item", {})
    return sum(name[:1] == "s" and name[1:].isdigit() for name in item)


class MovedClock(Clock):
    """A clock that reads its time from a list."""

    def __init__(self, seconds: list[float]) -> None:
        self._seconds = seconds

    def now(self) -> int:
        """Return the time."""
        return int(self._seconds[0] * 1000)


def test_presign_waits_for_rate_limit(
    target: Target, shell: EmulatedAws, sync: RunningUpstream
) -> None:
    """The doctor's presign counts against the rate limit, and waits for it."""
    clock = [time.time()]
    target = replace(
        with_settings(target, PRESIGNS_PER_MINUTE="1"),
        now=lambda: clock[0],
        sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds),
    )
    began = clock[0]
    assert wrong(upstream.storage, target) == []
    assert grants(shell) == 1
    assert wrong(upstream.storage, target) == []
    assert 60 < clock[0] - began < 75
    assert sync.outcomes().count("presigned") == 2
    limiter = RateLimiter(
        Table(shell.client("dynamodb"), NAME, Clock()),
        MovedClock(clock),
        "presigns",
        1,
        MINUTE,
        busy="Busy.",
    )
    with pytest.raises(RateLimited):
        limiter.acquire("0" * 32)
    (found,) = wrong(upstream.storage, target)
    assert found.state is State.UNKNOWN
    assert found.detail.startswith("no presign: rate_limited")
    assert sync.outcomes().count("presigned") == 2


def test_presign_429_slows_rate_limiter_down(
    target: Target, shell: EmulatedAws, sync: RunningUpstream
) -> None:
    """If Sync returns 429 for the presign, the rate limiter slows down for all callers."""
    sync.behave(presignsPerMinute=0)
    (found,) = wrong(upstream.storage, target)
    assert found.state is State.UNKNOWN
    item = shell.client("dynamodb").get_item(TableName=NAME, Key=RATE_LIMIT_KEY)["Item"]
    assert "slow" in item


@pytest.mark.parametrize(
    ("response", "state", "words"),
    [
        ({"status": 401}, State.WRONG, "--replace-secrets"),
        ({"status": 402}, State.WRONG, "plan"),
        ({"status": 429}, State.UNKNOWN, "again in a minute"),
        ({"status": 503}, State.UNKNOWN, "again in a minute"),
        ({"status": 404}, State.WRONG, "SYNC_BASE_URL"),
        ({"status": 301, "headers": {"Location": "http://127.0.0.1:1/"}}, State.WRONG, "BASE_URL"),
    ],
)
def test_refused_key_has_advice(
    target: Target,
    sync: RunningUpstream,
    response: dict[str, Any],
    state: State,
    words: str,
) -> None:
    """The doctor reports Sync's response to the key with advice, and follows no redirect."""
    sync.order({"kind": "answer", "body": {}, **response}, "GET", "/v2/assets")
    found = [one for one in wrong(upstream.key, target) if one.subject == "key"]
    assert [one.state for one in found] == [state]
    assert words in found[0].advice


@pytest.mark.parametrize(
    ("other", "presigns", "state", "words"),
    [
        (KEY, {"prod": "", "dev": ""}, State.WARNING, "together 240 a minute. Sync allows 120"),
        (KEY, {"prod": "90", "dev": "31"}, State.WARNING, "dev has 31: together 121 a minute"),
        (KEY, {"prod": "90", "dev": "30"}, State.OK, "prod has 90, dev has 30: together 120"),
        (f"{KEY}-2", {"prod": "", "dev": ""}, None, ""),
    ],
)
def test_key_of_two_stages_is_a_warning(
    target: Target,
    shell: EmulatedAws,
    tmp_path: Path,
    other: str,
    presigns: dict[str, str],
    state: State | None,
    words: str,
) -> None:
    """The doctor warns if two stages with one key may exceed its presigns, and prints no key."""
    (tmp_path / ".chalice").mkdir()
    content = json.loads((target.stage.folder / ".chalice" / "config.json").read_text())
    for stage, count in presigns.items():
        content["stages"][stage]["environment_variables"]["PRESIGNS_PER_MINUTE"] = count
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(content))
    target = with_settings(target, PRESIGNS_PER_MINUTE=presigns["prod"])
    target = replace(target, stage=replace(target.stage, folder=tmp_path))
    ssm, name = shell.client("ssm"), "/sync-upload-broker/dev/api-key"
    assert wrong(upstream.key, target) == [], "the other stage has no key yet"
    ssm.put_parameter(Name=name, Value=other, Type="SecureString")
    every = list(upstream.key(target))
    ssm.delete_parameter(Name=name)
    found = [one for one in every if one.subject == "stages with this key"]
    assert [one.state for one in found] == ([state] if state else [])
    assert all(words in one.detail for one in found)
    digest = hashlib.sha256(other.encode()).hexdigest()
    assert not [one for one in every if KEY in str(one) or digest[:8] in str(one)]
    assert doctor.exit_code(every) == 0


@pytest.mark.parametrize(
    ("stage", "words"),
    [("x", "stages.dev must be in braces"), ({"environment_variables": {"A": 1}}, "must be text")],
)
def test_broken_other_stage_is_skipped(
    target: Target, tmp_path: Path, stage: Any, words: str
) -> None:
    """A mistake in another stage's configuration is named, and this stage's key is checked."""
    (tmp_path / ".chalice").mkdir()
    content = json.loads((target.stage.folder / ".chalice" / "config.json").read_text())
    content["stages"]["dev"] = stage
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(content))
    target = replace(target, stage=replace(target.stage, folder=tmp_path))
    found = {one.subject: one for one in upstream.key(target)}
    assert found["key"].state is State.OK
    assert found["key of the stage dev"].state is State.SKIPPED
    assert words in found["key of the stage dev"].detail


def test_unreadable_key_of_other_stage_is_skipped(stage_proxy: AwsProxy, target: Target) -> None:
    """If the key of another stage can't be read, the doctor reports that it was not compared."""
    refusal = {"__type": "AccessDeniedException", "message": "no"}
    stage_proxy.rules["GetParameter"] = lambda _: (400, refusal)
    own = replace(target, account=cached_account())
    (found,) = [one for one in upstream.key(own) if one.state is not State.OK]
    assert (found.subject, found.state) == ("key of the stage dev", State.SKIPPED)
    assert found.detail == "not compared: AWS does not let you call GetParameter: no"


def test_unreachable_sync_is_unknown(url: str, target: Target) -> None:
    """If Sync can't be reached, its checks are unknown, and the exit code is 3."""
    lost = with_settings(target, SYNC_BASE_URL="http://127.0.0.1:9")
    found = doctor.run(replace(lost, deployment=None, url=url), None, may_presign=True)
    states = {one.subject: one.state for one in found if one.check in {"Sync", "storage"}}
    assert set(states.values()) == {State.UNKNOWN}
    assert doctor.exit_code([one for one in found if one.check in {"Sync", "storage"}]) == 3


@pytest.mark.parametrize(("seconds", "is_wrong"), [(200, False), (-400, True)])
def test_sync_clock_skew_is_wrong(
    target: Target, sync: RunningUpstream, seconds: int, *, is_wrong: bool
) -> None:
    """The doctor reports a skew of Sync's clock before it can break reconciliation."""
    date = formatdate(time.time() + seconds, usegmt=True)
    response = {"kind": "answer", "status": 200, "body": {"items": []}, "headers": {"Date": date}}
    sync.order(response, "GET", "/v2/assets")
    assert bool(wrong(upstream.key, target)) is is_wrong


def test_clocks_are_compared_with_aws(target: Target) -> None:
    """The doctor compares this machine's clock and Sync's with AWS's."""
    late = replace(target, now=lambda: time.time() - 120)
    (found,) = wrong(identity.account, late)
    assert found.subject == "clock"
    skew = re.fullmatch(r"AWS's clock differs from this machine's by \+(\d+) s", found.detail)
    assert skew
    assert 119 <= int(skew[1]) <= 130, "120 s, and the duration of the call"
    assert wrong(upstream.key, late) == []


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (None, "", "there is no such parameter"),
        ("two words", "SecureString", "API key, in ASCII without spaces, quotes and backslashes"),
        (KEY, "String", "it is a String, not a SecureString"),
    ],
)
def test_unusable_parameter_is_wrong(
    target: Target, shell: EmulatedAws, value: str | None, kind: str, words: str
) -> None:
    """The doctor names a parameter that is missing, not valid or not encrypted."""
    ssm, name = shell.client("ssm"), "/sync-upload-broker/prod/api-key"
    ssm.delete_parameter(Name=name)
    if value is not None:
        ssm.put_parameter(Name=name, Value=value, Type=kind)
    try:
        target.secrets.clear()
        (found,) = wrong(storage.secrets, target)
        assert "SYNC_API_KEY" not in target.secrets
        (blind,) = wrong(upstream.key, target)
        assert blind.state is State.UNKNOWN
    finally:
        if value is not None:
            ssm.delete_parameter(Name=name)
        ssm.put_parameter(Name=name, Value=KEY, Type="SecureString")
    assert (found.subject, found.state) == (name, State.WRONG)
    assert words in found.detail
    assert "python -m ops provision --stage prod" in found.advice


def test_unprotected_table_is_wrong(target: Target, shell: EmulatedAws) -> None:
    """The doctor names each protection that is off, and the command that turns it on."""
    client = shell.client("dynamodb")
    client.update_table(TableName=NAME, DeletionProtectionEnabled=False)
    recovery = {"PointInTimeRecoveryEnabled": False}
    client.update_continuous_backups(TableName=NAME, PointInTimeRecoverySpecification=recovery)
    found = wrong(storage.table, target)
    assert {one.subject for one in found} == {"deletion protection", "point-in-time recovery"}
    assert {one.advice for one in found} == {"Run `python -m ops provision --stage prod`."}
    assert run(target.stage.folder, "provision", "--stage", "prod").code == 0
    assert wrong(storage.table, target) == []
    (missing,) = wrong(storage.table, with_settings(target, UPLOADS_TABLE="nowhere"))
    assert missing.detail == "there is no such table"


@pytest.mark.parametrize(
    ("change", "back", "subject"),
    [
        ({"MemorySize": 256}, {"MemorySize": 512}, "memory"),
        ({"Timeout": 3}, {"Timeout": 30}, "time-out"),
        (
            {"TracingConfig": {"Mode": "Active"}},
            {"TracingConfig": {"Mode": "PassThrough"}},
            "tracing",
        ),
    ],
)
def test_changed_function_is_wrong(
    target: Target,
    shell: EmulatedAws,
    change: dict[str, Any],
    back: dict[str, Any],
    subject: str,
) -> None:
    """The doctor names a changed property of a function, and the command to deploy again."""
    client = shell.client("lambda")
    client.update_function_configuration(FunctionName=NAME, **change)
    found = wrong(functions.configuration, target)
    client.update_function_configuration(FunctionName=NAME, **back)
    assert [one.subject for one in found] == [f"{NAME}: {subject}"]
    assert "chalice deploy --stage prod" in found[0].advice


def test_changed_architecture_is_wrong(target: Target) -> None:
    """The doctor names the functions whose architecture is not the stage's."""
    wanted = {
        name: replace(one, architecture="riscv") for name, one in target.stage.functions.items()
    }
    elsewhere = replace(target, stage=replace(target.stage, functions=wanted))
    found = wrong(functions.configuration, elsewhere)
    assert [one.subject for one in found] == [f"{NAME}: architecture", f"{SWEEP}: architecture"]
    assert found[0].detail.endswith(", not riscv")


def environment_of(aws: EmulatedAws, **more: str) -> dict[str, Any]:
    """Return an update of the API function's environment with more variables."""
    client = aws.client("lambda")
    found = client.get_function_configuration(FunctionName=NAME)["Environment"]["Variables"]
    return {"FunctionName": NAME, "Environment": {"Variables": {**found, **more}}}


def test_secret_in_environment_is_wrong(target: Target, shell: EmulatedAws) -> None:
    """The doctor names the variable of a function that holds a secret, and not its value."""
    client, before = shell.client("lambda"), environment_of(shell)
    client.update_function_configuration(**environment_of(shell, NOTE=KEY))
    found = wrong(functions.configuration, target)
    client.update_function_configuration(**before)
    details = {one.subject: one.detail for one in found}
    assert details == {
        f"{NAME}: settings": "not as configured: NOTE",
        f"{NAME}: secrets": "unencrypted in NOTE",
    }


def test_stopped_schedule_is_wrong(target: Target, shell: EmulatedAws) -> None:
    """The doctor reports a sweep without an enabled rule, and how to enable the rule."""
    events = shell.client("events")
    (rule,) = [one["Name"] for one in events.list_rules()["Rules"] if NAME in one["Name"]]
    assert wrong(functions.schedule, target) == []
    events.disable_rule(Name=rule)
    (off,) = wrong(functions.schedule, target)
    assert (off.detail, off.advice) == (
        "its rule is disabled",
        f"Run `aws events enable-rule --name {rule}`.",
    )
    targets = events.list_targets_by_rule(Rule=rule)["Targets"]
    events.remove_targets(Rule=rule, Ids=[one["Id"] for one in targets])
    (gone,) = wrong(functions.schedule, target)
    events.put_targets(Rule=rule, Targets=targets)
    events.enable_rule(Name=rule)
    assert gone.detail == "no rule calls it"


def test_changed_policy_is_wrong(target: Target, shell: EmulatedAws) -> None:
    """The doctor lists the extra and the missing permissions of a role."""
    iam, role = shell.client("iam"), f"{NAME}-sweep"
    more = {"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [more]})
    iam.put_role_policy(RoleName=role, PolicyName="by-hand", PolicyDocument=document)
    (found,) = wrong(functions.policy, target)
    assert (found.subject, found.detail) == (role, "it also allows s3:* on *")
    iam.delete_role_policy(RoleName=role, PolicyName="by-hand")
    arn = iam.create_policy(PolicyName="wide", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    (found,) = wrong(functions.policy, target)
    assert found.detail == "it also allows s3:* on *"
    iam.detach_role_policy(RoleName=role, PolicyArn=arn)
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    own = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    less = {**own, "Statement": own["Statement"][1:]}
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(less))
    (found,) = wrong(functions.policy, target)
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(own))
    assert f"dynamodb:UpdateItem on table/{NAME}" in found.detail
    assert found.detail.startswith("it does not allow dynamodb:BatchGetItem")
    assert wrong(functions.policy, target) == []


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ({"NotAction": "iam:*", "Resource": "*"}, '* on * {"NotAction": "iam:*"}'),
        ({"Action": "s3:*", "NotResource": "*"}, 's3:* on * {"NotResource": "*"}'),
        ({"Action": "s3:*", "Resource": "*", "Condition": {}}, 's3:* on * {"Condition": {}}'),
    ],
    ids=["action", "resource", "condition"],
)
def test_policy_with_exceptions_is_wrong(
    target: Target, shell: EmulatedAws, statement: dict[str, Any], words: str
) -> None:
    """The doctor reports NotAction, NotResource and conditions of an extra statement."""
    iam, role = shell.client("iam"), f"{NAME}-sweep"
    document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", **statement}}
    iam.put_role_policy(RoleName=role, PolicyName="not", PolicyDocument=json.dumps(document))
    (found,) = wrong(functions.policy, target)
    iam.delete_role_policy(RoleName=role, PolicyName="not")
    assert found.detail == f"it also allows {words}"


@pytest.mark.parametrize("place", ["*:ssm:eu-west-1:*", "*:ssm:*:123456789012", "aws-cn:ssm:*:*"])
def test_policy_for_other_place_is_wrong(target: Target, shell: EmulatedAws, place: str) -> None:
    """A permission in another partition, region or account does not replace the stage's own."""
    iam, role = shell.client("iam"), f"{NAME}-sweep"
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    own = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    moved = json.dumps(own).replace("arn:*:ssm:*:*:", f"arn:{place}:")
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=moved)
    (found,) = wrong(functions.policy, target)
    here = json.dumps(own).replace("arn:*:dynamodb:*:*", "arn:aws:dynamodb:us-east-1:000000000000")
    assert here != json.dumps(own)
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=here)
    assert wrong(functions.policy, target) == []
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(own))
    parameter = "parameter/sync-upload-broker/prod/api-key"
    assert f"it also allows ssm:GetParameters on arn:{place}:{parameter}" in found.detail
    assert f"it does not allow ssm:GetParameters on {parameter}" in found.detail


def test_origin_refused_by_api_is_wrong(target: Target) -> None:
    """The doctor names a configured origin that the deployed API refuses."""
    (found,) = wrong(
        api.responses, with_settings(target, ALLOWED_ORIGINS=f"{ORIGIN},https://b.example.com")
    )
    assert found.subject == "preflight from https://b.example.com"
    assert found.detail == "it allows no origin"
    assert "ALLOWED_ORIGINS" in found.advice


def test_wrong_api_url_is_wrong(target: Target, url: str) -> None:
    """A URL that is not the broker's is wrong; a URL that can't be reached is unknown."""
    found = wrong(api.responses, replace(target, url=f"{url}/elsewhere"))
    assert {one.state for one in found} == {State.WRONG}
    assert "Check that this is the broker's URL." in found[0].advice
    lost = doctor.run(replace(target, url="http://127.0.0.1:9"), None, may_presign=False)
    (one,) = [one for one in lost if one.check == "api"]
    assert one.state is State.UNKNOWN
    assert "127.0.0.1:9 can't be reached" in one.detail


def test_misconfigured_broker_is_wrong(target: Target, shell: EmulatedAws) -> None:
    """The doctor reports a misconfigured broker, and the log that has the reason."""
    client, before = shell.client("lambda"), environment_of(shell)
    client.update_function_configuration(**environment_of(shell, AUTH_MODE="open"))
    found = wrong(api.responses, target)
    client.update_function_configuration(**before)
    assert found[0].subject.endswith("/health")
    assert found[0].detail == "it returns 503, misconfigured"
    assert f"`misconfigured` or `secret_not_valid` in /aws/lambda/{NAME}" in found[0].advice


def test_unreadable_secret_is_wrong(target: Target, shell: EmulatedAws) -> None:
    """A forged token reveals a broker that can't read the tokens' secret."""
    client, before = shell.client("lambda"), environment_of(shell)
    name = "/sync-upload-broker/prod/jwt-secret"
    elsewhere = environment_of(shell, JWT_SECRET_PARAMETER="/sync-upload-broker/prod/not-there")
    client.update_function_configuration(**elsewhere)
    found = wrong(api.responses, target)
    client.update_function_configuration(**before)
    assert [one.subject for one in found] == ["a forged token"]
    assert found[0].detail == "it returns 503, secrets_unavailable"
    assert "secret_not_read" in found[0].advice
    assert name not in found[0].advice


def test_unreadable_key_set_is_wrong(target: Target, sync: RunningUpstream) -> None:
    """A forged RS256 token reveals a broker that can't fetch the identity provider's keys."""
    settings = {"JWT_JWKS_URL": "http://127.0.0.1:9/keys.json", "JWT_AUDIENCE": "app"}
    settings |= {"JWT_ISSUER": "https://id.example.com"}
    clients.session.cache_clear()
    broker = RunningBroker(NAME)
    try:
        broker.configure(sync, JWT_SECRET="", **settings)
        (found,) = wrong(api.responses, replace(with_settings(target, **settings), url=broker.url))
    finally:
        broker.stop()
        clients.session.cache_clear()
    assert found.subject == "a forged token"
    assert found.detail == "it returns 503, secrets_unavailable"


def test_invalid_settings_are_wrong(target: Target) -> None:
    """The doctor names settings that the broker rejects, and an empty ALLOWED_ORIGINS."""
    found = wrong(identity.settings, with_settings(target, AUTH_MODE="", ALLOWED_ORIGINS=""))
    assert [one.subject for one in found] == ["AUTH_MODE", "ALLOWED_ORIGINS"]
    assert "so the broker refuses every browser" in found[1].detail


def test_misspelled_setting_is_wrong(target: Target) -> None:
    """The doctor names the setting that a name which the broker does not know resembles."""
    (found,) = wrong(identity.settings, with_settings(target, MAX_UPLOAD_BYTE="1"))
    assert (found.subject, found.state) == ("MAX_UPLOAD_BYTE", State.WRONG)
    assert found.advice.startswith("Write MAX_UPLOAD_BYTES. ")


def test_wrong_origin_is_reported_once(target: Target) -> None:
    """For a wrong origin, the doctor prints its right form, and no second finding."""
    given = with_settings(target, ALLOWED_ORIGINS="https://a.example.com,https://app.example.com/")
    found = [one for one in identity.settings(given) if one.subject == "ALLOWED_ORIGINS"]
    assert [one.state for one in found] == [State.WRONG]
    right = "Write https://app.example.com in place of 'https://app.example.com/'."
    assert found[0].advice.startswith(right)


def test_missing_key_set_package_is_wrong(target: Target, tmp_path: Path) -> None:
    """With JWT_JWKS_URL, the doctor requires the package that verifies the tokens."""
    settings = {
        "JWT_JWKS_URL": "https://id.example.com/keys.json",
        "JWT_AUDIENCE": "app",
        "JWT_ISSUER": "https://id.example.com/",
        "JWT_SECRET_PARAMETER": "",
    }
    one = with_settings(target, **settings)
    one = replace(one, stage=replace(one.stage, folder=tmp_path))
    file = tmp_path / "requirements.txt"
    file.write_text((ROOT / "requirements.txt").read_text())
    (found,) = wrong(identity.settings, one)
    assert found.subject == "JWT_JWKS_URL"
    assert found.detail == "cryptography, which verifies the tokens, is not in requirements.txt"
    assert "cat requirements-key-sets.txt >> requirements.txt" in found.advice
    file.write_text(file.read_text() + (ROOT / "requirements-key-sets.txt").read_text())
    assert wrong(identity.settings, one) == []


def test_missing_credentials_are_unknown(
    folder: Path, url: str, aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without credentials, the checks that need them are unknown, and the others run."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    result = run(folder, "doctor", "--stage", "prod", "--url", url, "--json")
    states = {
        (one["check"], one["subject"]): (one["state"], one["detail"])
        for one in result.document["findings"]
    }
    assert states["account", "credentials"] == ("unknown", "There are no credentials.")
    assert states["table", "all"] == ("unknown", "not checked: AWS does not know you")
    assert states["api", f"{url}/health"][0] == "ok"
    assert result.code == 3
    assert aws.url not in result.out.replace(url, "")


def test_unreachable_aws_exits_with_3(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If AWS can't be reached, the exit code is 3."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    result = run(folder, "doctor", "--stage", "prod", "--url", url)
    assert result.code == 3
    assert "UNKNOWN credentials: AWS can't be reached" in result.out


@pytest.mark.parametrize(("region", "words"), [("", "none is set"), ("eu-west-1", "us-east-1")])
def test_other_region_is_wrong(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch, region: str, words: str
) -> None:
    """The doctor reports a shell whose region is missing, or is not the deployment's."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    result = run(folder, "doctor", "--stage", "prod", "--url", url, "--json", "--no-presign")
    found = [one for one in result.document["findings"] if one["subject"] == "region"]
    assert words in found[-1]["detail"]
    assert "AWS_DEFAULT_REGION" in found[-1]["advice"]
    assert result.code == 1
    states = {(one["check"], one["state"]) for one in result.document["findings"]}
    assert {check for check, state in states if state == "wrong"} == {"account"}
    assert {("table", "unknown"), ("parameters", "unknown"), ("functions", "unknown")} <= states
    assert "provision" not in result.out


def test_provision_refuses_other_region(
    folder: Path, shell: EmulatedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Provision refuses a region that is not the deployment's."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    result = run(folder, "provision", "--stage", "prod", "--secrets-from-stdin", stdin=SECRETS)
    assert result.code == 2
    assert "was deployed to us-east-1, but your shell is set to eu-west-1." in result.err
    client = boto3.Session().client("dynamodb", endpoint_url=shell.url)
    assert client.list_tables()["TableNames"] == []


@pytest.mark.parametrize(
    ("file", "content", "check", "words"),
    [
        ("deployed/prod.json", "[]", "deployment", "as Chalice's record"),
        ("deployed/prod.json", '{"resources": [', "deployment", "as Chalice's record"),
        ("deployed/prod.json", '{"resources": [{}]}', "deployment", "as Chalice's record"),
        ("policy-prod.json", None, "policy", "as a policy (FileNotFoundError)"),
        ("policy-prod.json", "[]", "policy", "as a policy (TypeError)"),
    ],
)
def test_broken_file_is_wrong(
    target: Target, tmp_path: Path, file: str, content: str | None, check: str, words: str
) -> None:
    """A missing or malformed file is a finding with advice, and the other checks run."""
    kept = shutil.ignore_patterns("deployments")
    shutil.copytree(target.stage.folder / ".chalice", tmp_path / ".chalice", ignore=kept)
    broken = tmp_path / ".chalice" / file
    broken.unlink() if content is None else broken.write_text(content)
    own = replace(target, stage=stages.read(tmp_path, "prod"), deployment=None)
    found = doctor.run(own, None, may_presign=False)
    bad = [one for one in found if one.state is State.WRONG]
    assert [one.check for one in bad] == [check]
    assert words in bad[0].detail
    assert all(one.advice for one in bad)
    assert {one.check for one in found} == PARTS


def test_policy_of_other_stage_is_wrong(target: Target, tmp_path: Path) -> None:
    """The doctor names the table and the secrets that a stage's policy lacks."""
    file = tmp_path / "policy-prod.json"
    shutil.copy(ROOT / ".chalice" / "policy-dev.json", file)
    own = replace(target, stage=replace(target.stage, policy_file=file))
    found = {one.subject: one.detail for one in wrong(functions.policy, own)}
    names = f"{NAME}, /sync-upload-broker/prod/api-key, /sync-upload-broker/prod/jwt-secret"
    assert found["policy-prod.json"] == f"it does not name {names}"


def test_other_python_is_a_warning(target: Target) -> None:
    """The doctor warns if the next deployment would change the runtime."""
    early = replace(target, now=lambda: datetime(2026, 12, 1, tzinfo=UTC).timestamp())
    assert wrong(functions.configuration, early) == []
    other = replace(early, stage=replace(target.stage, next_runtime="python3.14"))
    found = wrong(functions.configuration, other)
    assert [(one.subject, one.state) for one in found] == [
        (f"{NAME}: runtime", State.WARNING),
        (f"{SWEEP}: runtime", State.WARNING),
    ]
    assert found[0].detail.endswith("a deployment with this Python changes it to python3.14")
    assert doctor.exit_code(found) == 0


def test_deployed_bytecode_is_checked(
    stage_proxy: AwsProxy, target: Target, tmp_path: Path
) -> None:
    """The doctor checks the deployed package, as long as this folder has it."""

    def bytecode_findings(own: Target) -> list[Finding]:
        return [one for one in functions.configuration(own) if one.subject.endswith("bytecode")]

    own = replace(target, account=cached_account())
    assert [one.state for one in bytecode_findings(own)] == [State.OK, State.OK]
    archive = tmp_path / ".chalice" / "deployments" / "a.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("app.py", "")
    digest = base64.b64encode(hashlib.sha256(archive.read_bytes()).digest()).decode()

    def with_digest(forward: Callable[[], Response]) -> Response:
        status, response = forward()
        return status, {**response, "CodeSha256": digest}

    stage_proxy.rules["GET ['functions']"] = with_digest
    assert bytecode_findings(own) == [], "this folder does not have it"
    own = replace(own, stage=replace(own.stage, folder=tmp_path))
    found = bytecode_findings(own)
    assert [one.state for one in found] == [State.WARNING, State.WARNING]
    assert found[0].detail == "1 of 1 modules have no current bytecode: app.py"
    assert "python -m ops compile" in found[0].advice


def test_missing_functions_are_wrong(stage_proxy: AwsProxy, target: Target) -> None:
    """For missing functions the doctor advises to deploy; a malformed response is a finding."""
    stage_proxy.rules["GET ['functions']"] = lambda _: (
        404,
        {"__type": "ResourceNotFoundException"},
    )
    target = replace(target, account=cached_account())
    found = doctor.run(target, None, may_presign=False)
    bad = {one.check: one for one in found if one.state is State.WRONG}
    assert set(bad) == {"functions", "schedule", "policy"}
    assert {one.advice for one in bad.values()} == {
        "Deploy again: python -m ops provision --stage prod && chalice deploy --stage prod."
    }
    stage_proxy.rules["GET ['functions']"] = lambda _: (200, {})
    stage_proxy.rules["DescribeTable"] = lambda _: (400, {"__type": "OddException"})
    found = doctor.run(target, None, may_presign=False)
    bad = {one.check: one for one in found if one.state is State.WRONG}
    assert set(bad) == {"functions", "schedule", "policy", "table"}
    assert all(one.advice for one in bad.values())


@pytest.mark.parametrize(
    ("state", "detail"),
    [
        ({"State": "Failed", "StateReason": "no role"}, "failed: no role"),
        (
            {"LastUpdateStatus": "Failed", "LastUpdateStatusReason": "no space"},
            "failed: no space",
        ),
    ],
)
def test_failed_function_is_wrong(
    stage_proxy: AwsProxy, target: Target, state: dict[str, str], detail: str
) -> None:
    """The doctor reports why AWS could not create or update a function."""

    def failed(forward: Callable[[], Response]) -> Response:
        status, response = forward()
        return status, {**response, "State": "Active", **state}

    stage_proxy.rules["GET ['functions']"] = failed
    found = list(functions.configuration(replace(target, account=cached_account())))
    bad = {(one.subject, one.detail) for one in found if one.state is State.WRONG}
    assert bad == {(f"{name}: state", detail) for name in (NAME, SWEEP)}


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "ARCHIVED"])
def test_unusable_table_is_wrong(stage_proxy: AwsProxy, target: Target, status: str) -> None:
    """The doctor reports a table that is not active, and does not check its properties."""

    def rule(forward: Callable[[], Response]) -> Response:
        code, found = forward()
        found["Table"]["TableStatus"] = status
        return code, found

    stage_proxy.rules["DescribeTable"] = rule
    (found,) = storage.table(replace(target, account=cached_account()))
    assert (found.subject, found.state) == ("status", State.WRONG)
    assert found.detail == f"{NAME} is {status.lower()}"


@pytest.mark.parametrize(
    ("description", "state"),
    [
        ({"Status": "ENABLED", "SSEType": "KMS"}, State.OK),
        ({"Status": "UPDATING", "SSEType": "KMS"}, State.OK),
        ({"Status": "ENABLED", "SSEType": "AES256"}, State.WRONG),
        ({"Status": "DISABLED", "SSEType": "KMS"}, State.WRONG),
        (None, State.WRONG),
    ],
)
def test_encryption_needs_account_key(
    stage_proxy: AwsProxy,
    target: Target,
    description: dict[str, str] | None,
    state: State,
) -> None:
    """The doctor accepts encryption only with a key of the account."""

    def rule(forward: Callable[[], Response]) -> Response:
        code, found = forward()
        found["Table"]["SSEDescription"] = description
        return code, found

    stage_proxy.rules["DescribeTable"] = rule
    found = {one.subject: one for one in storage.table(replace(target, account=cached_account()))}
    assert found["encryption with the account's key"].state is state


@pytest.fixture
def stage_proxy(
    shell: EmulatedAws, proxy: AwsProxy, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AwsProxy]:
    """The proxy in front of the account with the deployed stage."""
    assert shell.url
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    before = dict(proxy.rules)
    yield proxy
    proxy.rules.clear()
    proxy.rules.update(before)


def test_stage_before_deploy_has_advice(folder: Path, target: Target) -> None:
    """Before the first deployment, the doctor advises to deploy."""
    stage = stages.read(folder, "dev")
    found = doctor.run(
        replace(target, stage=stage, deployment=None, url=None), None, may_presign=False
    )
    details = {one.check: one for one in found}
    assert "chalice deploy --stage dev`" in details["deployment"].advice
    assert details["policy"].detail == "not checked: it is not deployed"
    assert details["api"].state is State.UNKNOWN
    assert doctor.exit_code(found) == 1
