"""An emulated account, sync. and a project of each module's own, and an operator's shell."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.ops.meddling_aws import MeddlingAws
from tests.ops.shell import KEY
from tests.ops.vendored import vendor
from tests.support.emulated_aws import EmulatedAws, emulated_aws
from tests.support.project import ORIGIN, Project
from tests.support.upstream_process import RunningUpstream


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUpstream]:
    """sync., as the sandbox plays it; it takes the marked key."""
    started = RunningUpstream(
        tmp_path_factory.mktemp("upstream"), SYNC_API_KEY=KEY, ALLOWED_ORIGINS=ORIGIN
    )
    yield started
    assert started.stop() == 0


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedAws]:
    """An empty account."""
    with emulated_aws(tmp_path_factory.mktemp("aws")) as account:
        yield account


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, upstream: RunningUpstream) -> Project:
    """A clone whose stages use the sandbox's upstream."""
    made = Project(
        tmp_path_factory.mktemp("project") / "clone",
        SYNC_BASE_URL=upstream.url,
        SYNC_STORAGE_HOSTS=f"127.0.0.1:{upstream.port}",
    )
    vendor(made.folder)
    return made


@pytest.fixture
def folder(project: Project) -> Path:
    """The project's folder."""
    return project.folder


@pytest.fixture
def shell(aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> EmulatedAws:
    """The operator's environment, of this test."""
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "*")
    return aws


@pytest.fixture
def empty(shell: EmulatedAws) -> EmulatedAws:
    """The account with nothing in it."""
    assert requests.post(f"{shell.url}/_ministack/reset", timeout=9).ok
    return shell


@pytest.fixture(scope="module")
def proxy(aws: EmulatedAws) -> Iterator[MeddlingAws]:
    """A proxy in front of the account."""
    started = MeddlingAws(aws.port)
    yield started
    started.stop()


@pytest.fixture
def meddler(
    empty: EmulatedAws,  # noqa: ARG001 - it begins with nothing
    proxy: MeddlingAws,
    monkeypatch: pytest.MonkeyPatch,
) -> MeddlingAws:
    """The empty account behind the proxy, which the shell calls."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    proxy.rules.clear()
    proxy.calls.clear()
    return proxy
