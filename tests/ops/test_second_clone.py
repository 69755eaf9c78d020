"""A colleague's clone of a deployed stage, with and without Chalice's record of it."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.ops.aws_proxy import AwsProxy, Response
from tests.ops.shell import KEY, SECRETS, TOKENS, run
from tests.ops.test_deploy_page import BLOCKS
from tests.support.emulated_aws import EmulatedAws
from tests.support.project import Project
from tests.support.upstream_process import ROOT

NAME = "sync-upload-broker-prod"
RECORD = Path(".chalice") / "deployed" / "prod.json"


def in_shell(folder: Path, environment: dict[str, str], commands: str) -> str:
    """Run commands in a folder, and return their output, errors included."""
    done = subprocess.run(
        ["bash", "-c", f". {ROOT / '.venv/bin/activate'}\n{commands}"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def deployed(
    aws: EmulatedAws, project: Project, environment: dict[str, str]
) -> tuple[Path, dict[str, Any]]:
    """The folder that deployed the stage, and Chalice's record of it."""
    folder = project.folder
    shutil.copytree(ROOT / "ops", folder / "ops", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".gitignore", folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        piped = ("--secrets-from-stdin", "--json")
        assert run(folder, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
    in_shell(folder, environment, "chalice deploy --stage prod")
    return folder, json.loads((folder / RECORD).read_text())


@pytest.fixture
def clone(deployed: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy of the project by somebody who has not got the record."""
    kept = shutil.ignore_patterns("deployed", "deployments")
    shutil.copytree(deployed[0], tmp_path / "clone", ignore=kept)
    return tmp_path / "clone"


def apis(aws: EmulatedAws) -> list[str]:
    """Return the ids of the account's APIs."""
    return [one["id"] for one in aws.client("apigateway").get_rest_apis()["items"]]


def test_page_commands_stop_without_record(
    clone: Path, aws: EmulatedAws, environment: dict[str, str]
) -> None:
    """Without the record, the page's commands deploy nothing, and name both ways to get it."""
    (before,) = apis(aws)
    changed = aws.client("lambda").get_function_configuration(FunctionName=NAME)["LastModified"]
    _, deploy = BLOCKS["first"].split("\n", 1)
    output = in_shell(clone, environment, deploy)
    assert "The stage prod is deployed, but this folder has no record of it." in output
    assert "Get .chalice/deployed/prod.json from where" in output
    assert "`python -m ops record --stage prod`" in output
    assert apis(aws) == [before]
    after = aws.client("lambda").get_function_configuration(FunctionName=NAME)["LastModified"]
    assert after == changed
    assert requests.get(f"{aws.api(before)}/health", timeout=30).json() == {"status": "ok"}


def test_provision_of_stage_deployed_elsewhere(clone: Path, shell: EmulatedAws) -> None:
    """Provision runs without the record if Terraform deploys, or for a rotation of secrets."""
    assert shell.url
    assert run(clone, "provision", "--stage", "prod").code == 1
    for option in ("--deployed-elsewhere", "--secrets-only"):
        assert run(clone, "provision", "--stage", "prod", option).code == 0


@pytest.mark.parametrize("content", [None, '{"resources": [], "schema_version": "2.0"}'])
def test_doctor_without_record_advises_no_deploy(
    clone: Path, shell: EmulatedAws, content: str | None
) -> None:
    """The doctor finds a stage that was deployed elsewhere, and checks its functions by name."""
    assert shell.url
    if content is not None:  # Chalice's record after `chalice delete`
        (clone / RECORD).parent.mkdir()
        (clone / RECORD).write_text(content)
    result = run(clone, "doctor", "--stage", "prod", "--no-presign", "--json")
    assert result.code == 1
    found = result.document["findings"]
    (record,) = [one for one in found if one["state"] == "wrong"]
    assert (record["check"], record["subject"]) == ("deployment", "record")
    assert "Do not run `chalice deploy`" in record["advice"]
    assert "ok" in {one["state"] for one in found if one["check"] == "functions"}
    advice = " ".join(one["advice"] for one in found)
    assert "Deploy first" not in advice
    assert "Deploy the stage first" not in advice


@pytest.fixture
def stage_proxy(proxy: AwsProxy, shell: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The proxy in front of the account, for one test's rules."""
    assert shell.url
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    before = dict(proxy.rules)
    proxy.calls.clear()
    yield proxy
    proxy.rules.clear()
    proxy.rules.update(before)


def in_use(forward: Callable[[], Response]) -> Response:
    """Add where a role was used, which AWS knows some hours after its first use."""
    status, response = forward()
    used = "<RoleLastUsed><Region>us-east-1</Region></RoleLastUsed></Role>"
    return status, response.replace("</Role>", used)


@pytest.fixture
def elsewhere(shell: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that is set to another region than the stage's."""
    assert shell.url
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(name, "eu-west-1")


@pytest.mark.usefixtures("elsewhere")
def test_clone_in_other_region_is_refused(clone: Path, stage_proxy: AwsProxy) -> None:
    """Without the record, a stage is not deployed to a second region, which would share its roles.

    The doctor gives no advice that would create something there.
    """
    stage_proxy.rules["GetRole"] = in_use
    command = ("provision", "--stage", "prod", "--secrets-from-stdin")
    result = run(clone, *command, stdin=SECRETS)
    assert result.code == 2
    assert f"The role {NAME}-api_handler was last used in us-east-1" in result.err
    assert not {"PutParameter", "CreateChangeSet", "CreateTable"} & set(stage_proxy.calls)
    checked = run(clone, "doctor", "--stage", "prod", "--no-presign", "--json")
    wrong = [one for one in checked.document["findings"] if one["state"] == "wrong"]
    assert {(one["check"], one["subject"]) for one in wrong} == {
        ("account", "region"),
        ("deployment", "record"),
    }
    assert "Set AWS_DEFAULT_REGION to us-east-1." in wrong[-1]["advice"]
    assert "python -m ops provision" not in checked.out


@pytest.mark.usefixtures("elsewhere")
def test_clone_in_other_region_is_warned_early(clone: Path, shell: EmulatedAws) -> None:
    """Before IAM knows where a role was used, provision and the doctor name both possibilities."""
    assert shell.url
    result = run(clone, "provision", "--stage", "prod", "--dry-run")
    assert result.code == 0
    assert f"The role {NAME}-api_handler exists, but no function in eu-west-1." in result.err
    found = run(clone, "doctor", "--stage", "prod", "--no-presign", "--json").document["findings"]
    (record,) = [one for one in found if one["check"] == "deployment"]
    assert record["state"] == "wrong"
    assert "nothing of the stage is in eu-west-1, but its role" in record["detail"]
    assert "If the stage is deployed in another region, set AWS_DEFAULT_REGION" in record["advice"]
    assert "If a deployment was interrupted, deploy again" in record["advice"]


def test_role_of_other_region_does_not_hide_the_stage(
    clone: Path, stage_proxy: AwsProxy, aws: EmulatedAws
) -> None:
    """If the stage is here, it does not matter where its roles were used, nor for a rotation."""

    def in_europe(forward: Callable[[], Response]) -> Response:
        status, response = in_use(forward)
        return status, response.replace("us-east-1", "eu-west-1")

    assert apis(aws)
    stage_proxy.rules["GetRole"] = in_europe
    assert run(clone, "provision", "--stage", "prod", "--secrets-only").code == 0
    result = run(clone, "provision", "--stage", "prod")
    assert result.code == 1
    assert "is deployed, but this folder has no record of it" in result.err
    assert "GetRole" not in stage_proxy.calls


def test_interrupted_deployment_is_repeated(
    clone: Path, stage_proxy: AwsProxy, shell: EmulatedAws
) -> None:
    """Functions that no API may call are left of a deployment, which no command refuses to repeat.

    For a function without a policy AWS returns the same error as for a missing function.
    """

    def without_policy(forward: Callable[[], Response]) -> Response:
        status, response = forward()
        missing = {"__type": "ResourceNotFoundException", "message": "no policy"}
        return (404, missing) if "Policy" in response else (status, response)

    assert run(clone, "provision", "--stage", "prod").code == 1
    stage_proxy.rules["GET ['functions']"] = without_policy
    assert run(clone, "provision", "--stage", "prod").code == 0
    deploy = "`python -m ops provision --stage prod && chalice deploy --stage prod`"
    result = run(clone, "record", "--stage", "prod")
    assert result.code == 1
    assert f"No API may call {NAME}, so its deployment was interrupted." in result.err
    assert f"Deploy again: {deploy}." in result.err
    result = run(clone, "doctor", "--stage", "prod", "--no-presign")
    assert result.code == 1
    assert deploy in result.out
    assert "Do not run" not in result.out
    result = run(clone, "destroy", "--stage", "prod")
    assert result.code == 1
    assert "If a deployment was interrupted before it wrote that file, deploy again" in result.err
    assert shell.client("lambda").get_function_configuration(FunctionName=NAME)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("rest_api", None, "it lacks rest_api's rest_api_id, rest_api's rest_api_url"),
        ("rest_api", {"rest_api_id": ""}, "it lacks rest_api's rest_api_id"),
        ("api_handler", {"lambda_arn": "arn"}, "it names no function: arn"),
    ],
)
def test_unusable_record_is_explained(
    clone: Path,
    deployed: tuple[Path, dict[str, Any]],
    shell: EmulatedAws,
    name: str,
    change: dict[str, str] | None,
    words: str,
) -> None:
    """A record that lacks a part, such as one that was merged wrongly, is not taken for none."""
    assert shell.url
    (clone / RECORD).parent.mkdir()
    left = [one for one in deployed[1]["resources"] if one["name"] != name]
    if change is not None:
        (whole,) = [one for one in deployed[1]["resources"] if one["name"] == name]
        left.append({**whole, **change})
    (clone / RECORD).write_text(json.dumps({**deployed[1], "resources": left}))
    for command in ("provision", "doctor", "record"):
        result = run(clone, command, "--stage", "prod")
        assert result.code == 1
        assert f"can't be used as Chalice's record: {words}" in result.err + result.out
        assert "move it away, and run `python -m ops record" in result.err + result.out
        assert "chalice deploy" not in result.err + result.out
    (clone / RECORD).unlink()
    assert run(clone, "record", "--stage", "prod").code == 0


def test_record_without_sweep_is_rebuilt(clone: Path, stage_proxy: AwsProxy) -> None:
    """If the sweep's function was deleted, the record has the rest, and the doctor names it."""

    def missing(forward: Callable[[], Response]) -> Response:
        status, response = forward()
        if not str(response.get("FunctionName", "")).endswith("-sweep"):
            return status, response
        return 404, {"__type": "ResourceNotFoundException", "message": "no such function"}

    stage_proxy.rules["GET ['functions']"] = missing
    assert run(clone, "record", "--stage", "prod").code == 0
    names = {one["name"] for one in json.loads((clone / RECORD).read_text())["resources"]}
    assert names == {"api_handler_role", "api_handler", "rest_api"}
    result = run(clone, "doctor", "--stage", "prod", "--no-presign")
    assert result.code == 1
    assert "Deploy again: python -m ops provision --stage prod && chalice deploy" in result.out


def test_rebuilt_record_is_chalices(
    clone: Path,
    deployed: tuple[Path, dict[str, Any]],
    aws: EmulatedAws,
    shell: EmulatedAws,
    environment: dict[str, str],
) -> None:
    """The rebuilt record equals Chalice's, and a deployment with it updates the same API."""
    assert shell.url
    result = run(clone, "record", "--stage", "prod", "--dry-run", "--json")
    assert (result.code, set(result.outcomes())) == (0, {"planned"})
    assert not (clone / RECORD).exists()
    result = run(clone, "record", "--stage", "prod", "--json")
    assert (result.code, set(result.outcomes())) == (0, {"done"}), result.err
    assert json.loads((clone / RECORD).read_text()) == deployed[1]
    assert (clone / RECORD).read_text() == (deployed[0] / RECORD).read_text()
    before = apis(aws)
    in_shell(clone, environment, BLOCKS["first"].split("\n", 1)[1])
    assert apis(aws) == before
    assert json.loads((clone / RECORD).read_text()) == deployed[1]
    again = run(clone, "record", "--stage", "prod")
    assert again.code == 1
    assert "exists already" in again.err


def test_record_needs_the_api(clone: Path, aws: EmulatedAws, shell: EmulatedAws) -> None:
    """If two APIs may call the function, the operator has to name one of them."""
    assert shell.url
    (first,) = apis(aws)
    second = aws.client("apigateway").create_rest_api(name="second")["id"]
    aws.client("lambda").add_permission(
        FunctionName=NAME,
        StatementId="second",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:us-east-1:000000000000:{second}/*",
    )
    try:
        result = run(clone, "record", "--stage", "prod")
        assert result.code == 2
        assert "2 APIs may call" in result.err
        assert first in result.err
        assert second in result.err
        assert run(clone, "record", "--stage", "prod", "--api-id", "another").code == 2
        assert run(clone, "record", "--stage", "prod", "--api-id", first).code == 0
    finally:
        aws.client("lambda").remove_permission(FunctionName=NAME, StatementId="second")
        aws.client("apigateway").delete_rest_api(restApiId=second)


def test_record_of_missing_stage_is_refused(clone: Path, shell: EmulatedAws) -> None:
    """No record is written for a stage without functions."""
    assert shell.url
    result = run(clone, "record", "--stage", "dev")
    assert result.code == 1
    assert "There is no function sync-upload-broker-dev in us-east-1." in result.err
    assert not (clone / RECORD.with_name("dev.json")).exists()


def test_record_of_other_account_is_refused(
    clone: Path, deployed: tuple[Path, dict[str, Any]], shell: EmulatedAws
) -> None:
    """Provision and the doctor refuse to use a record of another account."""
    assert shell.url
    record = clone / RECORD
    record.parent.mkdir()
    record.write_text(json.dumps(deployed[1]).replace("0" * 12, "123456789012"))
    result = run(clone, "provision", "--stage", "prod")
    assert result.code == 2
    assert "deployed to the account 123456789012, but this is 000000000000." in result.err
    more = ("--url", "http://127.0.0.1:9", "--no-presign", "--json")
    found = run(clone, "doctor", "--stage", "prod", *more).document["findings"]
    (bad,) = [one for one in found if one["state"] == "wrong"]
    assert (bad["check"], bad["subject"]) == ("account", "credentials")
    assert bad["detail"].endswith("but the stage was deployed to the account 123456789012")
    assert "use another stage" in bad["advice"]


def test_record_holds_no_secret(deployed: tuple[Path, dict[str, Any]]) -> None:
    """Chalice's record holds names, ids and ARNs, and neither a secret nor a setting."""
    folder, record = deployed
    known = {"name", "resource_type", "role_arn", "role_name", "lambda_arn", "rule_name"}
    known |= {"rest_api_id", "rest_api_url"}
    assert {field for one in record["resources"] for field in one} == known
    config = json.loads((folder / ".chalice" / "config.json").read_text())
    values = config["stages"]["prod"]["environment_variables"].values()
    text = json.dumps(record)
    # The table's name is also the prefix of the functions' names.
    assert not [one for one in {*values, KEY, TOKENS} - {NAME, ""} if one in text]


def test_git_clone_has_record(
    deployed: tuple[Path, dict[str, Any]],
    aws: EmulatedAws,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """The record can be committed, and a deployment from a clone updates the same API."""
    folder, record = deployed
    user = "-c user.name=a -c user.email=a@example.com"
    in_shell(folder, environment, f"git add -A && git {user} commit -qm all")
    in_shell(tmp_path, environment, f"git clone -q {folder} clone")
    clone = tmp_path / "clone"
    assert json.loads((clone / RECORD).read_text()) == record
    before = apis(aws)
    # git ignores vendor/, from which this test's libraries come.
    shutil.copytree(folder / "vendor", clone / "vendor")
    in_shell(clone, environment, BLOCKS["first"].split("\n", 1)[1])
    assert apis(aws) == before
    assert json.loads((clone / RECORD).read_text()) == record
