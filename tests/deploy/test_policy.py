"""The policies allow the AWS calls that the broker makes, and no others."""

import fnmatch
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from chalicelib.aws import clients
from ops import policy_file, table
from tests.support.emulated_aws import EmulatedAws
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import ROOT, RunningUpstream

STAGE = "prod"
TABLE = f"sync-upload-broker-{STAGE}"
IN_TRANSACTION = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem"}
# Lambda calls this service in the function's name. The broker does not.
OF_LAMBDA = {"logs"}


def called(operation: str, request: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the actions that IAM requires for a call, each with its resource."""
    if operation == "TransactWriteItems":
        for entry in request["TransactItems"]:
            for kind, item in entry.items():
                yield f"dynamodb:{IN_TRANSACTION[kind]}", f"table/{item['TableName']}"
    elif operation.startswith("Batch"):
        for name in request["RequestItems"]:
            yield f"dynamodb:{operation}", f"table/{name}"
    elif operation.startswith("GetParameter"):
        names = request.get("Names") or [request["Name"]]
        yield from ((f"ssm:{operation}", f"parameter{name}") for name in names)
    else:
        index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
        yield f"dynamodb:{operation}", f"table/{request['TableName']}{index}"


def allowed(stage: str) -> set[tuple[str, str]]:
    """Return the actions that a stage's policy allows, each with its resource."""
    policy = json.loads((ROOT / ".chalice" / f"policy-{stage}.json").read_text())
    found = set()
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        actions, resources = (
            [given] if isinstance(given, str) else given
            for given in (statement["Action"], statement["Resource"])
        )
        for action in actions:
            assert re.fullmatch(r"[a-z]+:[A-Za-z]+", action), "the policy has a wildcard action"
            if action.partition(":")[0] not in OF_LAMBDA:
                found |= {(action, resource.split(":", 5)[5]) for resource in resources}
    assert found, "a policy allows something"
    return found


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUpstream]:
    """A separate stand-in for Sync, whose rate limit no other test has used."""
    started = RunningUpstream(tmp_path_factory.mktemp("own-upstream"))
    yield started
    assert started.stop() == 0


@pytest.fixture
def used(aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[str, str]]]:
    """The actions that the broker's clients have used so far, each with its resource."""
    seen: set[tuple[str, str]] = set()

    def record(params: dict[str, Any], model: Any, **_: Any) -> None:
        seen.update(called(model.name, params))

    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    clients.session.cache_clear()
    clients.ssm.cache_clear()
    table.create(clients.dynamodb(), TABLE)
    events: Any = clients.session().get_component("event_emitter")
    events.register("provide-client-params.*.*", record)
    yield seen
    # Other tests create a table of the same name.
    dynamodb = clients.dynamodb()
    dynamodb.update_table(TableName=TABLE, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=TABLE)
    clients.session.cache_clear()
    clients.ssm.cache_clear()


def complete_without_response(
    upstream: RunningUpstream, caller: Api, upload: dict[str, Any]
) -> None:
    """Lose the response to a registration, so that the broker has to reconcile it."""
    upstream.order({"kind": "cut", "when": "after"}, "POST", "/v2/assets", times=1)
    caller.complete(upload)


def use_every_feature(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Send each request that callers can send, and run the sweep."""
    caller = Api(broker)
    keyed = {"Idempotency-Key": "a-key"}
    body = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
    for _ in range(2):
        assert caller.call("POST", "/uploads", json=body, headers=keyed).status_code == 201
    done = caller.registered()
    complete_without_response(upstream, caller, caller.landed())
    assert caller.call("DELETE", f"/uploads/{caller.begin()['id']}").status_code == 204
    upload = caller.begin()
    broker.clock.advance(3_000)
    assert caller.call("POST", f"/uploads/{upload['id']}/renew").status_code == 200
    public = upstream.upload().replace("127.0.0.1", "localhost")
    url = {"url": public, "type": "VIDEO"}
    assert caller.call("POST", "/assets", json=url).status_code == 201
    refusal = {"kind": "answer", "status": 429, "body": {"message": "later"}}
    upstream.order(refusal, "POST", "/v2/assets", times=1)
    assert (
        caller.call("POST", "/assets", json=url, headers={"Idempotency-Key": "b-key"}).status_code
        == 503
    )
    for path in ("/uploads", "/assets", f"/assets/{done['asset']['id']}", "/limits"):
        assert caller.call("GET", path).status_code == 200
    caller.landed()
    broker.clock.advance(200)
    assert broker.sweep().found


def test_policy_allows_exactly_used_actions(
    used: set[tuple[str, str]], upstream: RunningUpstream
) -> None:
    """The policy allows exactly the actions that the broker uses, on their resources."""
    broker = RunningBroker(TABLE)
    try:
        broker.configure(
            upstream,
            SYNC_API_KEY="",
            JWT_SECRET="",
            SYNC_API_KEY_PARAMETER=f"/sync-upload-broker/{STAGE}/api-key",
            JWT_SECRET_PARAMETER=f"/sync-upload-broker/{STAGE}/jwt-secret",
            PUBLIC_URL_EXCEPTIONS=f"http://localhost:{upstream.port}",
        )
        used.clear()
        use_every_feature(broker, upstream)
    finally:
        broker.stop()
    assert used == allowed(STAGE)


def test_stage_policies_differ_only_in_names() -> None:
    """The policies of the stages differ only in the stage's name."""
    folder = ROOT / ".chalice"
    dev = (folder / "policy-dev.json").read_text()
    assert (
        dev.replace("upload-broker-dev", "upload-broker-prod").replace(
            "upload-broker/dev", "upload-broker/prod"
        )
        == (folder / "policy-prod.json").read_text()
    )


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_policies_hold_in_each_partition(stage: str, partition: str) -> None:
    """Each resource of a policy matches the same resource in China and in GovCloud."""
    policy = json.loads((ROOT / ".chalice" / f"policy-{stage}.json").read_text())
    patterns = {one for one in policy_file.resources(policy, "") if one != "*"}
    assert len(patterns) >= 7
    for pattern in patterns:
        _, _, service, _, _, resource = pattern.split(":", 5)
        arn = f"arn:{partition}:{service}:cn-north-1:123456789012:{resource}"
        # IAM's wildcards, unlike these, have no brackets, and the policies have none.
        assert fnmatch.fnmatchcase(arn, pattern), pattern
        assert not fnmatch.fnmatchcase(arn + "-other", pattern) or pattern.endswith("*")
    template = (ROOT / ".chalice" / "template.yaml").read_text()
    assert "arn:aws:" not in template


def test_stack_policy_has_same_actions() -> None:
    """The stack's policy allows the same actions as the stage's policy."""
    text = re.sub(r"!(\w+)", "", (ROOT / ".chalice" / "template.yaml").read_text())
    stack = yaml.safe_load(text)["Resources"]["BrokerPolicy"]["Properties"]["PolicyDocument"]
    actions: set[str] = set()
    for statement in stack["Statement"]:
        given = statement["Action"]
        actions |= {given} if isinstance(given, str) else set(given)
    wanted = {action for action, _ in allowed(STAGE)}
    assert {action for action in actions if action.partition(":")[0] not in OF_LAMBDA} == wanted


def test_configuration_has_no_secret_or_concurrency() -> None:
    """The configuration has no secret, and reserves no concurrency, as new accounts can't."""
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    text = json.dumps(config)
    assert "reserved_concurrency" not in text
    for stage in config["stages"].values():
        names = set(stage["environment_variables"])
        assert not names & {"SYNC_API_KEY", "JWT_SECRET"}
        assert {"SYNC_API_KEY_PARAMETER", "JWT_SECRET_PARAMETER"} <= names
