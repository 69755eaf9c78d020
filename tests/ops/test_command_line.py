"""The command line itself: its help, its exit codes, and what it never says."""

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops import __main__ as ops
from ops.account import Account, explain
from ops.terminal import Terminal
from tests.ops.meddling_aws import MeddlingAws
from tests.ops.shell import KEY, run
from tests.support.emulated_aws import EmulatedAws
from tests.support.upstream_process import ROOT

COMMANDS = ("provision", "doctor", "destroy", "settle")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The program and each command have a page that tells options and exit codes."""
    command = [sys.executable, "-m", "ops", "--help"]
    page = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in COMMANDS:
        assert f"\n    {name}" in page
        with pytest.raises(SystemExit) as end:
            ops.main([name, "--help"], io.StringIO(), io.StringIO(), io.StringIO())
        assert end.value.code == 0
        shown = capsys.readouterr().out
        assert "--stage STAGE" in shown
        assert "--json" in shown
        for number in (0, 1, 2, 3, 130):
            assert re.search(rf"^  {number}  \w", shown, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("explode", "--stage", "prod"),
        ("doctor",),
        ("doctor", "--stage", "prod", "--url", "api.example.com"),
        ("provision", "--stage", "prod", "--table", "x"),
        ("settle", "--stage", "prod", "x", "--failed", "--asset", "y"),
    ],
)
def test_usage(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """What can't be understood is usage, exit code 2, and nothing on standard output."""
    with pytest.raises(SystemExit) as end:
        ops.main(arguments, io.StringIO(), io.StringIO(), io.StringIO())
    assert end.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "usage: python -m ops" in said.err


def test_no_such_stage(folder: Path) -> None:
    """An unknown stage is told with those that there are; as JSON too."""
    said = run(folder, "doctor", "--stage", "live", "--json")
    assert said.code == 2
    assert "There are: dev, prod." in said.err
    assert said.document["error"]["message"].startswith("There is no stage 'live'")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"stages": []}'])
def test_no_project(tmp_path: Path, content: str | None) -> None:
    """A folder without a configuration that can be read is told by its name."""
    if content is not None:
        (tmp_path / ".chalice").mkdir()
        (tmp_path / ".chalice" / "config.json").write_text(content)
    said = run(tmp_path, "doctor", "--stage", "prod")
    assert said.code == 2
    assert str(tmp_path) in said.err or "There are: ." in said.err


def test_no_such_profile(folder: Path, shell: EmulatedAws) -> None:  # noqa: ARG001 - no config file
    """A profile that is not configured is usage."""
    out, err = io.StringIO(), io.StringIO()
    arguments = ["doctor", "--project-dir", str(folder), "--stage", "prod", "--profile", "nobody"]
    assert ops.main(arguments, out, err, io.StringIO()) == 2
    assert "nobody" in err.getvalue()


@pytest.mark.parametrize("command", ["provision", "destroy"])
@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, 3, "AWS can't be reached"),
        ({"AWS_ACCESS_KEY_ID": None}, 3, "There are no credentials."),
        ({"AWS_DEFAULT_REGION": None}, 2, "Set AWS_DEFAULT_REGION"),
    ],
    ids=["unreachable", "credentials", "region"],
)
def test_account(
    command: str,
    change: dict[str, str | None],
    code: int,
    words: str,
    folder: Path,
    shell: EmulatedAws,  # noqa: ARG001 - what is changed
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is wrong with the account is told in words, by the documented exit codes."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name, value in change.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    said = run(folder, command, "--stage", "prod", "--json")
    assert (said.code, said.document["exitCode"]) == (code, code)
    assert words in said.err


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        ("AccessDeniedException", 3),
        ("ExpiredTokenException", 3),
        ("ValidationException", 1),
    ],
)
def test_refused(meddler: MeddlingAws, folder: Path, refusal: str, code: int) -> None:
    """What AWS refuses is told with the call that was refused, or who is asking."""
    meddler.refuse("DescribeTable", refusal, "for this reason")
    said = run(folder, "provision", "--stage", "prod", "--dry-run")
    assert said.code == code
    assert "DescribeTable: for this reason" in said.err or "expired" in said.err


@pytest.mark.parametrize(
    ("code", "status"), [("ThrottlingException", 400), ("InternalServerError", 500)]
)
def test_passing(code: str, status: int) -> None:
    """What passes by itself is no fault of the stage's, once boto3 has given up."""
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    problem = explain(ClientError(answer, "DescribeTable"))
    assert (problem.code, problem.advice) == (3, "Try again in a minute.")


def test_interrupted(folder: Path) -> None:
    """Ctrl-C ends it as shells expect, with a word about what to do."""

    def interrupt(_: str | None) -> Account:
        raise KeyboardInterrupt

    err = io.StringIO()
    arguments = ["doctor", "--project-dir", str(folder), "--stage", "prod"]
    assert ops.main(arguments, io.StringIO(), err, io.StringIO(), interrupt) == 130
    assert "it goes on where it is" in err.getvalue()


@pytest.mark.parametrize(
    ("arguments", "redirection", "code", "words"),
    [
        ("provision --stage prod --dry-run", "| true", 1, "Looking at the stage prod"),
        ("provision --stage prod", "0<&-", 2, "Pipe them in, each as NAME=value"),
    ],
    ids=["nobody reads", "no input"],
)
def test_closed(
    empty: EmulatedAws, folder: Path, arguments: str, redirection: str, code: int, words: str
) -> None:
    """A result that nobody reads, or a closed standard input, is no defect."""
    assert empty.url
    line = f"'{sys.executable}' -m ops {arguments} --project-dir '{folder}' {redirection}"
    line += "; exit ${PIPESTATUS[0]}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "defect" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


class Broken(io.StringIO):
    """Standard input that fails with the secret in its words."""

    def read(self, _: int | None = -1) -> str:
        """Fail."""
        raise RuntimeError(f"not readable: {KEY}")


def test_defect(empty: EmulatedAws, folder: Path) -> None:
    """Even a defect tells where it is, and no secret that its text holds."""
    name = "/sync-upload-broker/prod/api-key"
    empty.client("ssm").put_parameter(Name=name, Value=KEY, Type="SecureString")
    err = io.StringIO()
    arguments = ["provision", "--project-dir", str(folder), "--stage", "prod"]
    code = ops.main([*arguments, "--secrets-from-stdin"], io.StringIO(), err, Broken())
    assert code == 1
    assert "A defect: RuntimeError" in err.getvalue()
    assert "RuntimeError: not readable: ***" in err.getvalue()
    assert KEY not in err.getvalue()


def test_masked() -> None:
    """Each of two secrets with a comma is masked, as it is and as JSON and Python write it."""
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(out, err, as_json=False)
    terminal.hide('first"secret\\, second-secret')
    said = 'first"secret\\ first\\"secret\\\\ second-secret and words'
    terminal.progress(said)
    terminal.result([said], {})
    assert out.getvalue() == err.getvalue() == "*** *** *** and words\n"
