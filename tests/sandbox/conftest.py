"""Fixtures that run upstreams."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.upstream_process import RunningUpstream


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUpstream]:
    """An upstream process for all tests that need no special start."""
    upstream = RunningUpstream(tmp_path_factory.mktemp("sandbox"))
    yield upstream
    assert upstream.stop() == 0
    assert upstream.stderr == ""


@pytest.fixture
def upstream(running: RunningUpstream) -> RunningUpstream:
    """The upstream, empty and with its default behaviours."""
    running.call("POST", "/_sandbox/reset")
    return running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningUpstream]]:
    """A function that starts further upstreams. They are stopped at the end of the test."""
    with contextlib.ExitStack() as stack:

        def start_one(**arguments: Any) -> RunningUpstream:
            started = RunningUpstream(tmp_path, **arguments)
            stack.callback(_stop_if_running, started)
            return started

        yield start_one


def _stop_if_running(upstream: RunningUpstream) -> None:
    if upstream.process.poll() is None:
        upstream.kill()
