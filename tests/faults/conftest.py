"""Parts that can be made to fail: DynamoDB behind a proxy, sync., and the broker between them."""

from collections.abc import Iterator

import pytest

from sandbox import environment
from sandbox.ports import Ports
from tests.faults.stand import Stand
from tests.support.dynamodb_process import RunningDynamoDB
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.upstream_process import RunningUpstream


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a DynamoDB emulator of these tests' own."""
    running = RunningDynamoDB(tmp_path_factory.mktemp("dynamodb"))
    yield running.port
    running.stop()


@pytest.fixture(scope="session")
def faulty_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUpstream]:
    """One upstream for all tests in trouble."""
    upstream = RunningUpstream(tmp_path_factory.mktemp("upstream"))
    yield upstream
    assert upstream.stop() == 0


@pytest.fixture(scope="module")
def dynamodb(emulator: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyDynamoDB]:
    """The proxy in front of the emulator, and an environment that reaches nothing else."""
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
def module_stand(dynamodb: FaultyDynamoDB, faulty_upstream: RunningUpstream) -> Iterator[Stand]:
    """One gateway for a module's tests."""
    stand = Stand("none yet")
    stand.dynamodb, stand.upstream = dynamodb, faulty_upstream
    yield stand
    stand.stop()


@pytest.fixture
def stand(module_stand: Stand) -> Stand:
    """The broker with the real time, nothing due, and a sync. that is empty and in order."""
    module_stand.renew()
    return module_stand
