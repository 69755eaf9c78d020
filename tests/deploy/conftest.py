"""Fixtures: an emulated account with a stack of the broker, and the stand-in for Sync."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chalicelib.aws import clients
from ops import table
from tests.deploy.caller import Caller
from tests.support.emulated_aws import EmulatedAws, emulated_aws
from tests.support.project import Project, allow_all_parameters
from tests.support.running_broker import SECRET, RunningBroker
from tests.support.stack import Stack
from tests.support.upstream_process import KEY, RunningUpstream


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUpstream]:
    """The sandbox's stand-in for Sync."""
    started = RunningUpstream(tmp_path_factory.mktemp("upstream"))
    yield started
    assert started.stop() == 0


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedAws]:
    """An account with the two secrets of the stage `prod`."""
    with emulated_aws(tmp_path_factory.mktemp("aws")) as account:
        ssm = account.client("ssm")
        for name, value in (("api-key", KEY), ("jwt-secret", SECRET)):
            ssm.put_parameter(
                Name=f"/sync-upload-broker/prod/{name}", Value=value, Type="SecureString"
            )
        yield account


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, upstream: RunningUpstream) -> Project:
    """A copy of the project whose stages use the stand-in for Sync."""
    made = Project(
        tmp_path_factory.mktemp("project") / "clone",
        SYNC_BASE_URL=upstream.url,
        SYNC_STORAGE_HOSTS=f"127.0.0.1:{upstream.port}",
        # Under this host name, the stand-in's files have public URLs.
        PUBLIC_URL_EXCEPTIONS=f"http://localhost:{upstream.port}",
    )
    allow_all_parameters(made.folder)
    return made


@pytest.fixture(scope="session")
def packaged(project: Project) -> Path:
    """The output folder of `chalice package`."""
    return project.package()


@pytest.fixture(scope="session")
def stack(aws: EmulatedAws, packaged: Path) -> Stack:
    """The deployed stack, with its own table."""
    created = Stack(aws, "broker-prod", "broker-prod-uploads")
    table.create(aws.client("dynamodb"), created.table)
    created.deploy(packaged)
    created.put_gateway_responses()
    return created


@pytest.fixture(scope="session")
def abandoned(stack: Stack) -> str:
    """The id of an upload whose tab was closed after its PUT, for the test of the schedule."""
    upload_id: str = Caller(stack.url, "left-for-the-schedule").landed()["id"]
    return upload_id


@pytest.fixture
def caller(stack: Stack, abandoned: str) -> Caller:  # noqa: ARG001 - its wait begins early
    """A caller whom no other test uses."""
    return Caller(stack.url)


@dataclass(frozen=True)
class Counting:
    """What the counting benchmarks need: the app with an empty table, and the stand-in for Sync."""

    broker: RunningBroker
    upstream: RunningUpstream
    unmetered: Any


@pytest.fixture
def counting(
    aws: EmulatedAws,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Counting]:
    """A broker whose costs can be counted, in the emulated account."""
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    upstream = RunningUpstream(tmp_path_factory.mktemp("counted"))
    clients.session.cache_clear()
    table.create(clients.dynamodb(), "counted")
    broker = RunningBroker("counted")
    try:
        yield Counting(broker, upstream, aws.client("dynamodb"))
    finally:
        broker.stop()
        assert upstream.stop() == 0
        clients.dynamodb().delete_table(TableName="counted")
        clients.session.cache_clear()
