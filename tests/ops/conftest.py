"""Fixtures for each module: an emulated account, a stand-in for Sync, and a project."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from ops import bytecode
from tests.ops.aws_proxy import AwsProxy, Response
from tests.ops.shell import KEY
from tests.ops.vendored import vendor
from tests.support.emulated_aws import EmulatedAws, emulated_aws
from tests.support.imported_api import ImportingGateway
from tests.support.project import ORIGIN, Project, allow_all_parameters
from tests.support.upstream_process import RunningUpstream


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUpstream]:
    """The sandbox's stand-in for Sync, which accepts the tests' key."""
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
    """A clone of the project, compiled, whose stages use the stand-in for Sync."""
    created = Project(
        tmp_path_factory.mktemp("project") / "clone",
        SYNC_BASE_URL=upstream.url,
        SYNC_STORAGE_HOSTS=f"127.0.0.1:{upstream.port}",
    )
    allow_all_parameters(created.folder)
    vendor(created.folder)
    for command in (["init", "--quiet"], ["add", "app.py", "chalicelib"]):
        subprocess.run(["git", *command], cwd=created.folder, check=True)
    bytecode.compile_project(created.folder)
    return created


@pytest.fixture
def folder(project: Project) -> Path:
    """The project's folder."""
    return project.folder


@pytest.fixture
def shell(aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> EmulatedAws:
    """The account, for which this test's environment is set up."""
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "*")
    return aws


@pytest.fixture
def empty(shell: EmulatedAws) -> EmulatedAws:
    """The account without any resources."""
    assert requests.post(f"{shell.url}/_ministack/reset", timeout=9).ok
    return shell


@pytest.fixture(scope="module")
def proxy(aws: EmulatedAws) -> Iterator[AwsProxy]:
    """A proxy in front of the account."""
    started = AwsProxy(aws.port)
    yield started
    started.stop()


@pytest.fixture
def empty_proxy(
    empty: EmulatedAws,  # noqa: ARG001 - it empties the account
    proxy: AwsProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> AwsProxy:
    """The proxy in front of the empty account; the shell's calls pass through it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    proxy.rules.clear()
    proxy.calls.clear()
    return proxy


def _active(forward: Callable[[], Response]) -> Response:
    status, response = forward()
    return status, response | ({"State": "Active"} if "State" in response else {})


@pytest.fixture(scope="module")
def environment(aws: EmulatedAws, proxy: AwsProxy) -> Any:
    """The environment of the operator's shell."""
    # The emulator reports a function as active only after a call, and boto3 waits for that.
    proxy.rules["GET ['functions']"] = _active
    gateway = ImportingGateway(aws)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    yield {
        **kept,
        **aws.environment,
        "AWS_ENDPOINT_URL_API_GATEWAY": gateway.url,
        "AWS_ENDPOINT_URL_LAMBDA": proxy.url,
        "NO_PROXY": "*",
    }
    gateway.stop()
