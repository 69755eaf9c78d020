"""`chalice deploy` and `chalice delete`, against the emulator."""

import json
from collections.abc import Iterator

import pytest
import requests

from ops import table
from tests.deploy import ways
from tests.deploy.caller import Caller
from tests.support.emulated_aws import EmulatedAws
from tests.support.imported_api import ImportingGateway
from tests.support.project import Project
from tests.support.upstream_process import RunningUpstream

STAGE = "prod"
NAME = f"sync-upload-broker-{STAGE}"


@pytest.fixture(scope="module")
def environment(aws: EmulatedAws) -> Iterator[dict[str, str]]:
    """The operator's environment, whose API Gateway calls go to the adapter, with the table."""
    table.create(aws.client("dynamodb"), NAME)
    gateway = ImportingGateway(aws)
    yield {**aws.environment, "AWS_ENDPOINT_URL_API_GATEWAY": gateway.url}
    gateway.stop()


def _deployed(project: Project) -> dict[str, dict[str, str]]:
    record = json.loads((project.folder / ".chalice" / "deployed" / f"{STAGE}.json").read_text())
    return {resource["name"]: resource for resource in record["resources"]}


def _url(project: Project, aws: EmulatedAws) -> str:
    return aws.api(_deployed(project)["rest_api"]["rest_api_id"])


def test_deployed_broker_registers_upload(
    project: Project,
    aws: EmulatedAws,
    environment: dict[str, str],
    upstream: RunningUpstream,
    abandoned: str,  # noqa: ARG001 - its wait begins early
) -> None:
    """After one command, the broker registers an upload, with the secrets from SSM."""
    project.chalice("deploy", "--stage", STAGE, **environment)
    caller = Caller(_url(project, aws))
    asset = caller.registered()["asset"]
    assert upstream.outcomes().count(f"asset {asset['id']}") == 1


def test_deployed_functions_match_stage(project: Project, aws: EmulatedAws) -> None:
    """The functions have the stage's configuration, and hold no secret."""
    functions = aws.client("lambda")
    for name, seconds in ((NAME, 30), (f"{NAME}-sweep", 120)):
        found = functions.get_function_configuration(FunctionName=name)
        assert (found["Timeout"], found["MemorySize"]) == (seconds, 512)
        assert found["TracingConfig"]["Mode"] == "PassThrough"
        assert not {"SYNC_API_KEY", "JWT_SECRET"} & set(found["Environment"]["Variables"])
    assert _deployed(project)["rest_api"]["rest_api_url"].endswith("/api/")


def test_deployed_roles_have_stage_policy(aws: EmulatedAws, project: Project) -> None:
    """Both roles have the stage's policy and no other."""
    iam = aws.client("iam")
    wanted = json.loads((project.folder / ".chalice" / f"policy-{STAGE}.json").read_text())
    for role in (f"{NAME}-api_handler", f"{NAME}-sweep"):
        assert not iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
        found = iam.get_role_policy(RoleName=role, PolicyName=policy)
        assert found["PolicyDocument"] == wanted


@pytest.mark.parametrize("row", ways.ROWS)
def test_deployment_has_what_page_says(row: str, project: Project, aws: EmulatedAws) -> None:
    """A stage of `chalice deploy` has what docs/deploy.md says of it in comparison with a stack."""
    plain = ways.Plain(aws, project, NAME, _deployed(project), _url(project, aws))
    ways.ROWS[row][0](plain)


def test_second_deploy_replaces_version(
    project: Project, aws: EmulatedAws, environment: dict[str, str]
) -> None:
    """A second deployment replaces the version, and keeps the URL and the uploads."""
    url = _url(project, aws)
    caller = Caller(url)
    upload = caller.landed()
    project.change_version("0.2.0")
    project.chalice("deploy", "--stage", STAGE, **environment)
    assert _url(project, aws) == url
    assert requests.get(url + "/", timeout=30).json()["version"] == "0.2.0"
    assert caller.complete(upload).json()["status"] == "registered"


def test_chalice_delete_keeps_table_and_secrets(
    project: Project, aws: EmulatedAws, environment: dict[str, str]
) -> None:
    """`chalice delete` deletes everything but the table and the secrets."""
    url = _url(project, aws)
    project.chalice("delete", "--stage", STAGE, **environment)
    assert requests.get(url + "/health", timeout=9).status_code == 404
    functions = aws.client("lambda").list_functions()["Functions"]
    roles = aws.client("iam").list_roles()["Roles"]
    rules = aws.client("events").list_rules()["Rules"]
    left = [one["FunctionName"] for one in functions] + [one["RoleName"] for one in roles]
    left += [one["Name"] for one in rules]
    assert not [name for name in left if name.startswith(NAME)]
    assert NAME in aws.client("dynamodb").list_tables()["TableNames"]
    names = [f"/sync-upload-broker/{STAGE}/api-key", f"/sync-upload-broker/{STAGE}/jwt-secret"]
    assert len(aws.client("ssm").get_parameters(Names=names)["Parameters"]) == 2
