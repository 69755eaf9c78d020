"""`python -m ops provision`: what it makes, leaves, mends, asks for and refuses."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops import provision as provision_
from ops import stage as stages
from ops import table, table_shape
from ops.terminal import Problem, Terminal
from tests.ops.meddling_aws import Answer, MeddlingAws
from tests.ops.shell import KEY, SECRETS, TOKENS, Said, at_terminal, known, run
from tests.support.emulated_aws import EmulatedAws

TABLE = "sync-upload-broker-prod"
API_KEY = "/sync-upload-broker/prod/api-key"
JWT_SECRET = "/sync-upload-broker/prod/jwt-secret"
WRITES = ("Create", "Update", "Put", "Delete")
PROVISION = ("provision", "--stage", "prod", "--json")
RIGHT = ("key", "billing", "index by-list", "index by-due", "encryption")
RIGHT += ("deletion protection", "time to live", "point-in-time recovery")


def provision(folder: Path, *more: str, stdin: str = SECRETS) -> Said:
    """Provision the stage, with secrets from a pipe."""
    return run(folder, *PROVISION, "--secrets-from-stdin", *more, stdin=stdin)


def properties(aws: EmulatedAws) -> dict[str, bool]:
    """Say of each property of the table whether it is right."""
    client = aws.client("dynamodb")
    found = table_shape.describe(client, TABLE)
    assert found is not None
    return {one.name: one.is_right for one in table_shape.properties(client, TABLE, found)}


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
    assert properties(empty) == dict.fromkeys(RIGHT, True)
    assert stored(empty) == {API_KEY: KEY, JWT_SECRET: TOKENS}
    assert f"Creating the table {TABLE}" in said.err


def test_twice(meddler: MeddlingAws, folder: Path) -> None:
    """A second run asks for nothing, writes nothing, and says that everything is kept."""
    assert provision(folder).code == 0
    assert len(writes(meddler)) == 5
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
        assert planned == ["deletion protection: now off"]
    else:
        assert len(planned) == 3
        assert planned[-1] == "create the table, with everything that it needs"


def dynamodb() -> Any:
    """The client of the shell's account."""
    return known().client("dynamodb")


def _billing(client: Any) -> None:
    throughput = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    wanted: Any = {**table.definition(TABLE), "BillingMode": "PROVISIONED"}
    wanted["GlobalSecondaryIndexes"] = [
        {**index, "ProvisionedThroughput": throughput} for index in wanted["GlobalSecondaryIndexes"]
    ]
    client.create_table(**wanted, ProvisionedThroughput=throughput)


def _no_index(client: Any) -> None:
    wanted: Any = {**table.definition(TABLE)}
    wanted["GlobalSecondaryIndexes"] = wanted["GlobalSecondaryIndexes"][:1]
    names = {"pk", "listKey", "listOrder"}
    wanted["AttributeDefinitions"] = [
        one for one in wanted["AttributeDefinitions"] if one["AttributeName"] in names
    ]
    client.create_table(**wanted)


def _plain(client: Any) -> None:
    client.create_table(**table.definition(TABLE))


@pytest.mark.parametrize(
    ("make", "mended"),
    [
        (_billing, {"billing", *RIGHT[4:]}),
        (_no_index, {"index by-due", *RIGHT[4:]}),
        (_plain, set(RIGHT[4:])),
    ],
    ids=["billing", "index", "plain"],
)
def test_mended(
    empty: EmulatedAws, folder: Path, make: Callable[[Any], None], mended: set[str]
) -> None:
    """What a table lacks is put right, also what a run that was cut off left undone."""
    make(empty.client("dynamodb"))
    said = provision(folder)
    assert said.code == 0, said.err
    assert {detail for detail in said.outcomes()["done"] if ", stored" not in detail} == mended
    assert properties(empty) == dict.fromkeys(RIGHT, True)


def _other_key(client: Any) -> None:
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )


def _other_index(client: Any) -> None:
    wanted: Any = {**table.definition(TABLE)}
    wanted["GlobalSecondaryIndexes"][1]["Projection"] = {"ProjectionType": "KEYS_ONLY"}
    client.create_table(**wanted)


def _other_ttl(client: Any) -> None:
    client.create_table(**table.definition(TABLE))
    client.update_time_to_live(
        TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_other_key, ("key", "id (N)", "must be pk (S)", "UPLOADS_TABLE")),
        (_other_index, ("index by-due", "KEYS_ONLY", "INCLUDE id, owner", "Delete the index")),
        (_other_ttl, ("time to live", "by expires", "Turn it off")),
    ],
    ids=["key", "index", "ttl"],
)
def test_only_a_person(
    meddler: MeddlingAws, folder: Path, make: Callable[[Any], None], words: tuple[str, ...]
) -> None:
    """What can't be put right is told with what to do, before anything is written."""
    make(dynamodb())
    meddler.calls.clear()
    said = provision(folder)
    assert said.code == 1
    for word in words:
        assert word in said.err, word
    assert writes(meddler) == []
    assert said.document["exitCode"] == 1


def test_cut_off(meddler: MeddlingAws, folder: Path) -> None:
    """What fails in the middle is told; the next run keeps what was done, and does the rest."""
    meddler.refuse("UpdateTimeToLive", "AccessDeniedException", "no dynamodb:UpdateTimeToLive")
    said = provision(folder)
    assert said.code == 3
    assert "AWS does not let you call UpdateTimeToLive: no dynamodb:UpdateTimeToLive" in said.err
    meddler.rules.clear()
    meddler.calls.clear()
    again = run(folder, *PROVISION)
    assert again.code == 0, again.err
    assert again.outcomes()["done"] == ["time to live", "point-in-time recovery"]
    assert writes(meddler) == ["UpdateTimeToLive", "UpdateContinuousBackups"]


def test_waits(meddler: MeddlingAws, folder: Path) -> None:
    """A table that is being made is waited for, and so are backups that AWS is not ready for."""
    looks: list[str] = []

    def slowly(carry_out: Callable[[], Answer]) -> Answer:
        status, answer = carry_out()
        if "Table" not in answer:
            return status, answer
        looks.append(answer["Table"]["TableStatus"])
        if len(looks) < 4:
            answer["Table"]["TableStatus"] = "CREATING"
        elif len(looks) < 6:
            answer["Table"]["GlobalSecondaryIndexes"][0]["IndexStatus"] = "CREATING"
        return status, answer

    meddler.rules["DescribeTable"] = slowly
    meddler.refuse("UpdateContinuousBackups", "ContinuousBackupsUnavailableException", times=1)
    terminal = Terminal(io.StringIO(), io.StringIO(), as_json=False)
    slept: list[float] = []
    stage, secrets = stages.read(folder, "prod"), {"SYNC_API_KEY": KEY, "JWT_SECRET": TOKENS}
    orders = provision_.Orders()
    steps = provision_.run(stage, known(), terminal, orders, lambda _: secrets, slept.append)
    assert {one.outcome for one in steps} == {"done"}
    assert len(slept) == 6
    order = [one for one in meddler.calls if one.startswith(("CreateTable", "Desc", "Update"))]
    after = order[order.index("CreateTable") + 1 :]
    assert after[:6] == ["DescribeTable"] * 6, "nothing is asked of it before it is there"
    assert meddler.calls.count("UpdateContinuousBackups") == 2


def test_still_creating(meddler: MeddlingAws, folder: Path) -> None:
    """A table that an earlier run has ordered is planned to be waited for, and not looked into."""
    assert provision(folder).code == 0

    def creating(carry_out: Callable[[], Answer]) -> Answer:
        status, answer = carry_out()
        answer["Table"]["TableStatus"] = "CREATING"
        return status, answer

    meddler.rules["DescribeTable"] = creating
    meddler.refuse("DescribeContinuousBackups", "TableNotFoundException")
    said = run(folder, *PROVISION, "--dry-run")
    assert said.code == 0, said.err
    assert said.outcomes()["planned"] == ["wait for the table, and look what it lacks"]


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
    with pytest.raises(Problem, match="is being deleted"):  # where that was begun meanwhile
        table_shape.wait(dynamodb(), TABLE, print)


def test_progress(meddler: MeddlingAws, folder: Path) -> None:
    """What takes long is told about every ten seconds, and given up after a time."""
    assert provision(folder).code == 0
    said: list[str] = []
    clock = [0.0]

    def filling(carry_out: Callable[[], Answer]) -> Answer:
        status, answer = carry_out()
        answer["Table"]["GlobalSecondaryIndexes"][1]["IndexStatus"] = "CREATING"
        return status, answer

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    meddler.rules["DescribeTable"] = filling
    with pytest.raises(Problem, match="not ready after 60 s"):
        table_shape.wait(dynamodb(), TABLE, said.append, sleep, lambda: clock[0], 60)
    assert said[0].startswith("  still waiting for the index by-due (1")
    assert len(said) == 5


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


@pytest.mark.parametrize(
    ("origins", "more", "is_told"),
    [("", (), True), ("https://a.example.com", (), False), ("", ("--secrets-only",), False)],
)
def test_no_origins(
    empty: EmulatedAws,
    folder: Path,
    tmp_path: Path,
    origins: str,
    more: tuple[str, ...],
    *,
    is_told: bool,
) -> None:
    """A stage that lets no browser in is told so before it is deployed; a stack sets it itself."""
    assert empty.url
    own = configured(folder, tmp_path, ALLOWED_ORIGINS=origins)
    said = run(own, *PROVISION, "--dry-run", *more)
    assert said.code == 0, said.err
    assert ("ALLOWED_ORIGINS is empty" in said.err) is is_told


def test_secrets_only(empty: EmulatedAws, folder: Path) -> None:
    """A stack makes its own table: then only the secrets are stored."""
    said = provision(folder, "--secrets-only")
    assert said.code == 0, said.err
    assert set(stored(empty)) == {API_KEY, JWT_SECRET}
    assert empty.client("dynamodb").list_tables()["TableNames"] == []


def test_stacks_table(empty: EmulatedAws, folder: Path) -> None:
    """The table of a stack is put right by its name."""
    client = empty.client("dynamodb")
    client.create_table(**table.definition("broker-prod-Uploads-1"))
    assert provision(folder, "--table", "broker-prod-Uploads-1").code == 0
    assert client.list_tables()["TableNames"] == ["broker-prod-Uploads-1"]
    found = client.describe_table(TableName="broker-prod-Uploads-1")["Table"]
    assert found["DeletionProtectionEnabled"] is True


def test_nobody_says_it_back(meddler: MeddlingAws, folder: Path) -> None:
    """A secret that AWS says back in a refusal is masked."""
    words = f"Value '{KEY}' at 'value' failed, as did {json.dumps(TOKENS)}"
    meddler.refuse("PutParameter", "ValidationException", words)
    said = provision(folder)  # which looks for both in all that came out
    assert said.code == 1
    assert "Value '***' at 'value' failed" in said.err
    assert "Value '***' at 'value' failed" in said.document["error"]["message"]
