"""`python -m ops doctor` on a stage that `chalice deploy` made: each thing that may be wrong."""

import io
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from chalicelib.aws import clients
from ops import deployment, doctor
from ops import stage as stages
from ops.checks import api, functions, identity, storage, upstream
from ops.checks.findings import Finding, Patient, State
from ops.terminal import Terminal
from tests.ops.meddling_aws import Answer, MeddlingAws
from tests.ops.shell import KEY, SECRETS, known, run
from tests.support.emulated_aws import EmulatedAws
from tests.support.imported_api import ImportingGateway
from tests.support.project import ORIGIN, Project
from tests.support.running_broker import RunningBroker
from tests.support.upstream_process import ROOT, RunningUpstream

NAME = "sync-upload-broker-prod"
SWEEP = f"{NAME}-sweep"
LINE = {"pk": {"S": "line#presign"}}
PARTS = {"account", "deployment", "settings", "table", "parameters", "functions", "policy", "api"}
PARTS |= {"sync.", "storage", "schedule"}


def active(carry_out: Callable[[], Answer]) -> Answer:
    """Say that a function is active; the emulator says so only once it was called."""
    status, answer = carry_out()
    return status, answer | ({"State": "Active"} if "State" in answer else {})


@pytest.fixture(scope="module", autouse=True)
def url(aws: EmulatedAws, project: Project, proxy: MeddlingAws) -> str:
    """Provision and deploy the stage, once."""
    # boto3 looks every five seconds whether a function is active.
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
    record = json.loads((project.folder / ".chalice" / "deployed" / "prod.json").read_text())
    (made,) = [one for one in record["resources"] if one["name"] == "rest_api"]
    return aws.api(made["rest_api_id"])


@pytest.fixture(autouse=True)
def calm(shell: EmulatedAws, upstream: RunningUpstream) -> None:
    """Nothing is ordered of sync., and nobody in the line."""
    upstream.call("POST", "/_sandbox/reset")
    shell.client("dynamodb").delete_item(TableName=NAME, Key=LINE)


@pytest.fixture
def patient(folder: Path, url: str) -> Patient:
    """The deployed stage, with what earlier checks have found."""
    stage = stages.read(folder, "prod")
    terminal = Terminal(io.StringIO(), io.StringIO(), as_json=False)
    known_secrets = {"SYNC_API_KEY": KEY}
    found = deployment.plain(stage)
    return Patient(stage, known(), terminal, found, url, known_secrets, aws_ahead=0)


def other(patient: Patient, **settings: str) -> Patient:
    """Take a stage with other settings."""
    environment = {**patient.stage.environment, **settings}
    assert patient.deployment is not None
    return replace(
        patient,
        stage=replace(patient.stage, environment=environment),
        deployment=replace(patient.deployment, environment=environment),
    )


def wrong(check: Callable[[Patient], Iterator[Finding]], patient: Patient) -> list[Finding]:
    """Run a check, and return what is not fine; each of that comes with advice."""
    found = [one for one in check(patient) if one.state is not State.OK]
    assert all(one.advice for one in found), found
    return found


def test_fine(folder: Path, url: str) -> None:
    """A stage that was provisioned and deployed is fine in every part."""
    said = run(folder, "doctor", "--stage", "prod", "--url", url, "--json")
    found = said.document["findings"]
    assert [one for one in found if one["state"] != "ok"] == []
    assert {one["check"] for one in found} == PARTS
    assert said.code == said.document["exitCode"] == 0
    assert "Checking: policy ..." in said.err


def test_deployed_elsewhere(folder: Path, url: str, tmp_path: Path) -> None:
    """Without the record of `chalice deploy` the functions are found by Chalice's names."""
    kept = shutil.ignore_patterns("deployed", "deployments")
    shutil.copytree(folder / ".chalice", tmp_path / ".chalice", ignore=kept)
    more = ("--url", url, "--json", "--no-presign")
    found = run(tmp_path, "doctor", "--stage", "prod", *more).document["findings"]
    assert [one for one in found if one["state"] not in {"ok", "skipped"}] == []
    assert {one["check"] for one in found} == PARTS
    (where,) = [one for one in found if one["check"] == "deployment"]
    assert (where["subject"], where["detail"]) == ("from elsewhere", url)


def test_words(folder: Path, url: str) -> None:
    """In words each part stands under its name, and the last line counts."""
    said = run(folder, "doctor", "--stage", "prod", "--url", url, "--no-presign")
    assert said.code == 0, said.out
    assert "\n  ok      deletion protection: on\n" in said.out
    assert "\n  skipped preflight: by --no-presign\n" in said.out
    assert said.out.splitlines()[-1].endswith(" ok, 1 skipped")


def test_unknown_storage_host(patient: Patient, upstream_of: RunningUpstream) -> None:
    """A storage host that the setting lacks is named: its files could be registered as URLs."""
    assert wrong(upstream.storage, patient) == []
    (found,) = wrong(upstream.storage, other(patient, SYNC_STORAGE_HOSTS="assets.sync.so"))
    assert found.subject == "hosts"
    assert found.advice == f"Add to SYNC_STORAGE_HOSTS: 127.0.0.1:{upstream_of.port}"


def test_storage_refuses(folder: Path, url: str, upstream: RunningUpstream) -> None:
    """Storage that lets no browser in is found, and the page about the relay is named."""
    upstream.behave(storageCors=False)
    said = run(folder, "doctor", "--stage", "prod", "--url", url)
    assert said.code == 1
    assert f"WRONG   preflight from {ORIGIN}: storage, 127.0.0.1:" in said.out
    assert "docs/relay.md" in said.out
    assert "STORAGE_RELAY" in said.out
    assert upstream.outcomes().count("presigned") == 1
    assert "X-Amz-Signature" not in said.out + said.err


@pytest.fixture
def relay(upstream: RunningUpstream) -> Iterator[str]:
    """A relay: it answers a preflight for one origin, and passes a PUT on."""

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
            answer = requests.put(storage, body, headers=kind, timeout=9)
            self.send_response(answer.status_code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_relay(patient: Patient, relay: str, upstream_of: RunningUpstream) -> None:
    """With a relay, the relay is asked in storage's place."""
    upstream_of.behave(storageCors=False)
    assert wrong(upstream.storage, other(patient, STORAGE_RELAY=relay)) == []
    origins = f"{ORIGIN},https://other.example.com"
    (found,) = wrong(upstream.storage, other(patient, STORAGE_RELAY=relay, ALLOWED_ORIGINS=origins))
    assert found.subject == "preflight from https://other.example.com"
    assert f"the relay, {relay[7:]}: it allows {ORIGIN}" in found.detail
    assert "preflight" not in upstream_of.outcomes()
    refused = {"kind": "answer", "status": 403, "body": {}}
    upstream_of.order(refused, "PUT", "*")
    (found,) = wrong(upstream.storage, other(patient, STORAGE_RELAY=relay))
    assert (found.subject, found.state) == ("PUT", State.WRONG)
    assert found.detail == f"a byte through the relay, {relay[7:]}: storage answers 403"
    assert "STORAGE_ORIGIN" in found.advice


@pytest.fixture
def upstream_of(request: pytest.FixtureRequest) -> RunningUpstream:
    """sync., where a module of that name is meant besides."""
    found: RunningUpstream = request.getfixturevalue("upstream")
    return found


def grants(aws: EmulatedAws) -> int:
    """Count the places that were taken in the line."""
    item = aws.client("dynamodb").get_item(TableName=NAME, Key=LINE).get("Item", {})
    return sum(name[:1] == "s" and name[1:].isdigit() for name in item)


def test_place_in_line(patient: Patient, shell: EmulatedAws, upstream_of: RunningUpstream) -> None:
    """The presign takes a place; where there is none, its turn is waited for."""
    clock = [time.time()]
    patient = replace(
        other(patient, PRESIGNS_PER_MINUTE="1"),
        now=lambda: clock[0],
        sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds),
    )
    began = clock[0]
    assert wrong(upstream.storage, patient) == []
    assert grants(shell) == 1
    assert wrong(upstream.storage, patient) == []
    assert 60 < clock[0] - began < 75
    assert upstream_of.outcomes().count("presigned") == 2
    (found,) = wrong(
        upstream.storage, other(patient, PRESIGNS_PER_MINUTE="1", MAX_WAIT_SECONDS="1")
    )
    assert found.state is State.UNKNOWN
    assert found.detail.startswith("no presign: queue_full")
    assert upstream_of.outcomes().count("presigned") == 2


def test_slows_the_line_down(
    patient: Patient, shell: EmulatedAws, upstream_of: RunningUpstream
) -> None:
    """A 429 to the presign slows the line down for everybody, as the broker's own would."""
    upstream_of.behave(presignsPerMinute=0)
    (found,) = wrong(upstream.storage, patient)
    assert found.state is State.UNKNOWN
    item = shell.client("dynamodb").get_item(TableName=NAME, Key=LINE)["Item"]
    assert "slow" in item


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        ({"status": 401}, State.WRONG, "--replace-secrets"),
        ({"status": 402}, State.WRONG, "plan"),
        ({"status": 429}, State.UNKNOWN, "again in a minute"),
        ({"status": 503}, State.UNKNOWN, "again in a minute"),
        ({"status": 404}, State.WRONG, "SYNC_BASE_URL"),
        ({"status": 301, "headers": {"Location": "http://127.0.0.1:1/"}}, State.WRONG, "BASE_URL"),
    ],
)
def test_key(
    patient: Patient,
    upstream_of: RunningUpstream,
    answer: dict[str, Any],
    state: State,
    words: str,
) -> None:
    """What sync. says to the key is told with what to do; a redirect gets no key."""
    upstream_of.order({"kind": "answer", "body": {}, **answer}, "GET", "/v2/assets")
    found = [one for one in wrong(upstream.key, patient) if one.subject == "key"]
    assert [one.state for one in found] == [state]
    assert words in found[0].advice


def test_no_sync(url: str, patient: Patient) -> None:
    """Where sync. can't be reached, nothing is said to be wrong, and the exit code says so."""
    lost = other(patient, SYNC_BASE_URL="http://127.0.0.1:9")
    found = doctor.run(replace(lost, deployment=None, url=url), None, may_presign=True)
    states = {one.subject: one.state for one in found if one.check in {"sync.", "storage"}}
    assert set(states.values()) == {State.UNKNOWN}
    assert doctor.exit_code([one for one in found if one.check in {"sync.", "storage"}]) == 3


@pytest.mark.parametrize(("seconds", "is_wrong"), [(200, False), (-400, True)])
def test_syncs_clock(
    patient: Patient, upstream_of: RunningUpstream, seconds: int, *, is_wrong: bool
) -> None:
    """A clock of sync.'s that is off is found before it is too far off to find assets again."""
    date = formatdate(time.time() + seconds, usegmt=True)
    answer = {"kind": "answer", "status": 200, "body": {"items": []}, "headers": {"Date": date}}
    upstream_of.order(answer, "GET", "/v2/assets")
    assert bool(wrong(upstream.key, patient)) is is_wrong


def test_own_clock(patient: Patient) -> None:
    """This machine's clock is held against AWS's, and sync.'s too against AWS's."""
    late = replace(patient, now=lambda: time.time() - 120)
    (found,) = wrong(identity.account, late)
    assert found.subject == "clock"
    told = re.fullmatch(r"AWS's is \+(\d+) s from this machine's", found.detail)
    assert told
    assert 119 <= int(told[1]) <= 130, "and what the call takes"
    assert wrong(upstream.key, late) == []


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (None, "", "there is no such parameter"),
        ("two words", "SecureString", "it must be sync.'s API key"),
        (KEY, "String", "it is a String, no SecureString"),
    ],
)
def test_parameters(
    patient: Patient, shell: EmulatedAws, value: str | None, kind: str, words: str
) -> None:
    """A secret that is not there, is none, or lies in the clear is found by its name."""
    ssm, name = shell.client("ssm"), "/sync-upload-broker/prod/api-key"
    ssm.delete_parameter(Name=name)
    if value is not None:
        ssm.put_parameter(Name=name, Value=value, Type=kind)
    try:
        patient.secrets.clear()
        (found,) = wrong(storage.secrets, patient)
        assert "SYNC_API_KEY" not in patient.secrets
        (blind,) = wrong(upstream.key, patient)
        assert blind.state is State.UNKNOWN
    finally:
        if value is not None:
            ssm.delete_parameter(Name=name)
        ssm.put_parameter(Name=name, Value=KEY, Type="SecureString")
    assert (found.subject, found.state) == (name, State.WRONG)
    assert found.detail.startswith(words)
    assert "python -m ops provision --stage prod" in found.advice


def test_table(patient: Patient, shell: EmulatedAws) -> None:
    """Each property of the table is looked at; one that is off is told with the command."""
    client = shell.client("dynamodb")
    client.update_table(TableName=NAME, DeletionProtectionEnabled=False)
    recovery = {"PointInTimeRecoveryEnabled": False}
    client.update_continuous_backups(TableName=NAME, PointInTimeRecoverySpecification=recovery)
    found = wrong(storage.table, patient)
    assert {one.subject for one in found} == {"deletion protection", "point-in-time recovery"}
    assert {one.advice for one in found} == {"Run `python -m ops provision --stage prod`."}
    assert run(patient.stage.folder, "provision", "--stage", "prod").code == 0
    assert wrong(storage.table, patient) == []
    (missing,) = wrong(storage.table, other(patient, UPLOADS_TABLE="nowhere"))
    assert missing.detail == "there is no such table"


@pytest.mark.parametrize(
    ("change", "back", "subject"),
    [
        ({"MemorySize": 256}, {"MemorySize": 512}, "memory"),
        ({"Timeout": 3}, {"Timeout": 30}, "time-out"),
        (
            {"TracingConfig": {"Mode": "PassThrough"}},
            {"TracingConfig": {"Mode": "Active"}},
            "tracing",
        ),
    ],
)
def test_function(
    patient: Patient,
    shell: EmulatedAws,
    change: dict[str, Any],
    back: dict[str, Any],
    subject: str,
) -> None:
    """What was changed by hand is found."""
    client = shell.client("lambda")
    client.update_function_configuration(FunctionName=NAME, **change)
    found = wrong(functions.configuration, patient)
    client.update_function_configuration(FunctionName=NAME, **back)
    assert [one.subject for one in found] == [f"{NAME}: {subject}"]
    assert "chalice deploy --stage prod" in found[0].advice


def test_architecture(patient: Patient) -> None:
    """Another architecture than that of the stage is found."""
    wanted = {
        name: replace(one, architecture="riscv") for name, one in patient.stage.functions.items()
    }
    elsewhere = replace(patient, stage=replace(patient.stage, functions=wanted))
    found = wrong(functions.configuration, elsewhere)
    assert [one.subject for one in found] == [f"{NAME}: architecture", f"{SWEEP}: architecture"]
    assert found[0].detail.endswith(", not riscv")


def environment_of(aws: EmulatedAws, **more: str) -> dict[str, Any]:
    """Take the API function's environment, with more in it."""
    client = aws.client("lambda")
    found = client.get_function_configuration(FunctionName=NAME)["Environment"]["Variables"]
    return {"FunctionName": NAME, "Environment": {"Variables": {**found, **more}}}


def test_secret_in_environment(patient: Patient, shell: EmulatedAws) -> None:
    """A secret in a function's environment is found under any name, and only that is said."""
    client, before = shell.client("lambda"), environment_of(shell)
    client.update_function_configuration(**environment_of(shell, NOTE=KEY))
    found = wrong(functions.configuration, patient)
    client.update_function_configuration(**before)
    details = {one.subject: one.detail for one in found}
    assert details == {
        f"{NAME}: settings": "these are not as configured: NOTE",
        f"{NAME}: secrets": "in the clear in NOTE",
    }


def test_schedule(patient: Patient, shell: EmulatedAws) -> None:
    """A sweep that nothing calls is found, with the command that switches its rule on."""
    events = shell.client("events")
    (rule,) = [one["Name"] for one in events.list_rules()["Rules"] if NAME in one["Name"]]
    assert wrong(functions.schedule, patient) == []
    events.disable_rule(Name=rule)
    (off,) = wrong(functions.schedule, patient)
    assert (off.detail, off.advice) == (
        "its rule is off",
        f"Run `aws events enable-rule --name {rule}`.",
    )
    targets = events.list_targets_by_rule(Rule=rule)["Targets"]
    events.remove_targets(Rule=rule, Ids=[one["Id"] for one in targets])
    (gone,) = wrong(functions.schedule, patient)
    events.put_targets(Rule=rule, Targets=targets)
    events.enable_rule(Name=rule)
    assert gone.detail == "nothing calls it"


def test_policy(patient: Patient, shell: EmulatedAws) -> None:
    """What a role may do beyond the policy, and what it may not, is found."""
    iam, role = shell.client("iam"), f"{NAME}-sweep"
    more = {"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [more]})
    iam.put_role_policy(RoleName=role, PolicyName="by-hand", PolicyDocument=document)
    (found,) = wrong(functions.policy, patient)
    assert (found.subject, found.detail) == (role, "it may also s3:* on *")
    iam.delete_role_policy(RoleName=role, PolicyName="by-hand")
    made = iam.create_policy(PolicyName="wide", PolicyDocument=document)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=role, PolicyArn=made)
    (found,) = wrong(functions.policy, patient)
    assert found.detail == "it may also s3:* on *"
    iam.detach_role_policy(RoleName=role, PolicyArn=made)
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    own = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    less = {**own, "Statement": own["Statement"][1:]}
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(less))
    (found,) = wrong(functions.policy, patient)
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(own))
    assert f"dynamodb:UpdateItem on table/{NAME}" in found.detail
    assert found.detail.startswith("it may not dynamodb:BatchGetItem")
    assert wrong(functions.policy, patient) == []


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ({"NotAction": "iam:*", "Resource": "*"}, '* on * {"NotAction": "iam:*"}'),
        ({"Action": "s3:*", "NotResource": "*"}, 's3:* on * {"NotResource": "*"}'),
        ({"Action": "s3:*", "Resource": "*", "Condition": {}}, 's3:* on * {"Condition": {}}'),
    ],
    ids=["action", "resource", "condition"],
)
def test_policy_in_the_negative(
    patient: Patient, shell: EmulatedAws, statement: dict[str, Any], words: str
) -> None:
    """A statement about all but what it names is found too, and told whole."""
    iam, role = shell.client("iam"), f"{NAME}-sweep"
    document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", **statement}}
    iam.put_role_policy(RoleName=role, PolicyName="not", PolicyDocument=json.dumps(document))
    (found,) = wrong(functions.policy, patient)
    iam.delete_role_policy(RoleName=role, PolicyName="not")
    assert found.detail == f"it may also {words}"


@pytest.mark.parametrize("place", ["eu-west-1:*", "*:123456789012"])
def test_policy_of_another_place(patient: Patient, shell: EmulatedAws, place: str) -> None:
    """What is allowed in another region or account is not what the stage needs."""
    iam, role = shell.client("iam"), f"{NAME}-sweep"
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    own = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    moved = json.dumps(own).replace(":ssm:*:*:", f":ssm:{place}:")
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=moved)
    (found,) = wrong(functions.policy, patient)
    here = json.dumps(own).replace("dynamodb:*:*", "dynamodb:us-east-1:000000000000")
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=here)
    assert wrong(functions.policy, patient) == []
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(own))
    parameter = "parameter/sync-upload-broker/prod/api-key"
    assert f"it may also ssm:GetParameter on arn:aws:ssm:{place}:{parameter}" in found.detail
    assert f"it may not ssm:GetParameter on {parameter}" in found.detail


def test_cors(patient: Patient) -> None:
    """An origin that the deployed API does not let in is found."""
    (found,) = wrong(api.answers, other(patient, ALLOWED_ORIGINS=f"{ORIGIN},https://b.example.com"))
    assert found.subject == "preflight from https://b.example.com"
    assert found.detail == "it allows no origin"
    assert "ALLOWED_ORIGINS" in found.advice


def test_no_api(patient: Patient, url: str) -> None:
    """An address that is not the broker's is found; one that nobody answers at is told apart."""
    found = wrong(api.answers, replace(patient, url=f"{url}/elsewhere"))
    assert {one.state for one in found} == {State.WRONG}
    assert "Is this the broker's address?" in found[0].advice
    lost = doctor.run(replace(patient, url="http://127.0.0.1:9"), None, may_presign=False)
    (one,) = [one for one in lost if one.check == "api"]
    assert one.state is State.UNKNOWN
    assert "127.0.0.1:9 can't be reached" in one.detail


def test_misconfigured(patient: Patient, shell: EmulatedAws) -> None:
    """A broker that serves nobody is found, and where it says why."""
    client, before = shell.client("lambda"), environment_of(shell)
    client.update_function_configuration(**environment_of(shell, AUTH_MODE="open"))
    found = wrong(api.answers, patient)
    client.update_function_configuration(**before)
    assert found[0].subject.endswith("/health")
    assert found[0].detail == "it answers 503, misconfigured"
    assert f"`misconfigured` or `secret_not_valid` in /aws/lambda/{NAME}" in found[0].advice


def test_unreadable_secret(patient: Patient, shell: EmulatedAws) -> None:
    """A broker that can't read the tokens' secret is found by a forged token."""
    client, before = shell.client("lambda"), environment_of(shell)
    name = "/sync-upload-broker/prod/jwt-secret"
    elsewhere = environment_of(shell, JWT_SECRET_PARAMETER="/sync-upload-broker/prod/not-there")
    client.update_function_configuration(**elsewhere)
    found = wrong(api.answers, patient)
    client.update_function_configuration(**before)
    assert [one.subject for one in found] == ["a forged token"]
    assert found[0].detail == "it answers 503, secrets_unavailable"
    assert "secret_not_read" in found[0].advice
    assert name not in found[0].advice


def test_unreadable_key_set(patient: Patient, upstream_of: RunningUpstream) -> None:
    """A broker that can't get its identity provider's keys is found by a token of their kind."""
    settings = {"JWT_JWKS_URL": "http://127.0.0.1:9/keys.json", "JWT_AUDIENCE": "app"}
    settings |= {"JWT_ISSUER": "https://id.example.com"}
    clients.session.cache_clear()
    broker = RunningBroker(NAME)
    try:
        broker.configure(upstream_of, JWT_SECRET="", **settings)
        (found,) = wrong(api.answers, replace(other(patient, **settings), url=broker.url))
    finally:
        broker.stop()
        clients.session.cache_clear()
    assert found.subject == "a forged token"
    assert found.detail == "it answers 503, secrets_unavailable"


def test_settings(patient: Patient) -> None:
    """Settings that the broker would not take, or that let no browser in, are found."""
    found = wrong(identity.settings, other(patient, AUTH_MODE="", ALLOWED_ORIGINS=""))
    assert [one.subject for one in found] == ["AUTH_MODE", "ALLOWED_ORIGINS"]
    assert "so no browser may call" in found[1].detail


def test_package_of_key_sets(patient: Patient, tmp_path: Path) -> None:
    """A stage that uses an identity provider without the package that verifies tokens is found."""
    settings = {
        "JWT_JWKS_URL": "https://id.example.com/keys.json",
        "JWT_AUDIENCE": "app",
        "JWT_ISSUER": "https://id.example.com/",
        "JWT_SECRET_PARAMETER": "",
    }
    one = other(patient, **settings)
    one = replace(one, stage=replace(one.stage, folder=tmp_path))
    file = tmp_path / "requirements.txt"
    file.write_text((ROOT / "requirements.txt").read_text())
    (found,) = wrong(identity.settings, one)
    assert found.subject == "JWT_JWKS_URL"
    assert found.detail == "cryptography, which verifies the tokens, is not in requirements.txt"
    assert "cat requirements-key-sets.txt >> requirements.txt" in found.advice
    file.write_text(file.read_text() + (ROOT / "requirements-key-sets.txt").read_text())
    assert wrong(identity.settings, one) == []


def test_no_credentials(
    folder: Path, url: str, aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without credentials what needs them is not said to be wrong, and the rest is checked."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    said = run(folder, "doctor", "--stage", "prod", "--url", url, "--json")
    states = {
        (one["check"], one["subject"]): (one["state"], one["detail"])
        for one in said.document["findings"]
    }
    assert states["account", "credentials"] == ("unknown", "There are no credentials.")
    assert states["table", "all"] == ("unknown", "not checked: AWS does not know you")
    assert states["api", f"{url}/health"][0] == "ok"
    assert said.code == 3
    assert aws.url not in said.out.replace(url, "")


def test_no_aws(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where AWS can't be reached, the exit code says that nothing is known."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    said = run(folder, "doctor", "--stage", "prod", "--url", url)
    assert said.code == 3
    assert "UNKNOWN credentials: AWS can't be reached" in said.out


@pytest.mark.parametrize(("region", "words"), [("", "none is set"), ("eu-west-1", "us-east-1")])
def test_region(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch, region: str, words: str
) -> None:
    """A shell without a region, or with another one than the deployment's, is found."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    said = run(folder, "doctor", "--stage", "prod", "--url", url, "--json", "--no-presign")
    found = [one for one in said.document["findings"] if one["subject"] == "region"]
    assert words in found[-1]["detail"]
    assert "AWS_DEFAULT_REGION" in found[-1]["advice"]
    assert said.code == 1
    states = {(one["check"], one["state"]) for one in said.document["findings"]}
    assert {check for check, state in states if state == "wrong"} == {"account"}
    assert {("table", "unknown"), ("parameters", "unknown"), ("functions", "unknown")} <= states
    assert "provision" not in said.out


def test_provision_elsewhere(
    folder: Path, shell: EmulatedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is deployed in one region is not provisioned in another one."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    said = run(folder, "provision", "--stage", "prod", "--secrets-from-stdin", stdin=SECRETS)
    assert said.code == 2
    assert "was deployed to us-east-1, and your shell is set to eu-west-1." in said.err
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
def test_broken_file(
    patient: Patient, tmp_path: Path, file: str, content: str | None, check: str, words: str
) -> None:
    """A file that is missing or broken is a finding with advice, and the rest is checked."""
    kept = shutil.ignore_patterns("deployments")
    shutil.copytree(patient.stage.folder / ".chalice", tmp_path / ".chalice", ignore=kept)
    broken = tmp_path / ".chalice" / file
    broken.unlink() if content is None else broken.write_text(content)
    own = replace(patient, stage=stages.read(tmp_path, "prod"), deployment=None)
    found = doctor.run(own, None, may_presign=False)
    bad = [one for one in found if one.state is State.WRONG]
    assert [one.check for one in bad] == [check]
    assert words in bad[0].detail
    assert all(one.advice for one in bad)
    assert {one.check for one in found} == PARTS


def test_functions_gone(meddled: MeddlingAws, patient: Patient) -> None:
    """Functions that are gone are to be deployed again; an answer of no form is no defect."""
    meddled.rules["GET ['functions']"] = lambda _: (404, {"__type": "ResourceNotFoundException"})
    patient = replace(patient, account=known())
    found = doctor.run(patient, None, may_presign=False)
    bad = {one.check: one for one in found if one.state is State.WRONG}
    assert set(bad) == {"functions", "schedule", "policy"}
    assert {one.advice for one in bad.values()} == {"Deploy again: chalice deploy --stage prod."}
    meddled.rules["GET ['functions']"] = lambda _: (200, {})
    meddled.rules["DescribeTable"] = lambda _: (400, {"__type": "OddException"})
    found = doctor.run(patient, None, may_presign=False)
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
def test_failed_function(
    meddled: MeddlingAws, patient: Patient, state: dict[str, str], detail: str
) -> None:
    """A function that AWS could not make, or not update, is to be deployed again; why is told."""

    def failed(carry_out: Callable[[], Answer]) -> Answer:
        status, answer = carry_out()
        return status, {**answer, "State": "Active", **state}

    meddled.rules["GET ['functions']"] = failed
    found = list(functions.configuration(replace(patient, account=known())))
    bad = {(one.subject, one.detail) for one in found if one.state is State.WRONG}
    assert bad == {(f"{name}: state", detail) for name in (NAME, SWEEP)}


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "ARCHIVED"])
def test_table_not_ready(meddled: MeddlingAws, patient: Patient, status: str) -> None:
    """A table that can't be used yet, or no more, is told, and not looked into."""

    def answer(carry_out: Callable[[], Answer]) -> Answer:
        code, found = carry_out()
        found["Table"]["TableStatus"] = status
        return code, found

    meddled.rules["DescribeTable"] = answer
    (found,) = storage.table(replace(patient, account=known()))
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
def test_encryption(
    meddled: MeddlingAws,
    patient: Patient,
    description: dict[str, str] | None,
    state: State,
) -> None:
    """Only a key of this account will do."""

    def answer(carry_out: Callable[[], Answer]) -> Answer:
        code, found = carry_out()
        found["Table"]["SSEDescription"] = description
        return code, found

    meddled.rules["DescribeTable"] = answer
    found = {one.subject: one for one in storage.table(replace(patient, account=known()))}
    assert found["encryption with the account's key"].state is state


@pytest.fixture
def meddled(
    shell: EmulatedAws, proxy: MeddlingAws, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MeddlingAws]:
    """The proxy before the account with the stage in it."""
    assert shell.url
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    before = dict(proxy.rules)
    yield proxy
    proxy.rules.clear()
    proxy.rules.update(before)


def test_not_deployed(folder: Path, patient: Patient) -> None:
    """Between provision and deploy the doctor says what is still to be done."""
    stage = stages.read(folder, "dev")
    found = doctor.run(
        replace(patient, stage=stage, deployment=None, url=None), None, may_presign=False
    )
    details = {one.check: one for one in found}
    assert "`chalice deploy --stage dev`" in details["deployment"].advice
    assert details["policy"].detail == "not checked: it is not deployed"
    assert details["api"].state is State.UNKNOWN
    assert doctor.exit_code(found) == 1
