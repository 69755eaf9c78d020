"""Services that can be made to fail: DynamoDB behind a proxy, Sync, and the broker between them."""

from collections.abc import Iterator

import pytest

from sandbox import environment
from sandbox.ports import Ports
from tests.faults.faulty_broker import FaultyBroker
from tests.support.dynamodb_process import RunningDynamoDB
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.upstream_process import RunningUpstream


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a DynamoDB emulator that only these tests use."""
    running = RunningDynamoDB(tmp_path_factory.mktemp("dynamodb"))
    yield running.port
    running.stop()


@pytest.fixture(scope="session")
def faulty_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUpstream]:
    """The upstream that all fault tests share."""
    upstream = RunningUpstream(tmp_path_factory.mktemp("upstream"))
    yield upstream
    assert upstream.stop() == 0


@pytest.fixture(scope="module")
def dynamodb(emulator: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyDynamoDB]:
    """The proxy in front of the emulator. The environment reaches no other DynamoDB."""
    proxy = FaultyDynamoDB(emulator)
    ports = Ports(broker=0, upstream=0, dynamodb=proxy.port, demo=0)
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.getbasetemp()
        for name, value in environment.for_parts({}, ports, folder).items():
            if name.startswith("AWS_") or name.lower() == "no_proxy":
                patch.setenv(name, value)
        yield proxy
    proxy.heal()
    proxy.refuse()


@pytest.fixture(scope="module")
def module_broker(
    dynamodb: FaultyDynamoDB, faulty_upstream: RunningUpstream
) -> Iterator[FaultyBroker]:
    """One gateway for a module's tests."""
    broker = FaultyBroker("none yet")
    broker.dynamodb, broker.upstream = dynamodb, faulty_upstream
    yield broker
    broker.stop()


@pytest.fixture
def broker(module_broker: FaultyBroker) -> FaultyBroker:
    """A broker on the real time, with no due work, and a Sync that is empty and works."""
    module_broker.reset()
    return module_broker
