"""`python -m ops doctor --stack`: a CloudFormation stack, as a pipeline makes it."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops import deployment, doctor
from ops import stage as stages
from ops.checks import functions, identity
from ops.checks.findings import Patient, State
from ops.terminal import Problem, Terminal
from tests.ops.shell import SECRETS, known, run
from tests.support.emulated_aws import EmulatedAws
from tests.support.project import ORIGIN, Project
from tests.support.stack import Stack
from tests.support.upstream_process import RunningUpstream


@pytest.fixture(scope="module", autouse=True)
def stack(aws: EmulatedAws, project: Project, upstream: RunningUpstream) -> Stack:
    """The secrets, the table, and the stack."""
    assert upstream.process.poll() is None
    made = Stack(aws, "uploads-of-the-app", "sync-upload-broker-prod")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        piped = ("--secrets-from-stdin", "--json")
        assert run(project.folder, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
        made.deploy(project.package())
    return made


@pytest.fixture
def patient(folder: Path, shell: EmulatedAws, stack: Stack) -> Patient:
    """The stack, found by its name."""
    assert shell.url
    stage = stages.read(folder, "prod")
    terminal = Terminal(io.StringIO(), io.StringIO(), as_json=False)
    found = deployment.stack(stage, known(), stack.name)
    return Patient(stage, known(), terminal, found, stack.url)


def test_fine(folder: Path, shell: EmulatedAws, stack: Stack) -> None:
    """A stack is fine in every part, under the names that CloudFormation gave."""
    assert shell.url
    arguments = ("doctor", "--stage", "prod", "--stack", stack.name, "--url", stack.url, "--json")
    said = run(folder, *arguments)
    found = said.document["findings"]
    assert [one for one in found if one["state"] != "ok"] == []
    assert said.code == 0
    subjects = {one["subject"] for one in found}
    (_, status) = [one["detail"] for one in found if one["check"] == "deployment"]
    assert status == "CREATE_COMPLETE"
    assert {stack.resource("ApiHandlerRole"), stack.resource("SweepRole")} <= subjects
    assert f"preflight from {ORIGIN}" in subjects


def test_names(patient: Patient, stack: Stack) -> None:
    """Table, parameters and origins are the stack's."""
    assert patient.environment["UPLOADS_TABLE"] == stack.table
    assert patient.environment["ALLOWED_ORIGINS"] == ORIGIN
    assert patient.deployment is not None
    assert patient.deployment.log_groups["api_handler"] == f"/sync-upload-broker/{stack.name}/api"


def test_policy(patient: Patient, stack: Stack, shell: EmulatedAws) -> None:
    """What its roles may do is held against the stage's policy, too much and too little."""
    iam, role = shell.client("iam"), stack.resource("SweepRole")
    (attached,) = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    iam.detach_role_policy(RoleName=role, PolicyArn=attached["PolicyArn"])
    more = {"Effect": "Allow", "Action": "dynamodb:Scan", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [more]})
    iam.put_role_policy(RoleName=role, PolicyName="by-hand", PolicyDocument=document)
    (found,) = [one for one in functions.policy(patient) if one.state is not State.OK]
    iam.delete_role_policy(RoleName=role, PolicyName="by-hand")
    iam.attach_role_policy(RoleName=role, PolicyArn=attached["PolicyArn"])
    assert found.subject == role
    assert "it may also dynamodb:Scan on *" in found.detail
    assert f"dynamodb:GetItem on table/{stack.table}" in found.detail
    assert f"logs:PutLogEvents on log-group:/sync-upload-broker/{stack.name}/api" in found.detail


def test_names_of_another_stage(patient: Patient) -> None:
    """A stack with another stage's table and secrets is found: its parameters default to prod's."""
    assert [one for one in identity.settings(patient) if one.state is not State.OK] == []
    dev = replace(patient, stage=stages.read(patient.stage.folder, "dev"))
    found = [one for one in identity.settings(dev) if one.state is not State.OK]
    names = ["UPLOADS_TABLE", "SYNC_API_KEY_PARAMETER", "JWT_SECRET_PARAMETER"]
    assert [one.subject for one in found] == names
    used, made = "/sync-upload-broker/prod/api-key", "/sync-upload-broker/dev/api-key"
    assert found[1].detail == f"the stack uses {used}, and provision makes {made}"
    assert "Set the stack's parameter ApiKeyParameter, or" in found[1].advice
    assert doctor.exit_code(found) == 1


def test_without_a_secret_of_tokens(patient: Patient) -> None:
    """Where an identity provider signs, the policy has no parameter of theirs."""
    stage, deployed = patient.stage, patient.deployment
    assert deployed is not None
    assert stage.policy_file is not None
    environment = {**deployed.environment, "JWT_SECRET_PARAMETER": ""}
    wanted = functions.in_stack(
        functions.grants(json.loads(stage.policy_file.read_text()), deployed.region, "1"),
        stage,
        replace(deployed, environment=environment),
    )
    parameters = {what for _, action, what, _ in wanted if action == "ssm:GetParameter"}
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
def test_status(status: str, state: State) -> None:
    """A stack whose last change failed, or has not ended, is not fine."""
    found = doctor.judge_status(status, "broker-prod")
    assert (found.state, found.detail) == (state, status)
    assert bool(found.advice) is (state is not State.OK)


@pytest.mark.parametrize("name", ["nowhere", "another"])
def test_no_such_stack(patient: Patient, shell: EmulatedAws, name: str) -> None:
    """A stack that is not there, or is none of the broker's, is told."""
    if name == "another":
        resource = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "x"}}
        body: Any = json.dumps({"Resources": {"One": resource}})
        shell.client("cloudformation").create_stack(StackName=name, TemplateBody=body)
    with pytest.raises(Problem, match=f"stack {name}"):
        deployment.stack(patient.stage, known(), name)
    found = doctor.run(replace(patient, deployment=None, url=None), name, may_presign=False)
    (one,) = [one for one in found if one.check == "deployment"]
    assert one.state is State.WRONG
    assert "describe-stacks" in one.advice
