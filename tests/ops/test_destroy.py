"""`python -m ops destroy`: the secrets go, and the table stays unless that was said twice."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ops.meddling_aws import Answer, MeddlingAws
from tests.ops.shell import SECRETS, at_terminal, run
from tests.support.emulated_aws import EmulatedAws

TABLE = "sync-upload-broker-prod"
DESTROY = ("destroy", "--stage", "prod", "--json")


@pytest.fixture(autouse=True)
def provisioned(empty: EmulatedAws, folder: Path) -> EmulatedAws:
    """An account with what `provision` made."""
    piped = ("--secrets-from-stdin", "--json")
    assert run(folder, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
    return empty


def left(aws: EmulatedAws) -> tuple[int, list[str]]:
    """Count the secrets that are left, and name the tables."""
    found = aws.client("ssm").describe_parameters()["Parameters"]
    return len(found), aws.client("dynamodb").list_tables()["TableNames"]


def test_keeps_the_table(provisioned: EmulatedAws, folder: Path) -> None:
    """By itself it removes the secrets alone, and may be repeated."""
    said = run(folder, *DESTROY)
    assert said.code == 0, said.err
    assert left(provisioned) == (0, [TABLE])
    assert [one["outcome"] for one in said.document["steps"]] == ["done", "done", "kept"]
    assert "it alone knows which asset is whose" in said.document["steps"][2]["detail"]
    again = run(folder, *DESTROY)
    assert (again.code, set(again.outcomes())) == (0, {"kept"})


@pytest.mark.parametrize("more", [(), ("--yes-delete-the-table", TABLE), ("--delete-table",)])
def test_dry_run(meddler: MeddlingAws, folder: Path, more: tuple[str, ...]) -> None:
    """With --dry-run it says what would go, and nothing goes."""
    piped = ("--secrets-from-stdin", "--json")
    assert run(folder, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
    meddler.calls.clear()
    said = run(folder, *DESTROY, "--dry-run", *more)
    assert said.code == 0, said.err
    assert len(said.outcomes()["planned"]) == (3 if more else 2)
    assert not [one for one in meddler.calls if one.startswith(("Delete", "Update", "Put"))]


def test_named_at_once(provisioned: EmulatedAws, folder: Path) -> None:
    """The second word may be said at once; then the protection is turned off, and all is gone."""
    said = run(folder, *DESTROY, "--yes-delete-the-table", TABLE)
    assert said.code == 0, said.err
    assert left(provisioned) == (0, [])
    assert "Turning the deletion protection" in said.err
    assert provisioned.client("cloudformation").describe_stacks()["Stacks"] == []


def test_interrupted(provisioned: EmulatedAws, folder: Path) -> None:
    """A run between the stack's end and the table's is repeated, and so is one after both."""
    provisioned.client("cloudformation").delete_stack(StackName=f"table-{TABLE}")
    for detail in ("the table was deleted", "there is no such table"):
        said = run(folder, *DESTROY, "--yes-delete-the-table", TABLE)
        assert said.code == 0, said.err
        assert said.document["steps"][-1]["detail"] == detail
    assert left(provisioned) == (0, [])


@pytest.mark.parametrize(
    "more",
    [("--yes-delete-the-table", "another"), ("--delete-table",)],
    ids=["another name", "no terminal"],
)
def test_not_told_twice(provisioned: EmulatedAws, folder: Path, more: tuple[str, ...]) -> None:
    """With another name, or nobody to ask, nothing is removed at all."""
    said = run(folder, *DESTROY, *more)
    assert said.code == 2
    assert left(provisioned) == (2, [TABLE])


@pytest.mark.parametrize(("typed", "code"), [(TABLE, 0), ("yes", 2), ("", 2)])
def test_typed(provisioned: EmulatedAws, folder: Path, typed: str, code: int) -> None:
    """At a terminal the table's name has to be typed."""
    seen = at_terminal(
        folder, "destroy", "--stage", "prod", "--delete-table", keys=[("delete it:", f"{typed}\n")]
    )
    assert seen.code == code, seen.screen
    assert f"The table {TABLE} holds about 0 items" in seen.screen
    assert left(provisioned) == ((0, []) if code == 0 else (2, [TABLE]))


def test_still_deployed(provisioned: EmulatedAws, folder: Path, tmp_path: Path) -> None:
    """What is still deployed would break: `chalice delete` comes first."""
    (tmp_path / ".chalice" / "deployed").mkdir(parents=True)
    config = (folder / ".chalice" / "config.json").read_text()
    (tmp_path / ".chalice" / "config.json").write_text(config)
    record = tmp_path / ".chalice" / "deployed" / "prod.json"
    record.write_text(json.dumps({"resources": [{"name": "api_handler"}]}))
    said = run(tmp_path, *DESTROY)
    assert said.code == 1
    assert "Run `chalice delete --stage prod` first" in said.err
    assert left(provisioned) == (2, [TABLE])
    # What Chalice leaves when it has deleted everything.
    record.write_text(json.dumps({"resources": [], "schema_version": "2.0", "backend": "api"}))
    assert run(tmp_path, *DESTROY).code == 0


def make_role(aws: EmulatedAws) -> str:
    """Make a role, and return its ARN."""
    made = aws.client("iam").create_role(RoleName="any", AssumeRolePolicyDocument="{}")
    arn: str = made["Role"]["Arn"]
    return arn


def make_function(aws: EmulatedAws, role: str, name: str, **environment: str) -> None:
    """Make a function that does nothing."""
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
def test_in_use(
    provisioned: EmulatedAws, folder: Path, setting: dict[str, str], more: tuple[str, ...]
) -> None:
    """What a function still names stays, however the function is called, on whichever page."""
    role = make_role(provisioned)
    for number in range(60):  # a page has 50
        make_function(provisioned, role, f"a-{number}", UPLOADS_TABLE="another")
    make_function(provisioned, role, "running-ApiHandler-1", **setting)
    said = run(folder, *DESTROY, *more)
    assert said.code == 1
    assert "still use the stage's table or secrets: running-ApiHandler-1." in said.err
    assert left(provisioned) == (2, [TABLE])
    provisioned.client("lambda").delete_function(FunctionName="running-ApiHandler-1")
    assert run(folder, *DESTROY, *more).code == 0


def test_deployed_elsewhere(provisioned: EmulatedAws, folder: Path) -> None:
    """Functions that were deployed from another folder would break as well."""
    make_function(provisioned, make_role(provisioned), TABLE)  # which is called as the function is
    said = run(folder, *DESTROY)
    assert said.code == 1
    assert "in the folder that it was deployed from" in said.err
    assert left(provisioned) == (2, [TABLE])


@pytest.mark.parametrize("more", [("--yes-delete-the-table", TABLE), ()], ids=["waits", "tells"])
def test_again(meddler: MeddlingAws, folder: Path, more: tuple[str, ...]) -> None:
    """A table that is being deleted already is waited for, without another order."""
    piped = ("--secrets-from-stdin", "--json")
    assert run(folder, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
    looks: list[int] = []

    def going(carry_out: Callable[[], Answer]) -> Answer:
        status, answer = carry_out()
        looks.append(status)
        if len(looks) > 2:
            return 400, {"__type": "ResourceNotFoundException"}
        answer["Table"]["TableStatus"] = "DELETING"
        return status, answer

    meddler.rules["DescribeTable"] = going
    meddler.calls.clear()
    said = run(folder, *DESTROY, *more)
    assert said.code == 0, said.err
    detail = said.document["steps"][-1]["detail"]
    assert detail == ("the table was deleted" if more else "the table is being deleted already")
    assert len(looks) == (3 if more else 1)
    assert not {"UpdateTable", "DeleteTable"} & set(meddler.calls)


def test_protection_first(meddler: MeddlingAws, folder: Path) -> None:
    """The table is deleted only when it is at rest again after its protection was turned off."""
    piped = ("--secrets-from-stdin", "--json")
    assert run(folder, "provision", "--stage", "prod", *piped, stdin=SECRETS).code == 0
    statuses = ["ACTIVE", "UPDATING", "UPDATING"]

    def updating(carry_out: Callable[[], Answer]) -> Answer:
        code, answer = carry_out()
        if statuses and "Table" in answer:
            answer["Table"]["TableStatus"] = statuses.pop(0)
        return code, answer

    meddler.rules["DescribeTable"] = updating
    meddler.calls.clear()
    said = run(folder, *DESTROY, "--yes-delete-the-table", TABLE)
    assert said.code == 0, said.err
    order = [one for one in meddler.calls if one.endswith("Table")]
    assert order[:6] == [
        "DescribeTable",
        "UpdateTable",
        *["DescribeTable"] * 3,
        "DeleteTable",
    ]


def test_stack(provisioned: EmulatedAws, folder: Path) -> None:
    """A stack that is there comes first too; the table that it leaves goes by its name."""
    client = provisioned.client("cloudformation")
    resource = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "x"}}
    client.create_stack(StackName="made", TemplateBody=json.dumps({"Resources": {"One": resource}}))
    said = run(folder, *DESTROY, "--stack", "made")
    assert said.code == 1
    assert "aws cloudformation delete-stack --stack-name made" in said.err
    dynamodb = provisioned.client("dynamodb")
    dynamodb.create_table(
        TableName="made-Uploads-1",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    more = ("--stack", "gone", "--table", "made-Uploads-1")
    said = run(folder, *DESTROY, *more, "--yes-delete-the-table", "made-Uploads-1")
    assert said.code == 0, said.err
    assert left(provisioned)[1] == [TABLE]
