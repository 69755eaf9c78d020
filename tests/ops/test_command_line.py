"""The command line: its help, its exit codes, and the masking of secrets."""

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops import __main__ as ops
from ops import stage as stages
from ops.account import Account, explain
from ops.terminal import Problem, Terminal
from tests.ops.aws_proxy import AwsProxy
from tests.ops.shell import KEY, run
from tests.support.emulated_aws import EmulatedAws
from tests.support.project import Project
from tests.support.upstream_process import ROOT

COMMANDS = ("provision", "compile", "doctor", "record", "destroy", "settle", "probe")


def test_help_lists_options_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """The help of each command lists its options and the exit codes."""
    command = [sys.executable, "-m", "ops", "--help"]
    page = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in COMMANDS:
        assert f"\n    {name}" in page
        with pytest.raises(SystemExit) as end:
            ops.main([name, "--help"], io.StringIO(), io.StringIO(), io.StringIO())
        assert end.value.code == 0
        shown = capsys.readouterr().out
        assert ("--stage STAGE" in shown) is (name != "compile")
        assert "--json" in shown
        for number in (0, 1, 2, 3, 130):
            assert re.search(rf"^  {number}  \w", shown, re.MULTILINE)


def test_commands_start_without_sandbox(tmp_path: Path) -> None:
    """The commands start in a folder that has no sandbox."""
    skipped = shutil.ignore_patterns("__pycache__")
    for name in ("ops", "chalicelib"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skipped)
    command = [sys.executable, "-m", "ops", "--help"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("explode", "--stage", "prod"),
        ("doctor",),
        ("doctor", "--stage", "prod", "--url", "api.example.com"),
        ("provision", "--stage", "prod", "--table", "x"),
        ("settle", "--stage", "prod", "x", "--failed", "--asset", "y"),
        ("probe", "--origin", "app.example.com"),
    ],
)
def test_invalid_arguments_exit_with_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Invalid arguments lead to exit code 2, and write nothing to standard output."""
    with pytest.raises(SystemExit) as end:
        ops.main(arguments, io.StringIO(), io.StringIO(), io.StringIO())
    assert end.value.code == 2
    result = capsys.readouterr()
    assert result.out == ""
    assert "usage: python -m ops" in result.err


def test_unknown_stage_lists_stages(folder: Path) -> None:
    """For an unknown stage, the command reports the existing stages, with --json too."""
    result = run(folder, "doctor", "--stage", "live", "--json")
    assert result.code == 2
    assert "Its stages are: dev, prod." in result.err
    assert result.document["error"]["message"].startswith("There is no stage 'live'")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"stages": []}'])
def test_unreadable_configuration_is_named(tmp_path: Path, content: str | None) -> None:
    """If the configuration can't be read, the command reports its path."""
    if content is not None:
        (tmp_path / ".chalice").mkdir()
        (tmp_path / ".chalice" / "config.json").write_text(content)
    result = run(tmp_path, "doctor", "--stage", "prod")
    assert result.code == 2
    assert str(tmp_path) in result.err or "Its stages are: ." in result.err


@pytest.mark.parametrize("command", ["provision", "doctor"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("version", '"version" must be "2.0"'),
        ("app_name", "the functions would be called None-prod"),
        ("autogen_policy", '"autogen_policy" must be false'),
    ],
)
def test_lost_line_of_configuration_is_named(
    folder: Path, tmp_path: Path, command: str, name: str, words: str
) -> None:
    """If config.json has lost a line that all stages need, the command names the line."""
    content = json.loads((folder / ".chalice" / "config.json").read_text())
    del content[name]
    (tmp_path / ".chalice").mkdir()
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(content))
    result = run(tmp_path, command, "--stage", "prod")
    assert result.code == 2
    assert words in result.err
    assert "git checkout .chalice/config.json" in result.err


def test_unknown_profile_exits_with_2(folder: Path, shell: EmulatedAws) -> None:  # noqa: ARG001 - no config file
    """A profile that is not configured leads to exit code 2."""
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
def test_account_problems_are_explained(
    command: str,
    change: dict[str, str | None],
    code: int,
    words: str,
    folder: Path,
    shell: EmulatedAws,  # noqa: ARG001 - the test changes its environment
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The commands explain problems with the account, with the documented exit codes."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name, value in change.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    result = run(folder, command, "--stage", "prod", "--json")
    assert (result.code, result.document["exitCode"]) == (code, code)
    assert words in result.err


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        ("AccessDeniedException", 3),
        ("ExpiredTokenException", 3),
        ("ValidationException", 1),
    ],
)
def test_refused_call_is_named(
    empty_proxy: AwsProxy, folder: Path, refusal: str, code: int
) -> None:
    """If AWS refuses a call, the command names the call, or reports expired credentials."""
    empty_proxy.refuse("DescribeTable", refusal, "for this reason")
    result = run(folder, "provision", "--stage", "prod", "--dry-run")
    assert result.code == code
    assert "DescribeTable: for this reason" in result.err or "expired" in result.err


@pytest.mark.parametrize(
    ("code", "status"), [("ThrottlingException", 400), ("InternalServerError", 500)]
)
def test_temporary_error_exits_with_3(code: str, status: int) -> None:
    """A temporary error of AWS leads to exit code 3, and the advice to try again."""
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    problem = explain(ClientError(response, "DescribeTable"))
    assert (problem.code, problem.advice) == (3, "Try again in a minute.")


def test_interrupt_exits_with_130(folder: Path) -> None:
    """Ctrl-C leads to exit code 130, and the advice to run the command again."""

    def interrupt(_: str | None) -> Account:
        raise KeyboardInterrupt

    err = io.StringIO()
    arguments = ["doctor", "--project-dir", str(folder), "--stage", "prod"]
    assert ops.main(arguments, io.StringIO(), err, io.StringIO(), interrupt) == 130
    assert "it resumes where it stopped" in err.getvalue()


@pytest.mark.parametrize(
    ("arguments", "redirection", "code", "words"),
    [
        ("provision --stage prod --dry-run", "| true", 1, "Checking the stage prod"),
        ("provision --stage prod", "0<&-", 2, "Pipe them in, one NAME=value on each line"),
    ],
    ids=["output closed", "input closed"],
)
def test_closed_streams_are_no_internal_error(
    empty: EmulatedAws, folder: Path, arguments: str, redirection: str, code: int, words: str
) -> None:
    """A closed standard input or output is not reported as an internal error."""
    assert empty.url
    line = f"'{sys.executable}' -m ops {arguments} --project-dir '{folder}' {redirection}"
    line += "; exit ${PIPESTATUS[0]}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Internal error" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


class FailingInput(io.StringIO):
    """Standard input whose error contains the secret."""

    def read(self, _: int | None = -1) -> str:
        """Raise an error with the secret."""
        raise RuntimeError(f"not readable: {KEY}")


def test_traceback_masks_secrets(empty: EmulatedAws, folder: Path) -> None:
    """The traceback of an internal error is shown, with its secrets masked."""
    name = "/sync-upload-broker/prod/api-key"
    empty.client("ssm").put_parameter(Name=name, Value=KEY, Type="SecureString")
    err = io.StringIO()
    arguments = ["provision", "--project-dir", str(folder), "--stage", "prod"]
    code = ops.main([*arguments, "--secrets-from-stdin"], io.StringIO(), err, FailingInput())
    assert code == 1
    assert "Internal error: RuntimeError" in err.getvalue()
    assert "RuntimeError: not readable: ***" in err.getvalue()
    assert KEY not in err.getvalue()


def test_terminal_masks_each_secret() -> None:
    """Each of two secrets with a comma is masked, also if JSON or Python has escaped it."""
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(out, err, as_json=False)
    terminal.hide('first"secret\\, second-secret')
    text = 'first"secret\\ first\\"secret\\\\ second-secret and words'
    terminal.progress(text)
    terminal.result([text], {})
    assert out.getvalue() == err.getvalue() == "*** *** *** and words\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"stages": {"prod": {},}}', "line 1 column"),
        ('{"ALLOWED_ORIGINS": ""}', "has no 'stages'"),
        (None, "can't be read: No such file or directory."),
    ],
)
def test_broken_configuration_is_explained(
    project: Project, tmp_path: Path, text: str | None, words: str
) -> None:
    """A config.json that can't be read is explained, with how to restore it."""
    folder = tmp_path / "clone"
    shutil.copytree(project.folder / ".chalice", folder / ".chalice")
    file = folder / ".chalice" / "config.json"
    file.unlink() if text is None else file.write_text(text)
    result = run(folder, "doctor", "--stage", "prod")
    assert result.code == 2
    assert words in result.err
    assert ("git checkout" in result.err) == (text is not None)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("stages",), ["prod"], "config.json is not right"),
        (("stages", "prod"), [], "stages.prod must be in braces: {...}."),
        (("lambda_timeout",), "30", "lambda_timeout must be a whole number of seconds from 1 to"),
        (("lambda_memory_size",), 64, "lambda_memory_size must be a whole number of MB from 128"),
        (("stages", "prod", "reserved_concurrency"), True, "stages.prod.reserved_concurrency must"),
        (("lambda_architecture",), "arm46", "must be one of arm64, x86_64"),
        (("api_gateway_endpoint_type",), "PRIVAT", "must be one of EDGE, REGIONAL, PRIVATE"),
        (("xray",), "false", "xray must be true or false, without quotes"),
        (("app_name",), "bücher", "app_name must be a name of letters, digits and -"),
        (("minimum_compression_size",), "1024", "minimum_compression_size must be a whole number"),
        (("lambda_functions", "sweeper"), {}, "lambda_functions.sweeper: write sweep"),
        (("app_name",), 5, "app_name must be a name of letters, digits and -"),
        (("iam_policy_file",), 5, "iam_policy_file must be text"),
        (
            ("stages", "prod", "environment_variable"),
            {},
            "Chalice does not know stages.prod.environment_variable: write environment_variables",
        ),
        (("environment_variables",), "x", "environment_variables must be in braces"),
        (("lambda_functions",), [{}], "lambda_functions must be in braces"),
        (("lambda_functions", "sweep"), [], "lambda_functions.sweep must be in braces"),
        (("stages", "prod", "lambda_functions"), [], "stages.prod.lambda_functions must be"),
    ],
)
def test_wrong_line_of_configuration_is_named(
    project: Project, tmp_path: Path, path: tuple[str, ...], value: Any, words: str
) -> None:
    """A value that Chalice can't deploy is named with its right form, and how to restore it."""
    content = json.loads((project.folder / ".chalice" / "config.json").read_text())
    holder = content
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    (tmp_path / ".chalice").mkdir()
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(content))
    result = run(tmp_path, "provision", "--stage", "prod")
    assert result.code == 2
    assert words in result.err
    advice = "Correct these lines." if "must" in words or "write" in words else "git checkout"
    assert advice in result.err


def places(part: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the place of each value in a configuration."""
    for name, value in part.items() if isinstance(part, dict) else ():
        yield (*above, name)
        yield from places(value, (*above, name))


def test_each_value_of_configuration_may_be_wrong(project: Project, tmp_path: Path) -> None:
    """Whatever stands at a place of config.json, the stage is read or the mistake explained."""
    text = (project.folder / ".chalice" / "config.json").read_text()
    lines = {"tags": {}, "layers": [], "manage_iam_role": True, "reserved_concurrency": 1}
    lines |= {"xray": True, "iam_role_arn": "a", "lambda_functions": {"sweep": {}}}
    whole = json.loads(text) | lines
    whole["stages"]["prod"] |= lines
    (tmp_path / ".chalice").mkdir()
    read = 0
    for place in places(whole):
        for value in (None, [], [{}], {}, "x", "", 5, -1, 1.5, True, {"a": 1}, {"a": {}}):
            content = json.loads(json.dumps(whole))
            holder = content
            for name in place[:-1]:
                holder = holder[name]
            holder[place[-1]] = value
            (tmp_path / ".chalice" / "config.json").write_text(json.dumps(content))
            with suppress(Problem):
                stages.read(tmp_path, "prod")
                read += 1
    assert read > 100


def test_settings_of_one_function_are_refused(project: Project, tmp_path: Path) -> None:
    """A wrong setting of the sweep alone is refused, and a valid one is not."""
    content = json.loads((project.folder / ".chalice" / "config.json").read_text())
    content["lambda_functions"]["sweep"]["environment_variables"] = {"SETTLE_SECONDS": "bogus"}
    shutil.copytree(project.folder / ".chalice", tmp_path / ".chalice")
    file = tmp_path / ".chalice" / "config.json"
    content["stages"]["prod"]["lambda_functions"] = content.pop("lambda_functions")
    file.write_text(json.dumps(content))
    result = run(tmp_path, "provision", "--stage", "prod")
    assert result.code == 2
    assert "SETTLE_SECONDS is not valid" in result.err
    stage = content["stages"]["prod"]
    stage["lambda_functions"]["sweep"]["environment_variables"] = {"SETTLE_SECOND": "90"}
    file.write_text(json.dumps(content))
    assert "Write SETTLE_SECONDS in place of" in run(tmp_path, "provision", "--stage", "prod").err
    stage["lambda_functions"]["sweep"]["environment_variables"] = {"LOG_LEVEL": "DEBUG"}
    file.write_text(json.dumps(content))
    assert "LOG_LEVEL" not in run(tmp_path, "provision", "--stage", "prod").err


def test_config_of_other_features_is_accepted(project: Project, tmp_path: Path) -> None:
    """Lines of Chalice that the project does not use are not refused, and null is no value."""
    content = json.loads((project.folder / ".chalice" / "config.json").read_text())
    content |= {"subnet_ids": ["subnet-1"], "tags": {"team": "a"}, "lambda_timeout": None}
    content |= {"log_retention_in_days": 30, "reserved_concurrency": 5, "xray": True}
    content["stages"]["prod"]["api_gateway_custom_domain"] = {"domain_name": "a.example.com"}
    (tmp_path / ".chalice").mkdir()
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(content))
    assert stages.read(tmp_path, "prod").functions["api_handler"].is_traced


def test_number_in_configuration_is_named(project: Project, tmp_path: Path) -> None:
    """A setting without quotes is named, with its right form."""
    folder = tmp_path / "clone"
    shutil.copytree(project.folder / ".chalice", folder / ".chalice")
    file = folder / ".chalice" / "config.json"
    content = json.loads(file.read_text())
    content["stages"]["prod"]["environment_variables"]["PRESIGNS_PER_MINUTE"] = 90
    file.write_text(json.dumps(content))
    for command in ("provision", "doctor"):
        result = run(folder, command, "--stage", "prod")
        assert result.code == 2
        assert "PRESIGNS_PER_MINUTE in" in result.err
        assert "must be text, in quotes." in result.err


def test_compile_needs_project(tmp_path: Path) -> None:
    """Nothing is compiled in a folder that is not the project's."""
    result = run(tmp_path, "compile")
    assert result.code == 2
    assert "There is no app.py" in result.err
    assert list(tmp_path.iterdir()) == []
