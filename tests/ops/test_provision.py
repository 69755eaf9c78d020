"""`python -m ops provision`: what it creates, keeps, fixes, asks for and refuses."""

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from ops import provision as provision_
from ops import stage as stages
from ops import table
from ops.table_stack import Need, TableStack
from ops.terminal import Problem, Terminal
from tests.ops.aws_proxy import AwsProxy, Response
from tests.ops.shell import KEY, SECRETS, TOKENS, Result, at_terminal, cached_account, run
from tests.support.emulated_aws import EmulatedAws, wait_until
from tests.support.upstream_process import ROOT

TABLE = "sync-upload-broker-prod"
API_KEY = "/sync-upload-broker/prod/api-key"
JWT_SECRET = "/sync-upload-broker/prod/jwt-secret"
STACK = f"table-{TABLE}"
WRITES = ("Create", "Update", "Put", "Delete", "Execute")
PROVISION = ("provision", "--stage", "prod", "--json")
# The emulator's CloudFormation ignores these properties, so `provision` turns them on.
LEFT_OUT = ("encryption with the account's key", "time to live", "point-in-time recovery")
PROTECTIONS = {*LEFT_OUT, "deletion protection"}
PROPERTIES = {"key", "billing", "index by-list", "index by-due", *PROTECTIONS}


def provision(folder: Path, *more: str, stdin: str = SECRETS) -> Result:
    """Run `provision` with secrets from a pipe."""
    return run(folder, *PROVISION, "--secrets-from-stdin", *more, stdin=stdin)


def properties(aws: EmulatedAws) -> dict[str, bool]:
    """Return each property of the table, and whether it matches the template."""
    client = aws.client("dynamodb")
    found = table.describe(client, TABLE)
    assert found is not None
    return {one.name: one.is_right for one in table.compare(client, TABLE, found)}


def stored(aws: EmulatedAws) -> dict[str, str]:
    """Return the stored secrets, which must be encrypted."""
    response = aws.client("ssm").get_parameters(Names=[API_KEY, JWT_SECRET], WithDecryption=True)
    assert {one["Type"] for one in response["Parameters"]} <= {"SecureString"}
    return {one["Name"]: one["Value"] for one in response["Parameters"]}


def writes(empty_proxy: AwsProxy) -> list[str]:
    """Return the calls that change something."""
    return [call for call in empty_proxy.calls if call.startswith(WRITES)]


def test_provision_creates_table_and_secrets(empty: EmulatedAws, folder: Path) -> None:
    """In an empty account, provision creates the table and two encrypted secrets."""
    result = provision(folder)
    assert result.code == 0, result.err
    *done, compiled = [one["outcome"] for one in result.document["steps"]]
    assert (set(done), compiled) == ({"done"}, "kept")
    assert properties(empty) == dict.fromkeys(PROPERTIES, True)
    assert stored(empty) == {API_KEY: KEY, JWT_SECRET: TOKENS}
    assert f"Table {TABLE}: create the table" in result.err
    (stack,) = empty.client("cloudformation").describe_stacks()["Stacks"]
    assert (stack["StackName"], stack["StackStatus"]) == (STACK, "CREATE_COMPLETE")


def test_provision_is_idempotent(empty_proxy: AwsProxy, folder: Path) -> None:
    """A second run asks for nothing, changes nothing, and reports that it keeps everything."""
    assert provision(folder).code == 0
    assert len(writes(empty_proxy)) == 7
    empty_proxy.calls.clear()
    again = run(folder, *PROVISION)
    assert again.code == 0, again.err
    assert set(again.outcomes()) == {"kept"}
    assert writes(empty_proxy) == []


@pytest.mark.parametrize("before", ["nothing", "half"])
def test_provision_dry_run_changes_nothing(
    empty_proxy: AwsProxy, folder: Path, before: str
) -> None:
    """With --dry-run, provision reports its plan, asks for nothing and changes nothing."""
    if before == "half":
        assert provision(folder).code == 0
        dynamodb().update_table(TableName=TABLE, DeletionProtectionEnabled=False)
    empty_proxy.calls.clear()
    result = run(folder, *PROVISION, "--dry-run")
    assert result.code == 0, result.err
    assert writes(empty_proxy) == []
    assert result.document["dryRun"] is True
    planned = result.outcomes()["planned"]
    if before == "half":
        assert planned == ["turn on deletion protection"]
    else:
        assert len(planned) == 3
        assert planned[-1] == "create the table, with everything that protects it"


def dynamodb() -> Any:
    """Return a DynamoDB client of the shell's account."""
    return cached_account().client("dynamodb")


def _restored(client: Any) -> None:
    """Create a table as AWS restores it: without expiry, recovery and protection."""
    client.create_table(**table.definition(TABLE))
    client.put_item(TableName=TABLE, Item={"pk": {"S": "kept"}})


def test_provision_adopts_restored_table(empty: EmulatedAws, folder: Path) -> None:
    """Provision adopts a table without a stack, protects it, and keeps its items."""
    client = empty.client("dynamodb")
    _restored(client)
    planned = run(folder, *PROVISION, "--dry-run").outcomes()["planned"]
    assert planned[2:] == [
        "let a stack adopt the table, unchanged",
        *(f"turn on {one}" for one in (LEFT_OUT[0], "deletion protection", *LEFT_OUT[1:])),
    ]
    result = provision(folder)
    assert result.code == 0, result.err
    assert "the table was adopted by its stack, unchanged" in result.outcomes()["done"]
    assert properties(empty) == dict.fromkeys(PROPERTIES, True)
    assert client.scan(TableName=TABLE)["Count"] == 1
    assert set(run(folder, *PROVISION).outcomes()) == {"kept"}


def test_table_outlives_stack(empty: EmulatedAws, folder: Path) -> None:
    """The table outlives its stack, and DynamoDB refuses to delete it."""
    assert provision(folder).code == 0
    client = empty.client("dynamodb")
    client.put_item(TableName=TABLE, Item={"pk": {"S": "kept"}})
    empty.client("cloudformation").delete_stack(StackName=STACK)
    wait_until(lambda: not empty.client("cloudformation").describe_stacks()["Stacks"])
    with pytest.raises(ClientError, match="deletion protection"):
        client.delete_table(TableName=TABLE)
    assert client.scan(TableName=TABLE)["Count"] == 1


def test_provision_turns_protection_on_again(empty: EmulatedAws, folder: Path) -> None:
    """Provision turns on protection that somebody turned off, if the template is unchanged too."""
    assert provision(folder).code == 0
    client = empty.client("dynamodb")
    client.update_table(TableName=TABLE, DeletionProtectionEnabled=False)
    client.update_time_to_live(
        TableName=TABLE, TimeToLiveSpecification={"Enabled": False, "AttributeName": "ttl"}
    )
    result = provision(folder)
    assert result.outcomes()["done"] == [
        "deletion protection was turned on",
        "time to live was turned on",
    ]
    assert properties(empty) == dict.fromkeys(PROPERTIES, True)


def stack_of(
    template: Path | None = None,
    err: io.StringIO | None = None,
    slept: list[float] | None = None,
) -> TableStack:
    """Return the table's stack, with a clock that only sleeping advances."""
    terminal = Terminal(io.StringIO(), err or io.StringIO(), as_json=False)
    times = slept if slept is not None else []
    return TableStack(
        cached_account(),
        TABLE,
        terminal,
        times.append,
        lambda: sum(times),
        template or table.TEMPLATE,
    )


def another_template(folder: Path, **properties: Any) -> Path:
    """Write a template with other properties, and return its path."""
    template = yaml.safe_load(table.TEMPLATE.read_text())
    template["Resources"][table.RESOURCE]["Properties"] |= properties
    file = folder / "table.yaml"
    file.write_text(yaml.safe_dump(template))
    return file


def test_provision_updates_table(empty: EmulatedAws, folder: Path, tmp_path: Path) -> None:
    """A template with another index updates the table, keeps its items, and reports the change."""
    assert provision(folder).code == 0
    client = empty.client("dynamodb")
    client.put_item(TableName=TABLE, Item={"pk": {"S": "kept"}})
    indexes: Any = table.definition(TABLE)["GlobalSecondaryIndexes"]
    template = another_template(
        tmp_path, GlobalSecondaryIndexes=[*indexes, {**indexes[0], "IndexName": "by-more"}]
    )
    stack = stack_of(template)
    assert stack.need({}) is Need.UPDATE
    assert stack.deploy(Need.UPDATE) == ["the table was updated: GlobalSecondaryIndexes"]
    assert stack.need({}) is Need.NOTHING
    found = client.describe_table(TableName=TABLE)["Table"]
    names = {one["IndexName"] for one in found["GlobalSecondaryIndexes"]}
    assert names == {"by-list", "by-due", "by-more"}
    assert client.scan(TableName=TABLE)["Count"] == 1
    # The command restores this version's template.
    planned = run(folder, *PROVISION, "--dry-run").outcomes()["planned"]
    assert planned == ["update the table's stack to this version's template"]
    done = run(folder, *PROVISION).outcomes()["done"]
    assert done == ["the table was updated: GlobalSecondaryIndexes"]


def test_rolled_back_update_is_explained(empty: EmulatedAws, folder: Path, tmp_path: Path) -> None:
    """An update that CloudFormation rolls back is explained, and leaves the table unchanged."""
    assert provision(folder).code == 0
    client = empty.client("dynamodb")
    client.put_item(TableName=TABLE, Item={"pk": {"S": "kept"}})
    key = [{"AttributeName": "listKey", "KeyType": "HASH"}]
    stack = stack_of(another_template(tmp_path, KeySchema=key))
    with pytest.raises(Problem, match=r"UPDATE_ROLLBACK_COMPLETE.*requires replacing"):
        stack.deploy(Need.UPDATE)
    assert client.scan(TableName=TABLE)["Count"] == 1
    assert provision(folder).code == 0, "a rolled-back stack accepts the next update"


def test_template_comment_changes_nothing(empty: EmulatedAws, folder: Path, tmp_path: Path) -> None:
    """A template that differs only in a comment changes nothing."""
    assert provision(folder).code == 0
    assert empty.url
    file = tmp_path / "table.yaml"
    file.write_text(f"# Another comment.\n{table.TEMPLATE.read_text()}")
    assert stack_of(file).deploy(Need.UPDATE) == []


def _other_key(client: Any) -> None:
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )


def _other_index(client: Any) -> None:
    wanted: Any = table.definition(TABLE)
    wanted["GlobalSecondaryIndexes"][1]["Projection"] = {"ProjectionType": "KEYS_ONLY"}
    client.create_table(**wanted)


def _no_index(client: Any) -> None:
    wanted: Any = table.definition(TABLE)
    wanted["GlobalSecondaryIndexes"] = wanted["GlobalSecondaryIndexes"][:1]
    names = {"pk", "listKey", "listOrder"}
    wanted["AttributeDefinitions"] = [
        one for one in wanted["AttributeDefinitions"] if one["AttributeName"] in names
    ]
    client.create_table(**wanted)


def _other_billing(client: Any) -> None:
    throughput = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    wanted: Any = {**table.definition(TABLE), "BillingMode": "PROVISIONED"}
    wanted["GlobalSecondaryIndexes"] = [
        {**index, "ProvisionedThroughput": throughput} for index in wanted["GlobalSecondaryIndexes"]
    ]
    client.create_table(**wanted, ProvisionedThroughput=throughput)


def _other_ttl(client: Any) -> None:
    client.create_table(**table.definition(TABLE))
    client.update_time_to_live(
        TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )


@pytest.mark.parametrize(
    ("create", "words"),
    [
        (_other_key, ("key", "id (N)", "must be pk (S)", "UPLOADS_TABLE")),
        (_other_index, ("index by-due", "KEYS_ONLY", "INCLUDE id, owner", "Change the index")),
        (_no_index, ("index by-due", "missing", "INCLUDE id, owner")),
        (_other_billing, ("billing", "PROVISIONED", "PAY_PER_REQUEST")),
        (_other_ttl, ("time to live", "on, expires", "must be on, ttl")),
    ],
    ids=["key", "index", "no index", "billing", "ttl"],
)
def test_provision_refuses_unfit_table(
    empty_proxy: AwsProxy, folder: Path, create: Callable[[Any], None], words: tuple[str, ...]
) -> None:
    """Provision refuses a table that it can't fix, advises the operator, and changes nothing."""
    create(dynamodb())
    empty_proxy.calls.clear()
    result = provision(folder)
    assert result.code == 1
    for word in words:
        assert word in result.err, word
    assert writes(empty_proxy) == []
    assert result.document["exitCode"] == 1


def test_provision_refuses_table_of_another_stack(empty: EmulatedAws, folder: Path) -> None:
    """Provision does not change a table that another stack owns, and reports the reason."""
    parameter = {"ParameterKey": "TableName", "ParameterValue": TABLE}
    body = table.TEMPLATE.read_text()
    cloudformation = empty.client("cloudformation")
    cloudformation.create_stack(StackName="theirs", TemplateBody=body, Parameters=[parameter])
    wait_until(lambda: TABLE in empty.client("dynamodb").list_tables()["TableNames"])
    result = provision(folder)
    assert result.code == 1
    assert f"{TABLE} already exists in stack" in result.err
    assert "use --secrets-only" in result.err
    (left,) = cloudformation.describe_stacks()["Stacks"]
    assert left["StackName"] == "theirs"
    assert provision(folder, "--secrets-only").code == 0


def test_provision_refuses_stack_of_another_table(empty: EmulatedAws, folder: Path) -> None:
    """Provision does not change a stack that has the expected name but another table."""
    parameter = {"ParameterKey": "TableName", "ParameterValue": "another"}
    body = table.TEMPLATE.read_text()
    cloudformation = empty.client("cloudformation")
    cloudformation.create_stack(StackName=STACK, TemplateBody=body, Parameters=[parameter])
    result = provision(folder)
    assert result.code == 1
    assert f"The stack {STACK} belongs to the table another." in result.err


def test_provision_does_not_replace_lost_table(empty: EmulatedAws, folder: Path) -> None:
    """If the table of an existing stack is missing, provision advises, and creates no new one."""
    assert provision(folder).code == 0
    client = empty.client("dynamodb")
    client.update_table(TableName=TABLE, DeletionProtectionEnabled=False)
    client.delete_table(TableName=TABLE)
    result = provision(folder)
    assert result.code == 1
    assert f"The stack {STACK} exists, but its table {TABLE} does not." in result.err
    assert f"aws cloudformation delete-stack --stack-name {STACK}" in result.err
    assert client.list_tables()["TableNames"] == []


def in_state(status: str) -> Callable[[Callable[[], Response]], Response]:
    """Return a rule by which CloudFormation reports a status of the stack."""

    def rule(forward: Callable[[], Response]) -> Response:
        code, text = forward()
        return code, re.sub(r"(?<=<StackStatus>)\w+", status, text)

    return rule


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("ROLLBACK_COMPLETE", f"aws cloudformation delete-stack --stack-name {STACK}"),
        ("CREATE_FAILED", f"aws cloudformation delete-stack --stack-name {STACK}"),
        ("DELETE_FAILED", f"aws cloudformation delete-stack --stack-name {STACK}"),
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback"),
    ],
)
def test_provision_refuses_stuck_stack(
    empty_proxy: AwsProxy, folder: Path, status: str, advice: str
) -> None:
    """Provision refuses a stack that takes no update, and reports the command that helps."""
    assert provision(folder).code == 0
    empty_proxy.rules["DescribeStacks"] = in_state(status)
    empty_proxy.calls.clear()
    result = provision(folder)
    assert result.code == 1
    assert f"The stack {STACK} is {status}" in result.err
    assert advice in result.err
    assert writes(empty_proxy) == []


def test_provision_resumes_after_failure(empty_proxy: AwsProxy, folder: Path) -> None:
    """After a failure in the middle, the next run does only the remaining steps."""
    empty_proxy.refuse("UpdateTimeToLive", "AccessDeniedException", "no dynamodb:UpdateTimeToLive")
    result = provision(folder)
    assert result.code == 3
    assert "AWS does not let you call UpdateTimeToLive: no dynamodb:UpdateTimeToLive" in result.err
    empty_proxy.rules.clear()
    empty_proxy.calls.clear()
    again = run(folder, *PROVISION)
    assert again.code == 0, again.err
    assert again.outcomes()["done"] == [
        "time to live was turned on",
        "point-in-time recovery was turned on",
    ]
    assert writes(empty_proxy) == ["UpdateTimeToLive", "UpdateContinuousBackups"]


def test_provision_waits_for_running_change(empty_proxy: AwsProxy, folder: Path) -> None:
    """Provision waits for the change that an interrupted run began, and reports progress."""
    assert provision(folder).code == 0
    asked: list[int] = []

    def creating(forward: Callable[[], Response]) -> Response:
        asked.append(1)
        return in_state("CREATE_IN_PROGRESS" if len(asked) < 30 else "CREATE_COMPLETE")(forward)

    empty_proxy.rules["DescribeStacks"] = creating
    planned = run(folder, *PROVISION, "--dry-run").outcomes()["planned"]
    assert planned == ["wait for the running change of the stack"]
    slept: list[float] = []
    err = io.StringIO()
    stack_of(err=err, slept=slept).wait()
    assert len(asked) == 30
    assert 1 < err.getvalue().count("still CREATE_IN_PROGRESS") <= sum(slept) / 10
    asked.clear()
    stage, secrets = stages.read(folder, "prod"), {"SYNC_API_KEY": KEY, "JWT_SECRET": TOKENS}
    options, terminal = provision_.Options(), Terminal(io.StringIO(), err, as_json=False)
    steps = provision_.run(
        stage, cached_account(), terminal, options, lambda _: secrets, slept.append
    )
    assert {one.outcome for one in steps} == {"kept"}


def test_provision_gives_up_after_an_hour(empty_proxy: AwsProxy, folder: Path) -> None:
    """Provision gives up if a change of the stack does not end within an hour."""
    assert provision(folder).code == 0
    empty_proxy.rules["DescribeStacks"] = in_state("UPDATE_IN_PROGRESS")
    with pytest.raises(Problem, match="still UPDATE_IN_PROGRESS after 36"):
        stack_of().wait()


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_provision_refuses_table_being_deleted(
    empty_proxy: AwsProxy, folder: Path, more: tuple[str, ...]
) -> None:
    """Provision refuses a table that is being deleted, and changes nothing."""
    assert provision(folder).code == 0

    def deleting(forward: Callable[[], Response]) -> Response:
        status, response = forward()
        response["Table"]["TableStatus"] = "DELETING"
        return status, response

    empty_proxy.rules["DescribeTable"] = deleting
    empty_proxy.calls.clear()
    result = provision(folder, *more)
    assert result.code == 1
    assert f"The table {TABLE} is being deleted.\nRun this again in a few minutes." in result.err
    assert writes(empty_proxy) == []


def test_provision_asks_without_echo(empty: EmulatedAws, folder: Path) -> None:
    """At a terminal, provision asks for secrets without echo, and again if one is not valid."""
    typed = at_terminal(
        folder,
        *PROVISION[:3],
        keys=[
            ("API key (not shown): ", "two words\n"),
            ("API key (not shown): ", f"{KEY}\n"),
            ("signs tokens (not shown): ", f"{TOKENS}\n"),
        ],
    )
    assert typed.code == 0, typed.screen
    assert stored(empty) == {API_KEY: KEY, JWT_SECRET: TOKENS}
    assert "API key, in ASCII without spaces, quotes and backslashes" in typed.screen
    for secret in (KEY, TOKENS, "two words"):
        assert secret not in typed.screen


def test_provision_without_terminal_advises_pipe(empty_proxy: AwsProxy, folder: Path) -> None:
    """Without a terminal, provision asks for nothing, and advises --secrets-from-stdin."""
    result = run(folder, *PROVISION, stdin=SECRETS)
    assert result.code == 2
    assert "--secrets-from-stdin" in result.err
    assert writes(empty_proxy) == []


def test_secrets_from_stdin_refuses_terminal(empty: EmulatedAws, folder: Path) -> None:
    """With --secrets-from-stdin, provision refuses a terminal, which would show the secrets."""
    seen = at_terminal(folder, *PROVISION[:3], "--secrets-from-stdin", keys=[])
    assert seen.code == 2
    assert "Standard input is a terminal" in seen.screen
    assert stored(empty) == {}


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        ("", "SYNC_API_KEY is not in standard input"),
        (f"{KEY}\n", "Line 1 of standard input is not NAME=value"),
        (f"API_KEY={KEY}\n", "Line 1 of standard input is not NAME=value"),
        (f"SYNC_API_KEY={KEY}\nJWT_SECRET={TOKENS[:20]}\n", "at least 32 bytes"),
        (f"SYNC_API_KEY={KEY} {KEY}\nJWT_SECRET={TOKENS}\n", "without spaces"),
    ],
)
def test_provision_refuses_invalid_secrets(
    empty_proxy: AwsProxy, folder: Path, stdin: str, words: str
) -> None:
    """Provision refuses secrets that the broker would refuse, and stores nothing."""
    result = provision(folder, stdin=stdin)
    assert result.code == 2
    assert words in result.err
    assert TOKENS[:20] not in result.err + result.out
    assert writes(empty_proxy) == []


def test_replace_secrets_keeps_missing_ones(empty: EmulatedAws, folder: Path) -> None:
    """With --replace-secrets, provision replaces the given secrets, and keeps the others."""
    assert provision(folder).code == 0
    both = f"{TOKENS[::-1]},{TOKENS}"
    result = provision(folder, "--replace-secrets", stdin=f"JWT_SECRET={both}\n")
    assert result.code == 0, result.err
    assert stored(empty) == {API_KEY: KEY, JWT_SECRET: both}
    assert TOKENS[::-1] not in result.out + result.err
    steps = result.document["steps"]
    assert [one["outcome"] for one in steps] == ["kept", "done", "kept", "kept"]


def test_provision_replaces_invalid_secret(empty: EmulatedAws, folder: Path) -> None:
    """Provision asks for a stored secret again if the broker would refuse it."""
    ssm = empty.client("ssm")
    ssm.put_parameter(Name=JWT_SECRET, Value="short", Type="SecureString")
    result = provision(folder)
    assert result.code == 0, result.err
    assert f"{JWT_SECRET} is not valid: it must be a secret of at least 32 bytes" in result.err
    assert stored(empty)[JWT_SECRET] == TOKENS


def test_provision_refuses_unencrypted_parameter(empty: EmulatedAws, folder: Path) -> None:
    """Provision refuses a parameter that is not encrypted, and advises a new secret."""
    ssm = empty.client("ssm")
    ssm.put_parameter(Name=API_KEY, Value=KEY, Type="String")
    result = provision(folder)
    assert result.code == 1
    assert "is not encrypted: it is a String, not a SecureString" in result.err
    assert f"aws ssm delete-parameter --name {API_KEY}" in result.err
    assert empty.client("dynamodb").list_tables()["TableNames"] == []


def configured(folder: Path, tmp_path: Path, **settings: str) -> Path:
    """Copy the project's configuration with other settings of the stage, and return its folder."""
    content = json.loads((folder / ".chalice" / "config.json").read_text())
    environment = content["stages"]["prod"]["environment_variables"] | settings
    content["stages"]["prod"]["environment_variables"] = {
        name: value for name, value in environment.items() if value
    }
    kept = shutil.ignore_patterns("deployed", "deployments")
    shutil.copytree(folder / ".chalice", tmp_path / ".chalice", ignore=kept)
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(content))
    return tmp_path


def test_provision_with_key_set_needs_no_jwt_secret(
    empty: EmulatedAws, folder: Path, tmp_path: Path
) -> None:
    """If an identity provider signs the tokens, provision asks only for the API key."""
    url = "https://id.example.com/jwks.json"
    issuer = {"JWT_ISSUER": "https://id.example.com/", "JWT_AUDIENCE": "app"}
    own = configured(folder, tmp_path, JWT_SECRET_PARAMETER="", JWT_JWKS_URL=url, **issuer)
    missing = provision(own, stdin=f"SYNC_API_KEY={KEY}\n")
    assert missing.code == 2
    assert "cat requirements-key-sets.txt >> requirements.txt" in missing.err
    shutil.copy(ROOT / "requirements-key-sets.txt", own / "requirements.txt")
    result = provision(own, stdin=f"SYNC_API_KEY={KEY}\n")
    assert result.code == 0, result.err
    assert stored(empty) == {API_KEY: KEY}


def test_provision_refuses_secret_in_configuration(
    empty: EmulatedAws, folder: Path, tmp_path: Path
) -> None:
    """Provision refuses a configuration that contains a secret, and names the setting."""
    result = provision(configured(folder, tmp_path, SYNC_API_KEY=KEY))
    assert result.code == 2
    assert "SYNC_API_KEY is in .chalice/config.json" in result.err
    assert empty.client("ssm").describe_parameters()["Parameters"] == []


@pytest.mark.parametrize(("origins", "warns"), [("", True), ("https://a.example.com", False)])
def test_provision_warns_about_empty_origins(
    empty: EmulatedAws, folder: Path, tmp_path: Path, origins: str, *, warns: bool
) -> None:
    """Provision warns if ALLOWED_ORIGINS is empty."""
    assert empty.url
    own = configured(folder, tmp_path, ALLOWED_ORIGINS=origins)
    result = run(own, *PROVISION, "--dry-run")
    assert result.code == 0, result.err
    assert ("ALLOWED_ORIGINS is empty" in result.err) is warns


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("ALLOWED_ORIGINS", "https://app.example.com/", "https://app.example.com in place of"),
        ("ALLOWED_ORIGINS", "https://App.Example.com:443/x", "https://app.example.com in place of"),
        ("ALLOWED_ORIGINS", "app.example.com", "https://app.example.com in place of"),
        (
            "ALLOWED_ORIGINS",
            "https://a.example.com https://b.example.com/",
            "https://a.example.com, https://b.example.com in place of",
        ),
        ("ALLOWED_ORIGINS", "https://", "an origin such as https://app.example.com in place of"),
        ("ALLOWED_ORIGINS", "https:", "an origin such as https://app.example.com in place of"),
        ("ALLOWED_ORIGINS", "https://https://a.com", "Write https://a.com in place of"),
        ("ALLOWED_ORIGINS", "https//a.example.com", "Write https://a.example.com in place of"),
        ("ALLOWED_ORIGINS", "https://[::1", "an origin such as https://app.example.com in place"),
        ("ALLOWED_ORIGINS", "https://[a].com", "an origin such as https://app.example.com in"),
        ("ALLOWED_ORIGINS", "chrome-extension://abc", "an origin such as https://app.example.com"),
        ("ALLOWED_ORIGINS", "https://bücher.example", "https://xn--bcher-kva.example in place of"),
        (
            "ALLOWED_ORIGINS",
            "https://a.example.com;b.example.com",
            "https://a.example.com, https://b.example.com in place of",
        ),
        ("ALLOWED_ORIGINS", "https://*.example.com", "Write each origin out"),
        ("ALLOWED_ORIGINS", "null", "every sandboxed frame sends it"),
        ("ALLOWED_ORIGINS", "*,https://a.example.com", "write it alone or leave it out"),
        ("MAX_UPLOAD_BYTES", "5 GB", "it must be a whole number from 1 to 5368709120"),
        ("AUTH_MODE", "open", "AUTH_MODE is not valid: it must be jwt outside the sandbox"),
    ],
)
def test_provision_refuses_wrong_setting(
    empty: EmulatedAws, folder: Path, tmp_path: Path, setting: str, value: str, words: str
) -> None:
    """Provision refuses a setting that the broker rejects, with its name and its right form."""
    result = provision(configured(folder, tmp_path, **{setting: value}))
    assert result.code == 2
    assert f"{setting} is not valid: it must be " in result.err
    assert words in result.err
    assert empty.client("ssm").describe_parameters()["Parameters"] == []


def test_provision_refuses_misspelled_setting(
    empty: EmulatedAws, folder: Path, tmp_path: Path
) -> None:
    """Provision refuses a name that resembles a setting's, and accepts one that resembles none."""
    wrong = configured(folder, tmp_path / "wrong", ALOWED_ORIGINS="https://a.example.com")
    result = provision(wrong)
    assert result.code == 2
    assert "The broker does not know ALOWED_ORIGINS." in result.err
    assert "Write ALLOWED_ORIGINS in place of ALOWED_ORIGINS in .chalice/config.json." in result.err
    assert empty.client("ssm").describe_parameters()["Parameters"] == []
    lower = configured(folder, tmp_path / "lower", max_upload_bytes="1")
    assert "Write MAX_UPLOAD_BYTES in place of max_upload_bytes" in provision(lower).err
    other = configured(folder, tmp_path / "other", AWS_LAMBDA_EXEC_WRAPPER="/opt/x", TZ="UTC")
    assert run(other, *PROVISION, "--dry-run").code == 0


def test_provision_refuses_stage_pasted_over(
    empty: EmulatedAws, folder: Path, tmp_path: Path
) -> None:
    """Provision lists everything that a stage has lost whose lines were replaced."""
    own = configured(folder, tmp_path)
    file = own / ".chalice" / "config.json"
    content = json.loads(file.read_text())
    content["stages"]["prod"] = {"environment_variables": {"ALLOWED_ORIGINS": "https://a.com"}}
    file.write_text(json.dumps(content))
    result = provision(own)
    assert result.code == 2
    for name in ("UPLOADS_TABLE", "SYNC_API_KEY", "JWT_SECRET"):
        assert f"{name} is not set: it must be " in result.err
    assert empty.client("ssm").describe_parameters()["Parameters"] == []


def test_provision_reports_policy_of_other_stage(
    empty: EmulatedAws, folder: Path, tmp_path: Path
) -> None:
    """Provision reports a policy that does not name the stage's table and secrets."""
    assert empty.url
    own = configured(folder, tmp_path)
    assert "does not name" not in run(own, *PROVISION, "--dry-run").err
    shutil.copy(ROOT / ".chalice" / "policy-dev.json", own / ".chalice" / "policy-prod.json")
    result = run(own, *PROVISION, "--dry-run")
    assert result.code == 0
    assert f"policy-prod.json does not name {TABLE}, {API_KEY}, {JWT_SECRET}." in result.err


def test_secrets_only_creates_no_table(empty: EmulatedAws, folder: Path) -> None:
    """With --secrets-only, provision stores the secrets, and creates no table."""
    result = provision(folder, "--secrets-only")
    assert result.code == 0, result.err
    assert set(stored(empty)) == {API_KEY, JWT_SECRET}
    assert empty.client("dynamodb").list_tables()["TableNames"] == []


def test_provision_masks_secrets_in_refusals(empty_proxy: AwsProxy, folder: Path) -> None:
    """Provision masks a secret that AWS quotes in a refusal."""
    words = f"Value '{KEY}' at 'value' failed, as did {json.dumps(TOKENS)}"
    empty_proxy.refuse("PutParameter", "ValidationException", words)
    result = provision(folder)  # `run` searches the output for both
    assert result.code == 1
    assert "Value '***' at 'value' failed" in result.err
    assert "Value '***' at 'value' failed" in result.document["error"]["message"]
