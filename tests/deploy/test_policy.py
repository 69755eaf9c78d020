"""What the broker calls of AWS is what its policy allows, and nothing is allowed beyond that."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from chalicelib.aws import clients
from ops import table
from tests.support.emulated_aws import EmulatedAws
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import ROOT, RunningUpstream

STAGE = "prod"
TABLE = f"sync-upload-broker-{STAGE}"
IN_TRANSACTION = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem"}
# What the services around a function call in its name; the broker never does.
OF_LAMBDA = {"logs", "xray"}


def called(operation: str, request: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name the actions, each with its resource, that IAM asks for when a call is made."""
    if operation == "TransactWriteItems":
        for entry in request["TransactItems"]:
            for kind, item in entry.items():
                yield f"dynamodb:{IN_TRANSACTION[kind]}", f"table/{item['TableName']}"
    elif operation == "BatchGetItem":
        for name in request["RequestItems"]:
            yield "dynamodb:BatchGetItem", f"table/{name}"
    elif operation.startswith("GetParameter"):
        names = request.get("Names") or [request["Name"]]
        yield from ((f"ssm:{operation}", f"parameter{name}") for name in names)
    else:
        index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
        yield f"dynamodb:{operation}", f"table/{request['TableName']}{index}"


def allowed(stage: str) -> set[tuple[str, str]]:
    """Read a stage's policy: each action with each resource."""
    policy = json.loads((ROOT / ".chalice" / f"policy-{stage}.json").read_text())
    found = set()
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        actions, resources = (
            [given] if isinstance(given, str) else given
            for given in (statement["Action"], statement["Resource"])
        )
        for action in actions:
            assert re.fullmatch(r"[a-z]+:[A-Za-z]+", action), "an action is named in full"
            if action.partition(":")[0] not in OF_LAMBDA:
                found |= {(action, resource.split(":", 5)[5]) for resource in resources}
    assert found, "a policy allows something"
    return found


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUpstream]:
    """An upstream with its minute unspent; that of the stack holds files which wait for a sweep."""
    started = RunningUpstream(tmp_path_factory.mktemp("own-upstream"))
    yield started
    assert started.stop() == 0


@pytest.fixture
def used(aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[str, str]]]:
    """The actions that the broker's own clients send, and a broker with its secrets in SSM."""
    seen: set[tuple[str, str]] = set()

    def record(params: dict[str, Any], model: Any, **_: Any) -> None:
        seen.update(called(model.name, params))

    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    clients.session.cache_clear()
    clients.ssm.cache_clear()
    table.create(clients.dynamodb(), TABLE)
    events: Any = clients.session().events
    events.register("provide-client-params.*.*", record)
    yield seen
    # The stack of the other tests makes a table of the same name, and must find none.
    dynamodb = clients.dynamodb()
    dynamodb.update_table(TableName=TABLE, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=TABLE)
    clients.session.cache_clear()
    clients.ssm.cache_clear()


def lost(upstream: RunningUpstream, caller: Api, upload: dict[str, Any]) -> None:
    """Lose the answer of a registration, so that its asset has to be looked for."""
    upstream.order({"kind": "cut", "when": "after"}, "POST", "/v2/assets", times=1)
    caller.complete(upload)


def whole_flow(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Do everything that callers and the schedule can do."""
    caller = Api(broker)
    keyed = {"Idempotency-Key": "a-key"}
    body = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
    for _ in range(2):
        assert caller.call("POST", "/uploads", json=body, headers=keyed).status_code == 201
    done = caller.registered()
    lost(upstream, caller, caller.landed())
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


def test_used_and_allowed(used: set[tuple[str, str]], upstream: RunningUpstream) -> None:
    """Every action that is used is allowed on its resource, and every allowed one is used."""
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
        whole_flow(broker, upstream)
    finally:
        broker.stop()
    assert used == allowed(STAGE)


def test_stages_alike() -> None:
    """The stages differ by their name alone, in the policies and in the configuration."""
    folder = ROOT / ".chalice"
    dev = (folder / "policy-dev.json").read_text()
    assert (
        dev.replace("upload-broker-dev", "upload-broker-prod").replace(
            "upload-broker/dev", "upload-broker/prod"
        )
        == (folder / "policy-prod.json").read_text()
    )


def test_stack_allows_the_same() -> None:
    """The stack's policy has the same actions; its resources are the stack's own."""
    text = re.sub(r"!(\w+)", "", (ROOT / ".chalice" / "template.yaml").read_text())
    stack = yaml.safe_load(text)["Resources"]["BrokerPolicy"]["Properties"]["PolicyDocument"]
    actions: set[str] = set()
    for statement in stack["Statement"]:
        given = statement["Action"]
        actions |= {given} if isinstance(given, str) else set(given)
    wanted = {action for action, _ in allowed(STAGE)}
    assert {action for action in actions if action.partition(":")[0] not in OF_LAMBDA} == wanted


def test_no_secret() -> None:
    """The configuration holds no secret, and reserves no concurrency: new accounts refuse it."""
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    text = json.dumps(config)
    assert "reserved_concurrency" not in text
    for stage in config["stages"].values():
        names = set(stage["environment_variables"])
        assert not names & {"SYNC_API_KEY", "JWT_SECRET"}
        assert {"SYNC_API_KEY_PARAMETER", "JWT_SECRET_PARAMETER"} <= names
