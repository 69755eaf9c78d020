"""Run the probe against the stand-in for Sync, in this process or in one that can be killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from chalicelib.core.clock import Clock
from ops import probe
from ops.probing.report import Report
from ops.probing.steps import Options
from ops.terminal import Terminal
from tests.ops.shell import KEY
from tests.support.hasty_clock import HastyClock
from tests.support.project import ORIGIN
from tests.support.upstream_process import ROOT, RunningUpstream

PROJECT = "sandbox-project"
CREATING = ("POST", "/v2/assets")


def ask(
    url: str,
    folder: Path,
    clock: Clock | None = None,
    *,
    project: str | None = PROJECT,
    seconds: float = 110.0,
    expected: dict[str, Any] | None = None,
) -> Report:
    """Run the probe in this process. Neither its output nor its files may hold a secret."""
    out, err = StringIO(), StringIO()
    terminal = Terminal(out, err, as_json=False)
    target = probe.Target(url, KEY, ORIGIN)
    options = Options(ORIGIN, project, seconds)
    report = probe.run(target, folder, terminal, clock or HastyClock(), options, expected)
    texts = [out.getvalue(), err.getvalue(), *(one.read_text() for one in folder.iterdir())]
    for text in texts:
        assert KEY not in text
        assert "X-Amz-Signature=" not in text.replace("X-Amz-Signature=***", "")
    return report


def reset(upstream: RunningUpstream, **behaviors: Any) -> None:
    """Empty the stand-in, and set its behaviours."""
    assert upstream.call("POST", "/_sandbox/reset").status_code == 204
    upstream.behave(**behaviors)


def assets(upstream: RunningUpstream) -> list[dict[str, Any]]:
    """Return all assets, whatever the behaviours are."""
    assert upstream.call("DELETE", "/_sandbox/behavior").status_code == 200
    listed = upstream.call("GET", "/v2/assets?limit=100", headers={"x-api-key": KEY})
    items: list[dict[str, Any]] = listed.json()["items"]
    return items


def environment(upstream: RunningUpstream) -> dict[str, str]:
    """Return the environment of a program that asks the stand-in."""
    return {**os.environ, "SYNC_API_KEY": KEY, "SYNC_BASE_URL": upstream.url, "NO_PROXY": "*"}


def kill_at(
    upstream: RunningUpstream, folder: Path, outcome: str, number: int = signal.SIGKILL
) -> int:
    """Run the probe as a program, and send it a signal when a registration has an outcome.

    Returns:
        The exit code.
    """
    # A shell lets the programs that it starts in the background ignore Ctrl-C, and their children
    # inherit that.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "ops", "probe"]
    command += ["--out", str(folder), "--project", PROJECT]
    process = subprocess.Popen(
        [*command, "--origin", ORIGIN],
        cwd=ROOT,
        env=environment(upstream),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: any(outcome in one for one in registrations(upstream)))
        assert process.poll() is None, "the probe waits for the response"
        process.send_signal(number)
        return process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()


def registrations(upstream: RunningUpstream) -> list[str]:
    """Return the outcomes of all registrations."""
    return [
        one["outcome"] for one in upstream.journal() if (one["method"], one["path"]) == CREATING
    ]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is met."""
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up, "it took too long"
        time.sleep(0.02)
