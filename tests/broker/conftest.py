"""The broker and its services: a DynamoDB emulator, the upstream, the local gateway."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.aws import clients
from chalicelib.uploads import items
from ops import table
from sandbox import environment
from tests.support.dynamodb_process import RunningDynamoDB
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.provider import Jose, KeyServer
from tests.support.running_broker import Api, RunningBroker
from tests.support.running_ssm import RunningSsm
from tests.support.scripted_sync import Reply, ScriptedSync
from tests.support.upstream_process import ROOT, RunningUpstream

TABLE = "uploads-of-the-tests"


@pytest.fixture(scope="session", autouse=True)
def dynamodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A DynamoDB emulator that only the tests use. The environment reaches no other DynamoDB."""
    folder = tmp_path_factory.mktemp("dynamodb")
    emulator = RunningDynamoDB(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.for_parts({}, emulator.ports, folder).items():
            if name.startswith("AWS_") or name.lower() == "no_proxy":
                patch.setenv(name, value)
        table.create(clients.dynamodb(), TABLE)
        yield
    emulator.stop()


@pytest.fixture(scope="module")
def ssm(dynamodb: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:  # noqa: ARG001 - its environment
    """An SSM that the broker's client reaches."""
    emulator = RunningSsm(tmp_path_factory.mktemp("ssm"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_SSM", emulator.url)
        clients.ssm.cache_clear()
        yield
    clients.ssm.cache_clear()
    emulator.stop()


@pytest.fixture(scope="session")
def running_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUpstream]:
    """One upstream for all tests."""
    upstream = RunningUpstream(tmp_path_factory.mktemp("upstream"))
    yield upstream
    assert upstream.stop() == 0


@pytest.fixture(scope="session")
def running_broker(dynamodb: None) -> Iterator[RunningBroker]:  # noqa: ARG001 - the broker needs it
    """One gateway for all tests."""
    broker = RunningBroker(TABLE)
    yield broker
    broker.stop()


@pytest.fixture
def upstream(running_upstream: RunningUpstream) -> RunningUpstream:
    """The upstream, empty and with its defaults."""
    running_upstream.call("POST", "/_sandbox/reset")
    return running_upstream


@pytest.fixture
def broker(running_broker: RunningBroker, upstream: RunningUpstream) -> RunningBroker:
    """The broker with plain settings; a test may `configure` it again."""
    running_broker.configure(upstream)
    return running_broker


@pytest.fixture
def api(broker: RunningBroker) -> Api:
    """A caller that no other test uses."""
    return Api(broker)


@pytest.fixture
def nothing_due(broker: RunningBroker) -> None:
    """Let no other test's upload be due."""
    client = clients.dynamodb()
    for shard in (*items.FILE_SHARDS, items.URL_SHARD):
        query = {
            "TableName": broker.table,
            "IndexName": "by-due",
            "KeyConditionExpression": "dueShard = :shard",
            "ExpressionAttributeValues": {":shard": {"S": shard}},
        }
        for item in client.query(**query)["Items"]:
            client.delete_item(TableName=broker.table, Key={"pk": item["pk"]})


@pytest.fixture
def sync() -> Iterator[ScriptedSync]:
    """A Sync without a script yet."""
    running = ScriptedSync(lambda _: Reply(500))
    yield running
    running.stop()


@pytest.fixture
def faulty_dynamodb(dynamodb: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyDynamoDB]:  # noqa: ARG001 - its environment
    """A proxy in front of the emulator, for brokers that are configured from now on."""
    proxy = FaultyDynamoDB(int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]))
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.heal()
    proxy.refuse()


@pytest.fixture
def samples() -> Path:
    """The folder of real media files."""
    return ROOT / "sandbox" / "samples"


@pytest.fixture(scope="session")
def jose() -> Iterator[Jose]:
    """Another library than the broker's, which makes an identity provider's keys and tokens."""
    running = Jose()
    yield running
    running.stop()


@pytest.fixture
def server(jose: Jose) -> Iterator[KeyServer]:
    """A provider with one RSA, one EC and one Ed25519 key."""
    running = KeyServer()
    running.serve(jose.keys("rsa-1", "ec-1", "okp-1"))
    yield running
    running.stop()
