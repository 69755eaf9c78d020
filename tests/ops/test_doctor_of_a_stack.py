"""`python -m ops doctor --stack`, with a CloudFormation stack as a pipeline deploys it."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops import deployment, doctor
from ops import stage as stages
from ops.checks import functions, identity
from ops.checks.findings import State, Target
from ops.terminal import Problem, Terminal
from tests.ops.shell import SECRETS, cached_account, not_ok, run
from tests.support.emulated_aws import EmulatedAws
from tests.support.project import ORIGIN, Project
from tests.support.stack import Stack
from tests.support.upstream_process import ROOT, RunningUpstream


@pytest.fixture(scope="module", autouse=True)
def stack(aws: EmulatedAws, project: Project, upstream: RunningUpstream) -> Stack:
    """The deployed stack, with its secrets and its table."""
    assert upstream.process.poll() is None
    created = Stack(aws, "uploads-of-the-app", "sync-upload-broker-prod")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        piped = ("--secrets-from-stdin", "--json")
        assert run(project.folder, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
        created.deploy(project.package())
    return created


@pytest.fixture
def target(folder: Path, shell: EmulatedAws, stack: Stack) -> Target:
    """The stage with its stack as the deployment."""
    assert shell.url
    stage = stages.read(folder, "prod")
    terminal = Terminal(io.StringIO(), io.StringIO(), as_json=False)
    found = deployment.from_stack(stage, cached_account(), stack.name)
    return Target(stage, cached_account(), terminal, found, stack.url)


def test_doctor_accepts_deployed_stack(folder: Path, shell: EmulatedAws, stack: Stack) -> None:
    """The doctor finds nothing wrong with a stack, and uses CloudFormation's names."""
    assert shell.url
    arguments = ("doctor", "--stage", "prod", "--stack", stack.name, "--url", stack.url, "--json")
    result = run(folder, *arguments)
    found = result.document["findings"]
    assert not_ok(found) == []
    assert result.code == 0
    subjects = {one["subject"] for one in found}
    (_, status) = [one["detail"] for one in found if one["check"] == "deployment"]
    assert status == "CREATE_COMPLETE"
    assert {stack.resource("ApiHandlerRole"), stack.resource("SweepRole")} <= subjects
    assert f"preflight from {ORIGIN}" in subjects


def test_stack_parameters_replace_settings(target: Target, stack: Stack) -> None:
    """The table, the origins and the log groups are the stack's."""
    assert target.environment["UPLOADS_TABLE"] == stack.table
    assert target.environment["ALLOWED_ORIGINS"] == ORIGIN
    assert target.deployment is not None
    assert target.deployment.log_groups["api_handler"] == f"/sync-upload-broker/{stack.name}/api"


def test_changed_policy_of_stack_is_wrong(target: Target, stack: Stack, shell: EmulatedAws) -> None:
    """The doctor lists the extra and the missing permissions of a stack's role."""
    iam, role = shell.client("iam"), stack.resource("SweepRole")
    (attached,) = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    iam.detach_role_policy(RoleName=role, PolicyArn=attached["PolicyArn"])
    more = {"Effect": "Allow", "Action": "dynamodb:Scan", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [more]})
    iam.put_role_policy(RoleName=role, PolicyName="by-hand", PolicyDocument=document)
    (found,) = [one for one in functions.policy(target) if one.state is not State.OK]
    iam.delete_role_policy(RoleName=role, PolicyName="by-hand")
    iam.attach_role_policy(RoleName=role, PolicyArn=attached["PolicyArn"])
    assert found.subject == role
    assert "it also allows dynamodb:Scan on *" in found.detail
    assert f"dynamodb:GetItem on table/{stack.table}" in found.detail
    assert f"logs:PutLogEvents on log-group:/sync-upload-broker/{stack.name}/api" in found.detail


def test_stack_of_another_stage_is_wrong(target: Target) -> None:
    """The doctor reports a stack that uses the table and the secrets of another stage."""
    assert [one for one in identity.settings(target) if one.state is not State.OK] == []
    dev = replace(target, stage=stages.read(target.stage.folder, "dev"))
    found = [one for one in identity.settings(dev) if one.state is not State.OK]
    names = ["UPLOADS_TABLE", "SYNC_API_KEY_PARAMETER", "JWT_SECRET_PARAMETER"]
    assert [one.subject for one in found] == names
    used, created = "/sync-upload-broker/prod/api-key", "/sync-upload-broker/dev/api-key"
    assert found[1].detail == f"the stack uses {used}, but provision creates {created}"
    assert "Set the stack's parameter ApiKeyParameter, or" in found[1].advice
    assert doctor.exit_code(found) == 1


def test_stack_policy_without_jwt_secret(target: Target) -> None:
    """Without JWT_SECRET_PARAMETER, the stack's policy grants no access to it."""
    stage, deployed = target.stage, target.deployment
    assert deployed is not None
    assert stage.policy_file is not None
    environment = {**deployed.environment, "JWT_SECRET_PARAMETER": ""}
    wanted = functions.in_stack(
        functions.grants(
            json.loads((ROOT / ".chalice" / stage.policy_file.name).read_text()),
            functions.Place("aws", deployed.region, "1"),
        ),
        stage,
        replace(deployed, environment=environment),
    )
    parameters = {name for _, action, name, _ in wanted if action == "ssm:GetParameters"}
    assert parameters == {"parameter/sync-upload-broker/prod/api-key"}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("UPDATE_COMPLETE", State.OK),
        ("UPDATE_ROLLBACK_COMPLETE", State.OK),
        ("UPDATE_ROLLBACK_FAILED", State.WRONG),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", State.UNKNOWN),
    ],
)
def test_stack_status_needs_completed_change(status: str, state: State) -> None:
    """A stack whose last change failed is wrong; one whose change is running is unknown."""
    found = doctor.status_finding(status, "broker-prod")
    assert (found.state, found.detail) == (state, status)
    assert bool(found.advice) is (state is not State.OK)


@pytest.mark.parametrize("name", ["nowhere", "another"])
def test_unknown_stack_is_wrong(target: Target, shell: EmulatedAws, name: str) -> None:
    """The doctor reports a stack that does not exist, or is not the broker's."""
    if name == "another":
        resource = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "x"}}
        body: Any = json.dumps({"Resources": {"One": resource}})
        shell.client("cloudformation").create_stack(StackName=name, TemplateBody=body)
    with pytest.raises(Problem, match=f"stack {name}"):
        deployment.from_stack(target.stage, cached_account(), name)
    found = doctor.run(replace(target, deployment=None, url=None), name, may_presign=False)
    (one,) = [one for one in found if one.check == "deployment"]
    assert one.state is State.WRONG
    assert "describe-stacks" in one.advice
