"""docs/probe.md: its commands, its options, and its example of a report."""

import re
from pathlib import Path

from ops import __main__ as ops
from ops import probe
from ops.probing import journal, marks
from ops.probing.calls import MAX_PRESIGNS
from ops.probing.steps import RUN_SECONDS
from tests.ops.probing import ask, reset
from tests.support.clocks import ManualClock
from tests.support.upstream_process import ROOT, RunningUpstream

PAGE = (ROOT / "docs" / "probe.md").read_text()
EXAMPLE_DAY = 1_795_824_000_000  # 2026-11-28
EXAMPLE = ROOT / "docs" / "examples" / "probe-report.md"


def test_example_is_a_real_report(upstream: RunningUpstream, tmp_path: Path) -> None:
    """The example is what a run against the sandbox writes."""
    reset(upstream)
    ask(upstream.url, tmp_path, ManualClock(EXAMPLE_DAY))
    made = (tmp_path / probe.REPORT).read_text().replace(str(upstream.port), "8001")
    assert EXAMPLE.read_text() == made, f"copy the new report to {EXAMPLE}:\n{made}"


def test_page_has_commands_options_and_numbers() -> None:
    """The parser accepts the page's commands, and the page has each option and limit."""
    lines = re.findall(r"^python -m ops (probe.*)$", PAGE, re.MULTILINE)
    assert len(lines) == 2
    given = [ops.parser().parse_args(line.split()) for line in lines]
    assert str(given[1].compare) == probe.BEHAVIOR
    (checked,) = re.findall(r"`python -m ops (doctor [^`]*)`", PAGE)
    assert ops.parser().parse_args(checked.split()).behavior == Path("sync-probe/behavior.json")
    shown = set(re.findall(r"^\| `--(\w+) ", PAGE, re.MULTILINE))
    common = {"command", "json", "profile", "project_dir", "dry_run"}
    assert shown == set(vars(given[0])) - common
    for words in (f"`{journal.FOLDER}`", f"`{marks.PREFIX}`", f"or `{probe.ORIGIN}`"):
        assert words in PAGE
    assert MAX_PRESIGNS == 12
    assert f"sounds of {len(marks.content())} bytes" in PAGE
    assert RUN_SECONDS < 120
