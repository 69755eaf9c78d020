"""docs/deploy.md: its commands work, and its tables are complete."""

import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import boto3
import pytest
import requests
import yaml

from ops import __main__ as ops
from ops import deployment, runtimes
from tests.ops.shell import KEY, TOKENS, type_into
from tests.ops.vendored import vendor
from tests.support.emulated_aws import REGION, EmulatedAws
from tests.support.project import allow_all_parameters
from tests.support.upstream_process import ROOT, RunningUpstream

PAGE = (ROOT / "docs" / "deploy.md").read_text()
BLOCKS = dict(re.findall(r"^```sh (\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
CLONED = ("Makefile", "constraints.txt", "requirements.txt", "app.py", "ops", "chalicelib")
CLONED += (".chalice", "sandbox")
TABLE = "sync-upload-broker-prod"
# The calls of the broker's modules: the rate limiter's for a presign, the repository's to settle.
RATE_LIMITER = {"dynamodb:GetItem", "dynamodb:UpdateItem"}
REPOSITORY = RATE_LIMITER | {"dynamodb:BatchGetItem", "dynamodb:PutItem"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, upstream: RunningUpstream) -> Path:
    """A copy of the project after `make setup`, with the page's setting in its configuration."""
    folder = tmp_path_factory.mktemp("clone")
    skipped = shutil.ignore_patterns("__pycache__", "deployments", "deployed", "samples")
    for name in CLONED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=skipped)
        else:
            shutil.copy(ROOT / name, folder / name)
    allow_all_parameters(folder)
    vendor(folder)
    for name in ("constraints.txt", "requirements.txt", "sandbox/requirements.txt"):
        os.utime(folder / name, (0, 0))  # older than the environments, so that make keeps those
    for name in ("requirements-dynamodb.txt", "constraints-dynamodb.txt"):
        os.utime(folder / "sandbox" / name, (0, 0))
    for name in (".venv", ".venv-ministack"):
        (folder / name).symlink_to(ROOT / name)
    file = folder / ".chalice" / "config.json"
    ((old, new),) = re.findall(r"^```diff\n-(.*\n)\+(.*\n)```$", PAGE, re.MULTILINE)
    before = file.read_text()
    assert before.count(old) == 1
    config = json.loads(before.replace(old, new))
    settings = config["stages"]["prod"]["environment_variables"]
    assert settings["ALLOWED_ORIGINS"] == "https://app.example.com"
    # The stage uses the stand-in for Sync, and the emulator runs the functions on this machine.
    settings |= {"SYNC_BASE_URL": upstream.url, "SYNC_STORAGE_HOSTS": f"127.0.0.1:{upstream.port}"}
    config["lambda_architecture"] = "arm64" if platform.machine() == "aarch64" else "x86_64"
    file.write_text(json.dumps(config))
    return folder


def test_page_commands_deploy_check_and_remove(
    clone: Path, environment: dict[str, str], aws: EmulatedAws
) -> None:
    """The page's commands deploy a stage, find nothing wrong, and remove all but the table."""
    set_up, commands = BLOCKS["first"].splitlines()
    provision, deploy = commands.split(" && ")
    questions = [
        ("API key (not shown): ", f"{KEY}\n"),
        ("signs tokens (not shown): ", f"{TOKENS}\n"),
    ]
    first = type_into(["bash", "-euc", f"{set_up}\n{provision}"], clone, questions, environment)
    assert first.code == 0, first.screen
    assert KEY not in first.screen
    assert TOKENS not in first.screen
    # Without a terminal: Chalice would query its colours, and wait ten seconds for a response.
    run_in(clone, environment, deploy)
    record = json.loads((clone / ".chalice" / "deployed" / "prod.json").read_text())
    (api,) = [one["rest_api_id"] for one in record["resources"] if one["name"] == "rest_api"]
    url = aws.api(api)
    assert requests.get(f"{url}/health", timeout=30).json() == {"status": "ok"}
    # The emulator serves the API at another URL than the one in Chalice's record.
    doctor = BLOCKS["doctor"].replace("--stage prod", f"--stage prod --url {url}")
    assert " ok" in run_in(clone, environment, doctor).splitlines()[-1]
    run_in(clone, environment, BLOCKS["remove"])
    assert aws.client("dynamodb").list_tables()["TableNames"] == [TABLE]
    assert aws.client("ssm").describe_parameters()["Parameters"] == []
    assert aws.client("lambda").list_functions()["Functions"] == []


def run_in(clone: Path, environment: dict[str, str], commands: str) -> str:
    """Run commands in the project's environment, and return their output."""
    done = subprocess.run(
        ["bash", "-euc", f". .venv/bin/activate\n{commands}"],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_page_lists_stack_parameters() -> None:
    """The page lists each parameter of the stack with its default, and uses no unknown one."""
    text = re.sub(r"!(\w+)", "", (ROOT / ".chalice" / "template.yaml").read_text())
    parameters = yaml.safe_load(text)["Parameters"]
    defaults = {
        name: f"`{one['Default']}`"
        if one.get("Default")
        else ("none" if "Default" in one else "required")
        for name, one in parameters.items()
    }
    section = PAGE.split("## In a pipeline")[1].split("\n## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", section, re.MULTILINE)) == defaults
    named = set(re.findall(r"(\w+)=", BLOCKS["stack"].partition("--parameter-overrides")[2]))
    assert named <= set(parameters)
    required = {name for name, words in defaults.items() if words == "required"}
    assert required <= named


def test_page_passes_names_of_stage() -> None:
    """The page's command passes the table and the secrets that the stage has in config.json."""
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    settings = config["stages"]["prod"]["environment_variables"]
    given = BLOCKS["stack"].partition("--parameter-overrides")[2].split()
    for parameter, setting in deployment.PARAMETERS.items():
        if parameter != "AllowedOrigins":
            assert f"{parameter}={settings[setting]}" in given


def test_readme_has_page_commands() -> None:
    """The README has the same three commands."""
    assert f"```sh\n{BLOCKS['first']}```" in (ROOT / "README.md").read_text()


def test_page_commands_and_exit_codes() -> None:
    """The parser accepts each command line of the page, and the exit codes match the help."""
    lines = re.findall(r"python -m ops ([a-z][^`\n|&]*)", PAGE)
    assert len(lines) >= 7
    for line in lines:
        given = ops.parser().parse_args(line.split())
        assert getattr(given, "stage", "prod") == "prod"
    on_page = dict(re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE))
    in_help = re.findall(r"^  (\d+)  (.*(?:\n     .*)*)", ops.parser().epilog or "", re.MULTILINE)
    assert on_page == {code: re.sub(r"\s+", " ", words) for code, words in in_help}


SERVICES = (
    "dynamodb",
    "ssm",
    "sts",
    "lambda",
    "events",
    "iam",
    "cloudformation",
    "apigateway",
    "logs",
)
# IAM names API Gateway's actions by the methods of its URLs.
BY_METHOD = {"apigateway:GetRestApis": "apigateway:GET"}


def test_page_lists_runtimes() -> None:
    """The page lists the runtimes with the dates that the doctor uses."""
    rows = re.findall(r"^\| `(python3\.\d+)` \| (.+) \| (\S+) \| (\S+) \|$", PAGE, re.MULTILINE)
    assert rows == [
        (name, one.system, str(one.deprecated), str(one.frozen))
        for name, one in runtimes.RUNTIMES.items()
    ]
    assert f"make setup PYTHON=python{runtimes.ADVISED}" in PAGE


def operations(*modules: str) -> set[str]:
    """Return the actions of the AWS calls in the modules' sources."""
    source = "\n".join((ROOT / "ops" / f"{name}.py").read_text() for name in modules)
    found = set()
    for service in SERVICES:
        client = boto3.Session().client(service, region_name=REGION)
        for method, action in client.meta.method_to_api_mapping.items():
            if re.search(rf"\.{method}\(|get_paginator\(\"{method}\"\)", source):
                name = f"{service}:{action}"
                found.add(BY_METHOD.get(name, name))
    return found


READS = {
    "dynamodb:DescribeTable",
    "dynamodb:DescribeContinuousBackups",
    "dynamodb:DescribeTimeToLive",
    "ssm:GetParameter",
}
CHECKS = [f"checks/{path.stem}" for path in (ROOT / "ops" / "checks").glob("*.py")]


def test_page_lists_actions() -> None:
    """The page lists the actions of each command, as its source calls them."""
    rows = re.findall(r"^\| `(\w+)` \| (`\w+:.*) \|$", PAGE, re.MULTILINE)
    listed = {name: set(re.findall(r"`(\w+:\w+)`", actions)) for name, actions in rows}
    assert set(listed) == {"provision", "doctor", "record", "destroy", "settle", "probe"}
    tables, secrets = operations("table", "table_stack"), operations("parameters")
    deletion = {"cloudformation:DeleteStack"}
    stack = {"cloudformation:DescribeStacks", "cloudformation:ListStackResources"}
    functions = {"lambda:GetFunctionConfiguration", "lambda:ListFunctions"}
    unrecorded = {"lambda:GetPolicy", "apigateway:GET"}
    both = {"iam:GetPolicy"}  # the source calls Lambda's GetPolicy, and IAM has one too
    assert operations("deployment") == stack | {"lambda:ListFunctions"}
    known = {"sts:GetCallerIdentity"} | operations("presence") - both
    assert operations("presence") - both == unrecorded | {
        "lambda:GetFunctionConfiguration",
        "iam:GetRole",
    }
    assert listed["provision"] == tables | secrets - {"ssm:DeleteParameter"} | known
    assert listed["record"] == operations("record") | unrecorded
    assert listed["doctor"] == operations(*CHECKS) | READS | RATE_LIMITER | stack | known
    removal = operations("destroy") | secrets - {"ssm:PutParameter"} | deletion
    assert listed["destroy"] == removal | {
        "dynamodb:DescribeTable",
        "cloudformation:DescribeStacks",
        "cloudformation:DescribeStackEvents",
        *functions,
    }
    assert listed["settle"] == {"ssm:GetParameter"} | REPOSITORY | stack
    assert listed["probe"] == {"ssm:GetParameter"}
