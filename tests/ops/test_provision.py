"""`python -m ops provision`: what it makes, leaves, mends, asks for and refuses."""

import io
import json
import re
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
from tests.ops.meddling_aws import Answer, MeddlingAws
from tests.ops.shell import KEY, SECRETS, TOKENS, Said, at_terminal, known, run
from tests.support.emulated_aws import EmulatedAws, wait_until

TABLE = "sync-upload-broker-prod"
API_KEY = "/sync-upload-broker/prod/api-key"
JWT_SECRET = "/sync-upload-broker/prod/jwt-secret"
STACK = f"table-{TABLE}"
WRITES = ("Create", "Update", "Put", "Delete", "Execute")
PROVISION = ("provision", "--stage", "prod", "--json")
# The emulator's CloudFormation leaves these out, and `provision` turns them on.
LEFT_OUT = ("encryption with the account's key", "time to live", "point-in-time recovery")
PROTECTIONS = {*LEFT_OUT, "deletion protection"}
PROPERTIES = {"key", "billing", "index by-list", "index by-due", *PROTECTIONS}


def provision(folder: Path, *more: str, stdin: str = SECRETS) -> Said:
    """Provision the stage, with secrets from a pipe."""
    return run(folder, *PROVISION, "--secrets-from-stdin", *more, stdin=stdin)


def properties(aws: EmulatedAws) -> dict[str, bool]:
    """Return of each property of the table whether it is right."""
    client = aws.client("dynamodb")
    found = table.describe(client, TABLE)
    assert found is not None
    return {one.name: one.is_right for one in table.compare(client, TABLE, found)}


def stored(aws: EmulatedAws) -> dict[str, str]:
    """Read the secrets; each is encrypted."""
    answer = aws.client("ssm").get_parameters(Names=[API_KEY, JWT_SECRET], WithDecryption=True)
    assert {one["Type"] for one in answer["Parameters"]} <= {"SecureString"}
    return {one["Name"]: one["Value"] for one in answer["Parameters"]}


def writes(meddler: MeddlingAws) -> list[str]:
    """Name the calls that changed something."""
    return [call for call in meddler.calls if call.startswith(WRITES)]


def test_everything(empty: EmulatedAws, folder: Path) -> None:
    """From nothing to a table with all that it needs, and two encrypted secrets."""
    said = provision(folder)
    assert said.code == 0, said.err
    assert set(said.outcomes()) == {"done"}
    assert properties(empty) == dict.fromkeys(PROPERTIES, True)
    assert stored(empty) == {API_KEY: KEY, JWT_SECRET: TOKENS}
    assert f"Table {TABLE}: create the table" in said.err
    (stack,) = empty.client("cloudformation").describe_stacks()["Stacks"]
    assert (stack["StackName"], stack["StackStatus"]) == (STACK, "CREATE_COMPLETE")


def test_twice(meddler: MeddlingAws, folder: Path) -> None:
    """A second run asks for nothing, writes nothing, and says that everything is kept."""
    assert provision(folder).code == 0
    assert len(writes(meddler)) == 7
    meddler.calls.clear()
    again = run(folder, *PROVISION)
    assert again.code == 0, again.err
    assert set(again.outcomes()) == {"kept"}
    assert writes(meddler) == []


@pytest.mark.parametrize("before", ["nothing", "half"])
def test_dry_run(meddler: MeddlingAws, folder: Path, before: str) -> None:
    """With --dry-run the same is planned, nothing is asked for and nothing is written."""
    if before == "half":
        assert provision(folder).code == 0
        dynamodb().update_table(TableName=TABLE, DeletionProtectionEnabled=False)
    meddler.calls.clear()
    said = run(folder, *PROVISION, "--dry-run")
    assert said.code == 0, said.err
    assert writes(meddler) == []
    assert said.document["dryRun"] is True
    planned = said.outcomes()["planned"]
    if before == "half":
        assert planned == ["turn on deletion protection"]
    else:
        assert len(planned) == 3
        assert planned[-1] == "create the table, with everything that protects it"


def dynamodb() -> Any:
    """The client of the shell's account."""
    return known().client("dynamodb")


def _restored(client: Any) -> None:
    """Make a table as AWS restores it: without expiry, recovery and protection."""
    client.create_table(**table.definition(TABLE))
    client.put_item(TableName=TABLE, Item={"pk": {"S": "kept"}})


def test_existing_table(empty: EmulatedAws, folder: Path) -> None:
    """A table that no stack owns, such as a restored one, gets a stack, protection, and no loss."""
    client = empty.client("dynamodb")
    _restored(client)
    planned = run(folder, *PROVISION, "--dry-run").outcomes()["planned"]
    assert planned[2:] == [
        "let a stack adopt the table, unchanged",
        *(f"turn on {one}" for one in (LEFT_OUT[0], "deletion protection", *LEFT_OUT[1:])),
    ]
    said = provision(folder)
    assert said.code == 0, said.err
    assert "the table was adopted by its stack, unchanged" in said.outcomes()["done"]
    assert properties(empty) == dict.fromkeys(PROPERTIES, True)
    assert client.scan(TableName=TABLE)["Count"] == 1
    assert set(run(folder, *PROVISION).outcomes()) == {"kept"}


def test_stacks_end(empty: EmulatedAws, folder: Path) -> None:
    """The table outlives its stack, and DynamoDB refuses to delete it."""
    assert provision(folder).code == 0
    client = empty.client("dynamodb")
    client.put_item(TableName=TABLE, Item={"pk": {"S": "kept"}})
    empty.client("cloudformation").delete_stack(StackName=STACK)
    wait_until(lambda: not empty.client("cloudformation").describe_stacks()["Stacks"])
    with pytest.raises(ClientError, match="deletion protection"):
        client.delete_table(TableName=TABLE)
    assert client.scan(TableName=TABLE)["Count"] == 1


def test_turned_off_by_hand(empty: EmulatedAws, folder: Path) -> None:
    """Protection that somebody turned off is turned on, though the template has not changed."""
    assert provision(folder).code == 0
    client = empty.client("dynamodb")
    client.update_table(TableName=TABLE, DeletionProtectionEnabled=False)
    client.update_time_to_live(
        TableName=TABLE, TimeToLiveSpecification={"Enabled": False, "AttributeName": "ttl"}
    )
    said = provision(folder)
    assert said.outcomes()["done"] == [
        "deletion protection was turned on",
        "time to live was turned on",
    ]
    assert properties(empty) == dict.fromkeys(PROPERTIES, True)


def stack_of(
    template: Path | None = None,
    err: io.StringIO | None = None,
    slept: list[float] | None = None,
) -> TableStack:
    """The table's stack, whose time passes by sleeping."""
    terminal = Terminal(io.StringIO(), err or io.StringIO(), as_json=False)
    times = slept if slept is not None else []
    return TableStack(
        known(), TABLE, terminal, times.append, lambda: sum(times), template or table.TEMPLATE
    )


def another_template(folder: Path, **properties: Any) -> Path:
    """Write the template of another version."""
    template = yaml.safe_load(table.TEMPLATE.read_text())
    template["Resources"][table.RESOURCE]["Properties"] |= properties
    file = folder / "table.yaml"
    file.write_text(yaml.safe_dump(template))
    return file


def test_update(empty: EmulatedAws, folder: Path, tmp_path: Path) -> None:
    """A template with a further index updates the table, without loss, and says what changed."""
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
    # And back, by the command.
    planned = run(folder, *PROVISION, "--dry-run").outcomes()["planned"]
    assert planned == ["update the table's stack by this version's template"]
    done = run(folder, *PROVISION).outcomes()["done"]
    assert done == ["the table was updated: GlobalSecondaryIndexes"]


def test_update_undone(empty: EmulatedAws, folder: Path, tmp_path: Path) -> None:
    """An update that CloudFormation undoes is explained, and leaves the table as it was."""
    assert provision(folder).code == 0
    client = empty.client("dynamodb")
    client.put_item(TableName=TABLE, Item={"pk": {"S": "kept"}})
    key = [{"AttributeName": "listKey", "KeyType": "HASH"}]
    stack = stack_of(another_template(tmp_path, KeySchema=key))
    with pytest.raises(Problem, match=r"UPDATE_ROLLBACK_COMPLETE.*requires replacing"):
        stack.deploy(Need.UPDATE)
    assert client.scan(TableName=TABLE)["Count"] == 1
    assert provision(folder).code == 0, "a stack whose update was undone takes the next one"


def test_comment_changed(empty: EmulatedAws, folder: Path, tmp_path: Path) -> None:
    """A template that differs in a comment alone changes nothing."""
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
    ("make", "words"),
    [
        (_other_key, ("key", "id (N)", "must be pk (S)", "UPLOADS_TABLE")),
        (_other_index, ("index by-due", "KEYS_ONLY", "INCLUDE id, owner", "change the index")),
        (_no_index, ("index by-due", "missing", "INCLUDE id, owner")),
        (_other_billing, ("billing", "PROVISIONED", "PAY_PER_REQUEST")),
        (_other_ttl, ("time to live", "on, expires", "must be on, ttl")),
    ],
    ids=["key", "index", "no index", "billing", "ttl"],
)
def test_unfit_table(
    meddler: MeddlingAws, folder: Path, make: Callable[[Any], None], words: tuple[str, ...]
) -> None:
    """What only a person can change is reported with what to do, before anything is written."""
    make(dynamodb())
    meddler.calls.clear()
    said = provision(folder)
    assert said.code == 1
    for word in words:
        assert word in said.err, word
    assert writes(meddler) == []
    assert said.document["exitCode"] == 1


def test_table_of_another_stack(empty: EmulatedAws, folder: Path) -> None:
    """A table that another stack owns stays as it is, and the reason is reported."""
    parameter = {"ParameterKey": "TableName", "ParameterValue": TABLE}
    body = table.TEMPLATE.read_text()
    cloudformation = empty.client("cloudformation")
    cloudformation.create_stack(StackName="theirs", TemplateBody=body, Parameters=[parameter])
    wait_until(lambda: TABLE in empty.client("dynamodb").list_tables()["TableNames"])
    said = provision(folder)
    assert said.code == 1
    assert f"{TABLE} already exists in stack" in said.err
    assert "use --secrets-only" in said.err
    (left,) = cloudformation.describe_stacks()["Stacks"]
    assert left["StackName"] == "theirs"
    assert provision(folder, "--secrets-only").code == 0


def test_stack_of_another_table(empty: EmulatedAws, folder: Path) -> None:
    """A stack of the same name that holds another table is left alone."""
    parameter = {"ParameterKey": "TableName", "ParameterValue": "another"}
    body = table.TEMPLATE.read_text()
    cloudformation = empty.client("cloudformation")
    cloudformation.create_stack(StackName=STACK, TemplateBody=body, Parameters=[parameter])
    said = provision(folder)
    assert said.code == 1
    assert f"The stack {STACK} is that of the table another." in said.err


def test_lost_table(empty: EmulatedAws, folder: Path) -> None:
    """A stack whose table was deleted behind its back is explained; no empty table is made."""
    assert provision(folder).code == 0
    client = empty.client("dynamodb")
    client.update_table(TableName=TABLE, DeletionProtectionEnabled=False)
    client.delete_table(TableName=TABLE)
    said = provision(folder)
    assert said.code == 1
    assert f"The stack {STACK} is there, but its table {TABLE} is not." in said.err
    assert f"aws cloudformation delete-stack --stack-name {STACK}" in said.err
    assert client.list_tables()["TableNames"] == []


def in_state(status: str) -> Callable[[Callable[[], Answer]], Answer]:
    """Let CloudFormation say that the stack is in a state."""

    def answer(carry_out: Callable[[], Answer]) -> Answer:
        code, text = carry_out()
        return code, re.sub(r"(?<=<StackStatus>)\w+", status, text)

    return answer


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("ROLLBACK_COMPLETE", f"aws cloudformation delete-stack --stack-name {STACK}"),
        ("CREATE_FAILED", f"aws cloudformation delete-stack --stack-name {STACK}"),
        ("DELETE_FAILED", f"aws cloudformation delete-stack --stack-name {STACK}"),
        ("UPDATE_ROLLBACK_FAILED", "aws cloudformation continue-update-rollback"),
    ],
)
def test_stuck_stack(meddler: MeddlingAws, folder: Path, status: str, advice: str) -> None:
    """A stack that takes no update is named with the command that ends its state."""
    assert provision(folder).code == 0
    meddler.rules["DescribeStacks"] = in_state(status)
    meddler.calls.clear()
    said = provision(folder)
    assert said.code == 1
    assert f"The stack {STACK} is {status}" in said.err
    assert advice in said.err
    assert writes(meddler) == []


def test_interrupted(meddler: MeddlingAws, folder: Path) -> None:
    """A failure in the middle is reported; the next run keeps what was done, and does the rest."""
    meddler.refuse("UpdateTimeToLive", "AccessDeniedException", "no dynamodb:UpdateTimeToLive")
    said = provision(folder)
    assert said.code == 3
    assert "AWS does not let you call UpdateTimeToLive: no dynamodb:UpdateTimeToLive" in said.err
    meddler.rules.clear()
    meddler.calls.clear()
    again = run(folder, *PROVISION)
    assert again.code == 0, again.err
    assert again.outcomes()["done"] == [
        "time to live was turned on",
        "point-in-time recovery was turned on",
    ]
    assert writes(meddler) == ["UpdateTimeToLive", "UpdateContinuousBackups"]


def test_waits_for_stack(meddler: MeddlingAws, folder: Path) -> None:
    """The command waits for the change that an interrupted run began, and reports progress."""
    assert provision(folder).code == 0
    asked: list[int] = []

    def creating(carry_out: Callable[[], Answer]) -> Answer:
        asked.append(1)
        return in_state("CREATE_IN_PROGRESS" if len(asked) < 30 else "CREATE_COMPLETE")(carry_out)

    meddler.rules["DescribeStacks"] = creating
    planned = run(folder, *PROVISION, "--dry-run").outcomes()["planned"]
    assert planned == ["wait for the stack's running change"]
    slept: list[float] = []
    err = io.StringIO()
    stack_of(err=err, slept=slept).wait()
    assert len(asked) == 30
    assert 1 < err.getvalue().count("still CREATE_IN_PROGRESS") <= sum(slept) / 10
    asked.clear()
    stage, secrets = stages.read(folder, "prod"), {"SYNC_API_KEY": KEY, "JWT_SECRET": TOKENS}
    orders, terminal = provision_.Orders(), Terminal(io.StringIO(), err, as_json=False)
    steps = provision_.run(stage, known(), terminal, orders, lambda _: secrets, slept.append)
    assert {one.outcome for one in steps} == {"kept"}


def test_waits_too_long(meddler: MeddlingAws, folder: Path) -> None:
    """The command gives up after an hour if a change does not end; the next run resumes."""
    assert provision(folder).code == 0
    meddler.rules["DescribeStacks"] = in_state("UPDATE_IN_PROGRESS")
    with pytest.raises(Problem, match="still UPDATE_IN_PROGRESS after 36"):
        stack_of().wait()


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_being_deleted(meddler: MeddlingAws, folder: Path, more: tuple[str, ...]) -> None:
    """A table that is being deleted is neither kept nor waited for; nothing is written."""
    assert provision(folder).code == 0

    def deleting(carry_out: Callable[[], Answer]) -> Answer:
        status, answer = carry_out()
        answer["Table"]["TableStatus"] = "DELETING"
        return status, answer

    meddler.rules["DescribeTable"] = deleting
    meddler.calls.clear()
    said = provision(folder, *more)
    assert said.code == 1
    assert f"The table {TABLE} is being deleted.\nRun this again in some minutes." in said.err
    assert writes(meddler) == []


def test_at_terminal(empty: EmulatedAws, folder: Path) -> None:
    """Secrets are asked for without echo, one that can't be right again, and never shown."""
    typed = at_terminal(
        folder,
        *PROVISION[:3],
        keys=[
            ("API key (not shown): ", "two words\n"),
            ("API key (not shown): ", f"{KEY}\n"),
            ("are signed with (not shown): ", f"{TOKENS}\n"),
        ],
    )
    assert typed.code == 0, typed.screen
    assert stored(empty) == {API_KEY: KEY, JWT_SECRET: TOKENS}
    assert "It must be sync.'s API key, in ASCII without spaces" in typed.screen
    for secret in (KEY, TOKENS, "two words"):
        assert secret not in typed.screen


def test_no_terminal(meddler: MeddlingAws, folder: Path) -> None:
    """Without a terminal nothing is asked for, and it is said how else."""
    said = run(folder, *PROVISION, stdin=SECRETS)
    assert said.code == 2
    assert "--secrets-from-stdin" in said.err
    assert writes(meddler) == []


def test_no_pipe(empty: EmulatedAws, folder: Path) -> None:
    """At a terminal nothing is read that would be shown while it is typed."""
    seen = at_terminal(folder, *PROVISION[:3], "--secrets-from-stdin", keys=[])
    assert seen.code == 2
    assert "Standard input is a terminal" in seen.screen
    assert stored(empty) == {}


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        ("", "SYNC_API_KEY is not in standard input"),
        (f"{KEY}\n", "Line 1 of standard input is no NAME=value"),
        (f"API_KEY={KEY}\n", "Line 1 of standard input is no NAME=value"),
        (f"SYNC_API_KEY={KEY}\nJWT_SECRET={TOKENS[:20]}\n", "at least 32 bytes"),
        (f"SYNC_API_KEY={KEY} {KEY}\nJWT_SECRET={TOKENS}\n", "without spaces"),
    ],
)
def test_wrong_secrets(meddler: MeddlingAws, folder: Path, stdin: str, words: str) -> None:
    """What can't be a secret is refused by the broker's own rules, and nothing is stored."""
    said = provision(folder, stdin=stdin)
    assert said.code == 2
    assert words in said.err
    assert TOKENS[:20] not in said.err + said.out
    assert writes(meddler) == []


def test_rotation(empty: EmulatedAws, folder: Path) -> None:
    """With --replace-secrets what is given is replaced, and the rest is kept."""
    assert provision(folder).code == 0
    both = f"{TOKENS[::-1]},{TOKENS}"
    said = provision(folder, "--replace-secrets", stdin=f"JWT_SECRET={both}\n")
    assert said.code == 0, said.err
    assert stored(empty) == {API_KEY: KEY, JWT_SECRET: both}
    assert TOKENS[::-1] not in said.out + said.err
    assert [step["outcome"] for step in said.document["steps"]] == ["kept", "done", "kept"]


def test_bad_parameter(empty: EmulatedAws, folder: Path) -> None:
    """A parameter that the broker can't use is asked for again."""
    ssm = empty.client("ssm")
    ssm.put_parameter(Name=JWT_SECRET, Value="short", Type="SecureString")
    said = provision(folder)
    assert said.code == 0, said.err
    assert f"{JWT_SECRET} can't be used: it must be a secret of at least 32 bytes" in said.err
    assert stored(empty)[JWT_SECRET] == TOKENS


def test_in_the_clear(empty: EmulatedAws, folder: Path) -> None:
    """A parameter that is not encrypted is left to a person: the secret is spoilt."""
    ssm = empty.client("ssm")
    ssm.put_parameter(Name=API_KEY, Value=KEY, Type="String")
    said = provision(folder)
    assert said.code == 1
    assert "lies there in the clear" in said.err
    assert f"aws ssm delete-parameter --name {API_KEY}" in said.err
    assert empty.client("dynamodb").list_tables()["TableNames"] == []


def configured(folder: Path, tmp_path: Path, **settings: str) -> Path:
    """Copy a project's configuration with other settings of the stage."""
    content = json.loads((folder / ".chalice" / "config.json").read_text())
    environment = content["stages"]["prod"]["environment_variables"] | settings
    content["stages"]["prod"]["environment_variables"] = {
        name: value for name, value in environment.items() if value
    }
    (tmp_path / ".chalice").mkdir()
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(content))
    return tmp_path


def test_key_set(empty: EmulatedAws, folder: Path, tmp_path: Path) -> None:
    """Where an identity provider signs the tokens, no secret of theirs is asked for."""
    url = "https://id.example.com/jwks.json"
    own = configured(folder, tmp_path, JWT_SECRET_PARAMETER="", JWT_JWKS_URL=url)
    said = provision(own, stdin=f"SYNC_API_KEY={KEY}\n")
    assert said.code == 0, said.err
    assert stored(empty) == {API_KEY: KEY}


def test_secret_in_configuration(empty: EmulatedAws, folder: Path, tmp_path: Path) -> None:
    """A secret in the configuration is refused, by its name."""
    said = provision(configured(folder, tmp_path, SYNC_API_KEY=KEY))
    assert said.code == 2
    assert "SYNC_API_KEY stands in .chalice/config.json" in said.err
    assert empty.client("ssm").describe_parameters()["Parameters"] == []


@pytest.mark.parametrize(("origins", "is_told"), [("", True), ("https://a.example.com", False)])
def test_no_origins(
    empty: EmulatedAws, folder: Path, tmp_path: Path, origins: str, *, is_told: bool
) -> None:
    """A stage that lets no browser in is told so before it is deployed."""
    assert empty.url
    own = configured(folder, tmp_path, ALLOWED_ORIGINS=origins)
    said = run(own, *PROVISION, "--dry-run")
    assert said.code == 0, said.err
    assert ("ALLOWED_ORIGINS is empty" in said.err) is is_told


def test_secrets_only(empty: EmulatedAws, folder: Path) -> None:
    """With --secrets-only the table is left alone."""
    said = provision(folder, "--secrets-only")
    assert said.code == 0, said.err
    assert set(stored(empty)) == {API_KEY, JWT_SECRET}
    assert empty.client("dynamodb").list_tables()["TableNames"] == []


def test_nobody_says_it_back(meddler: MeddlingAws, folder: Path) -> None:
    """A secret that AWS says back in a refusal is masked."""
    words = f"Value '{KEY}' at 'value' failed, as did {json.dumps(TOKENS)}"
    meddler.refuse("PutParameter", "ValidationException", words)
    said = provision(folder)  # which looks for both in all that came out
    assert said.code == 1
    assert "Value '***' at 'value' failed" in said.err
    assert "Value '***' at 'value' failed" in said.document["error"]["message"]
