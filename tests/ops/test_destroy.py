"""`python -m ops destroy`: it deletes the secrets, and the table only with a confirmation."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ops.aws_proxy import AwsProxy, Response
from tests.ops.shell import SECRETS, at_terminal, run
from tests.support.emulated_aws import ACCOUNT, EmulatedAws

TABLE = "sync-upload-broker-prod"
DESTROY = ("destroy", "--stage", "prod", "--json")


@pytest.fixture(autouse=True)
def provisioned(empty: EmulatedAws, folder: Path) -> EmulatedAws:
    """An account after `provision`."""
    piped = ("--secrets-from-stdin", "--json")
    assert run(folder, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
    return empty


def left(aws: EmulatedAws) -> tuple[int, list[str]]:
    """Return the number of remaining secrets, and the names of the tables."""
    found = aws.client("ssm").describe_parameters()["Parameters"]
    return len(found), aws.client("dynamodb").list_tables()["TableNames"]


def test_destroy_keeps_table_by_default(provisioned: EmulatedAws, folder: Path) -> None:
    """Without options, destroy deletes only the secrets, and is idempotent."""
    result = run(folder, *DESTROY)
    assert result.code == 0, result.err
    assert left(provisioned) == (0, [TABLE])
    assert [one["outcome"] for one in result.document["steps"]] == ["done", "done", "kept"]
    assert "only the table records who owns which asset" in result.document["steps"][2]["detail"]
    again = run(folder, *DESTROY)
    assert (again.code, set(again.outcomes())) == (0, {"kept"})


@pytest.mark.parametrize("more", [(), ("--yes-delete-the-table", TABLE), ("--delete-table",)])
def test_destroy_dry_run_changes_nothing(
    empty_proxy: AwsProxy, folder: Path, more: tuple[str, ...]
) -> None:
    """With --dry-run, destroy reports what it would delete, and deletes nothing."""
    piped = ("--secrets-from-stdin", "--json")
    assert run(folder, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
    empty_proxy.calls.clear()
    result = run(folder, *DESTROY, "--dry-run", *more)
    assert result.code == 0, result.err
    assert len(result.outcomes()["planned"]) == (3 if more else 2)
    assert not [one for one in empty_proxy.calls if one.startswith(("Delete", "Update", "Put"))]


def test_destroy_deletes_table_with_option(provisioned: EmulatedAws, folder: Path) -> None:
    """With --yes-delete-the-table, destroy turns the protection off and deletes everything."""
    result = run(folder, *DESTROY, "--yes-delete-the-table", TABLE)
    assert result.code == 0, result.err
    assert left(provisioned) == (0, [])
    assert "Turning the deletion protection" in result.err
    assert provisioned.client("cloudformation").describe_stacks()["Stacks"] == []


def make_logs(aws: EmulatedAws) -> list[str]:
    """Create the log groups of `chalice deploy`, of the gateway and of a stack, and one more."""
    names = [f"/aws/lambda/{TABLE}", f"/aws/lambda/{TABLE}-sweep"]
    names.append("/sync-upload-broker/prod/access")
    names += ["/sync-upload-broker/gone/api", f"/aws/lambda/{TABLE}-another"]
    for name in names:
        aws.client("logs").create_log_group(logGroupName=name)
    return names


def log_groups(aws: EmulatedAws) -> list[str]:
    """Return the names of the account's log groups."""
    found = aws.client("logs").describe_log_groups()["logGroups"]
    return [one["logGroupName"] for one in found]


def test_destroy_keeps_logs_by_default(provisioned: EmulatedAws, folder: Path) -> None:
    """Without the option, destroy names the log groups and how to delete them, and keeps them."""
    names = make_logs(provisioned)
    result = run(folder, *DESTROY)
    assert result.code == 0, result.err
    assert f"The logs stay, if there are any: {', '.join(names[:3])}." in result.err
    assert "--delete-logs" in result.err
    assert sorted(log_groups(provisioned)) == sorted(names)


def test_destroy_deletes_logs_with_option(provisioned: EmulatedAws, folder: Path) -> None:
    """With --delete-logs, destroy deletes the groups of the stage and its stack, and no other."""
    names = make_logs(provisioned)
    more = ("--delete-logs", "--stack", "gone")
    result = run(folder, *DESTROY, *more, "--dry-run")
    assert result.outcomes()["planned"].count("delete the log group") == 4
    assert sorted(log_groups(provisioned)) == sorted(names)
    result = run(folder, *DESTROY, *more)
    assert result.code == 0, result.err
    assert result.outcomes()["done"].count("the log group was deleted") == 4
    assert "there is no such log group" in result.outcomes()["kept"], "the sweep's of the stack"
    assert log_groups(provisioned) == [names[-1]]


def test_destroy_resumes_after_interruption(provisioned: EmulatedAws, folder: Path) -> None:
    """Destroy deletes the table if an earlier run has deleted only the stack, or everything."""
    provisioned.client("cloudformation").delete_stack(StackName=f"table-{TABLE}")
    for detail in ("the table was deleted", "there is no such table"):
        result = run(folder, *DESTROY, "--yes-delete-the-table", TABLE)
        assert result.code == 0, result.err
        assert result.document["steps"][-1]["detail"] == detail
    assert left(provisioned) == (0, [])


@pytest.mark.parametrize(
    "more",
    [("--yes-delete-the-table", "another"), ("--delete-table",)],
    ids=["another name", "no terminal"],
)
def test_destroy_needs_confirmation(
    provisioned: EmulatedAws, folder: Path, more: tuple[str, ...]
) -> None:
    """With another name, or without a terminal to ask, destroy removes nothing."""
    result = run(folder, *DESTROY, *more)
    assert result.code == 2
    assert left(provisioned) == (2, [TABLE])


@pytest.mark.parametrize(("typed", "code"), [(TABLE, 0), ("yes", 2), ("", 2)])
def test_destroy_asks_for_table_name(
    provisioned: EmulatedAws, folder: Path, typed: str, code: int
) -> None:
    """At a terminal, the operator has to type the table's name."""
    seen = at_terminal(
        folder, "destroy", "--stage", "prod", "--delete-table", keys=[("delete it:", f"{typed}\n")]
    )
    assert seen.code == code, seen.screen
    assert f"The table {TABLE} holds about 0 items" in seen.screen
    assert left(provisioned) == ((0, []) if code == 0 else (2, [TABLE]))


def test_destroy_refuses_deployed_stage(
    provisioned: EmulatedAws, folder: Path, tmp_path: Path
) -> None:
    """Destroy refuses a deployed stage, and advises `chalice delete`."""
    (tmp_path / ".chalice" / "deployed").mkdir(parents=True)
    config = (folder / ".chalice" / "config.json").read_text()
    (tmp_path / ".chalice" / "config.json").write_text(config)
    record = tmp_path / ".chalice" / "deployed" / "prod.json"
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{TABLE}"
    resources = [
        {"name": "api_handler", "lambda_arn": arn},
        {"name": "rest_api", "rest_api_id": "a", "rest_api_url": "https://a"},
    ]
    record.write_text(json.dumps({"resources": resources}))
    result = run(tmp_path, *DESTROY)
    assert result.code == 1
    assert "First run `chalice delete --stage prod`" in result.err
    assert left(provisioned) == (2, [TABLE])
    # Chalice's record after `chalice delete`.
    record.write_text(json.dumps({"resources": [], "schema_version": "2.0", "backend": "api"}))
    assert run(tmp_path, *DESTROY).code == 0


def make_role(aws: EmulatedAws) -> str:
    """Create a role, and return its ARN."""
    created = aws.client("iam").create_role(RoleName="any", AssumeRolePolicyDocument="{}")
    arn: str = created["Role"]["Arn"]
    return arn


def make_function(aws: EmulatedAws, role: str, name: str, **environment: str) -> None:
    """Create a function that does nothing."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "def app(event, context): ...")
    aws.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=role,
        Handler="app.app",
        Code={"ZipFile": code.getvalue()},
        Environment={"Variables": environment},
    )


@pytest.mark.parametrize(
    ("setting", "more"),
    [
        ({"UPLOADS_TABLE": TABLE}, ("--dry-run",)),
        ({"SYNC_API_KEY_PARAMETER": "/sync-upload-broker/prod/api-key"}, ("--stack", "mistyped")),
        ({"JWT_SECRET_PARAMETER": "/sync-upload-broker/prod/jwt-secret"}, ()),
    ],
    ids=["table", "key", "tokens"],
)
def test_destroy_refuses_table_in_use(
    provisioned: EmulatedAws, folder: Path, setting: dict[str, str], more: tuple[str, ...]
) -> None:
    """Destroy removes nothing while any function of the account names the table or a secret."""
    role = make_role(provisioned)
    for number in range(60):  # a page of the list has 50 functions
        make_function(provisioned, role, f"a-{number}", UPLOADS_TABLE="another")
    make_function(provisioned, role, "running-ApiHandler-1", **setting)
    result = run(folder, *DESTROY, *more)
    assert result.code == 1
    assert "still use the stage's table or secrets: running-ApiHandler-1." in result.err
    assert left(provisioned) == (2, [TABLE])
    provisioned.client("lambda").delete_function(FunctionName="running-ApiHandler-1")
    assert run(folder, *DESTROY, *more).code == 0


def test_destroy_finds_functions_by_name(provisioned: EmulatedAws, folder: Path) -> None:
    """Destroy refuses a stage that was deployed from another folder."""
    make_function(provisioned, make_role(provisioned), TABLE)  # the function has the same name
    result = run(folder, *DESTROY)
    assert result.code == 1
    assert "in the folder that it was deployed from" in result.err
    assert left(provisioned) == (2, [TABLE])


@pytest.mark.parametrize("more", [("--yes-delete-the-table", TABLE), ()], ids=["waits", "reports"])
def test_destroy_waits_for_running_deletion(
    empty_proxy: AwsProxy, folder: Path, more: tuple[str, ...]
) -> None:
    """Destroy waits for a table that is being deleted already, and does not delete it again."""
    piped = ("--secrets-from-stdin", "--json")
    assert run(folder, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
    calls: list[int] = []

    def deleting(forward: Callable[[], Response]) -> Response:
        status, response = forward()
        calls.append(status)
        if len(calls) > 2:
            return 400, {"__type": "ResourceNotFoundException"}
        response["Table"]["TableStatus"] = "DELETING"
        return status, response

    empty_proxy.rules["DescribeTable"] = deleting
    empty_proxy.calls.clear()
    result = run(folder, *DESTROY, *more)
    assert result.code == 0, result.err
    detail = result.document["steps"][-1]["detail"]
    assert detail == ("the table was deleted" if more else "the table is being deleted already")
    assert len(calls) == (3 if more else 1)
    assert not {"UpdateTable", "DeleteTable"} & set(empty_proxy.calls)


def test_destroy_waits_until_protection_is_off(empty_proxy: AwsProxy, folder: Path) -> None:
    """Destroy deletes the table only after the update that turns its protection off is done."""
    piped = ("--secrets-from-stdin", "--json")
    assert run(folder, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
    statuses = ["ACTIVE", "UPDATING", "UPDATING"]

    def updating(forward: Callable[[], Response]) -> Response:
        code, response = forward()
        if statuses and "Table" in response:
            response["Table"]["TableStatus"] = statuses.pop(0)
        return code, response

    empty_proxy.rules["DescribeTable"] = updating
    empty_proxy.calls.clear()
    result = run(folder, *DESTROY, "--yes-delete-the-table", TABLE)
    assert result.code == 0, result.err
    order = [one for one in empty_proxy.calls if one.endswith("Table")]
    assert order[:6] == [
        "DescribeTable",
        "UpdateTable",
        *["DescribeTable"] * 3,
        "DeleteTable",
    ]


def test_destroy_refuses_existing_stack(provisioned: EmulatedAws, folder: Path) -> None:
    """Destroy refuses while the stack exists. Then it deletes the table that --table names."""
    client = provisioned.client("cloudformation")
    resource = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "x"}}
    client.create_stack(StackName="made", TemplateBody=json.dumps({"Resources": {"One": resource}}))
    result = run(folder, *DESTROY, "--stack", "made")
    assert result.code == 1
    assert "aws cloudformation delete-stack --stack-name made" in result.err
    dynamodb = provisioned.client("dynamodb")
    dynamodb.create_table(
        TableName="made-Uploads-1",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    more = ("--stack", "gone", "--table", "made-Uploads-1")
    result = run(folder, *DESTROY, *more, "--yes-delete-the-table", "made-Uploads-1")
    assert result.code == 0, result.err
    assert left(provisioned)[1] == [TABLE]
