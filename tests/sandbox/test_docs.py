"""The documented commands, run as they stand."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import requests

from tests.support.upstream_process import ROOT, RunningUpstream

PAGE = (ROOT / "docs" / "sandbox.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_commands(tmp_path: Path, start: Callable[..., RunningUpstream]) -> None:
    """Each `curl` works against an upstream that made up its key."""
    (tmp_path / ".sandbox").symlink_to(tmp_path)
    upstream = start(SYNC_API_KEY="")
    answers = []
    for block in BLOCKS:
        commands = re.sub(r"^.*sandbox\.upstream &\n", "", block)
        commands = commands.replace("127.0.0.1:8001", f"127.0.0.1:{upstream.port}")
        done = subprocess.run(
            ["bash", "-ec", commands], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        answers.append(json.loads(done.stdout))
    presign, behaviour, fault = answers
    assert presign["uploadUrl"].startswith(upstream.url)
    assert behaviour["planMaxBytes"] == 1_000_000
    assert fault["do"] == {"kind": "cut", "when": "after"}


def test_older_commands_are_refused(upstream: RunningUpstream) -> None:
    """What curl sends without `--json` is what a form sends, and the refusal says so."""
    for path in ("/_sandbox/faults", "/v2/assets"):
        url, key = upstream.url + path, "x-api-key: test-key"
        done = subprocess.run(
            ["curl", "-s", url, "-H", key, "-d", "{}"], capture_output=True, text=True, check=True
        )
        assert "curl --json" in done.stdout
    assert upstream.journal() == []
    assert requests.get(f"{upstream.url}/_sandbox/faults", timeout=9).json() == []
