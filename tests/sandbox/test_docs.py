"""Runs the commands in the documentation."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import requests

from tests.support.upstream_process import ROOT, RunningUpstream

PAGE = (ROOT / "docs" / "sandbox.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_documented_commands_work(tmp_path: Path, start: Callable[..., RunningUpstream]) -> None:
    """Each documented `curl` works with an upstream that has created its key."""
    (tmp_path / ".sandbox").symlink_to(tmp_path)
    upstream = start(SYNC_API_KEY="")
    responses = []
    started, *calls = BLOCKS
    assert started == ".venv/bin/python -m sandbox.upstream\n"
    for block in calls:
        commands = block.replace("127.0.0.1:8001", f"127.0.0.1:{upstream.port}")
        done = subprocess.run(
            ["bash", "-ec", commands], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        responses.append(json.loads(done.stdout))
    presign, behaviour, fault = responses
    assert presign["uploadUrl"].startswith(upstream.url)
    assert behaviour["planMaxBytes"] == 1_000_000
    assert fault["do"] == {"kind": "cut", "when": "after"}


def test_curl_without_json_is_refused(upstream: RunningUpstream) -> None:
    """Without `--json`, curl sends what a form sends, and the refusal names `--json`."""
    for path in ("/_sandbox/faults", "/v2/assets"):
        url, key = upstream.url + path, "x-api-key: test-key"
        done = subprocess.run(
            ["curl", "-s", url, "-H", key, "-d", "{}"], capture_output=True, text=True, check=True
        )
        assert "curl --json" in done.stdout
    assert upstream.journal() == []
    assert requests.get(f"{upstream.url}/_sandbox/faults", timeout=9).json() == []
