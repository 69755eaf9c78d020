"""The commands of docs/operations.md, against the emulator."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ops import table
from tests.deploy.caller import Caller
from tests.support.emulated_aws import EmulatedAws, wait_until
from tests.support.stack import Stack
from tests.support.upstream_process import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()
NAME = "sync-upload-broker-prod"


def block(beginning: str) -> str:
    """Return the page's only shell block that contains a text."""
    (found,) = [one for one in re.findall(r"```sh\n(.+?)```", PAGE, re.DOTALL) if beginning in one]
    return str(found)


def run(commands: str, aws: EmulatedAws, **environ: str) -> str:
    """Run shell commands of the page, and return their output."""
    command = shlex.join([sys.executable, str(Path(__file__).parent / "aws_command.py")])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'aws() {{ {command} "$@"; }}\n{commands}'],
        cwd=ROOT,
        env={**os.environ, **aws.environment, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_throttling_command_survives_deploy(aws: EmulatedAws) -> None:
    """The page's command sets a stack's throttling, and another deployment keeps it."""
    gateway = aws.client("apigateway")
    api = gateway.create_rest_api(name="plain")["id"]
    (root,) = gateway.get_resources(restApiId=api)["items"]
    where = {"restApiId": api, "resourceId": root["id"], "httpMethod": "GET"}
    gateway.put_method(**where, authorizationType="NONE")
    gateway.put_integration(**where, type="MOCK")
    gateway.create_deployment(restApiId=api, stageName="api")
    run(block("update-stage"), aws, API_ID=api)
    # `chalice deploy` creates such a deployment.
    gateway.create_deployment(restApiId=api, stageName="api")
    settings = gateway.get_stage(restApiId=api, stageName="api")["methodSettings"]["*/*"]
    gateway.delete_rest_api(restApiId=api)
    assert (settings["throttlingRateLimit"], settings["throttlingBurstLimit"]) == (100, 200)


def test_log_commands_set_retention_and_query(aws: EmulatedAws) -> None:
    """The page's commands set the retention of both log groups, and start a query."""
    logs = aws.client("logs")
    names = [f"/aws/lambda/{NAME}", f"/aws/lambda/{NAME}-sweep"]
    before = {one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]}
    for name in set(names) - before:
        logs.create_log_group(logGroupName=name)
    run(block("put-retention-policy"), aws)
    groups = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{NAME}")["logGroups"]
    kept = {one["logGroupName"]: one.get("retentionInDays") for one in groups}
    assert {name: kept[name] for name in names} == dict.fromkeys(names, 30)
    assert "queryId" in run(block("start-query"), aws, QUERY="fields event | limit 1")


@pytest.fixture
def backed_up(aws: EmulatedAws) -> Any:
    """A DynamoDB client, with an empty table that has point-in-time recovery."""
    dynamodb = aws.client("dynamodb")
    table.create(dynamodb, NAME)
    dynamodb.update_continuous_backups(
        TableName=NAME,
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
    )
    yield dynamodb
    for name in (NAME, f"{NAME}-restored"):
        if name in dynamodb.list_tables()["TableNames"]:
            dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
            dynamodb.delete_table(TableName=name)


def test_restore_commands_keep_uploads(
    aws: EmulatedAws, backed_up: Any, stack: Stack, packaged: Path, tmp_path: Path
) -> None:
    """With the page's commands, a stack serves the uploads of a restored table."""
    caller = Caller(stack.url)
    done = caller.registered()
    own = stack.table
    # Only the restored table has the upload.
    item = backed_up.get_item(TableName=own, Key={"pk": {"S": f"upload#{done['id']}"}})["Item"]
    backed_up.put_item(TableName=NAME, Item=item)
    backed_up.delete_item(TableName=own, Key={"pk": item["pk"]})
    secret = backed_up.get_item(TableName=own, Key={"pk": {"S": "secret#callers"}})["Item"]
    backed_up.put_item(TableName=NAME, Item=secret)
    assert caller.call("GET", f"/uploads/{done['id']}").status_code == 404
    restored = f"{NAME}-restored"
    run(
        re.sub(r"--restore-date-time \S+", "--use-latest-restorable-time", block("restore-table")),
        aws,
    )
    assert json.loads(run(block("secret#callers"), aws))["Item"] == {"pk": secret["pk"]}
    config = json.loads((ROOT / ".chalice" / "config.json").read_text())
    config["stages"]["prod"]["environment_variables"]["UPLOADS_TABLE"] = restored
    (tmp_path / ".chalice").mkdir()
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(config))
    shutil.copy(ROOT / ".chalice" / "policy-prod.json", tmp_path / ".chalice")
    provision = "python -m ops provision --stage prod"
    assert f"`{provision}`. A stack adopts" in PAGE
    command = provision.replace("python", shlex.quote(sys.executable))
    run(f"{command} --project-dir {shlex.quote(str(tmp_path))}", aws)
    backups = backed_up.describe_continuous_backups(TableName=restored)
    recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"
    ttl = backed_up.describe_time_to_live(TableName=restored)["TimeToLiveDescription"]
    assert (ttl["TimeToLiveStatus"], ttl["AttributeName"]) == ("ENABLED", "ttl")
    assert backed_up.describe_table(TableName=restored)["Table"]["DeletionProtectionEnabled"]
    stack.deploy(packaged, Table=restored)
    wait_until(lambda: caller.call("GET", f"/uploads/{done['id']}").status_code == 200)
    assert caller.call("GET", "/uploads").json()["items"][0]["id"] == done["id"]
    stack.deploy(packaged)
    wait_until(lambda: caller.call("GET", f"/uploads/{done['id']}").status_code == 404)
