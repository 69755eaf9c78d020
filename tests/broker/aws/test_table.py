"""What a refusal, a conflict and a failure of DynamoDB become."""

import uuid
from collections.abc import Callable

import pytest

from chalicelib.aws import clients, codec
from chalicelib.aws.table import CONFLICT_TRIES, Change, Table
from chalicelib.core.errors import StoreUnavailable
from tests.broker.conftest import TABLE
from tests.support.clocks import ManualClock
from tests.support.faulty_dynamodb import FaultyDynamoDB

NEW = "attribute_not_exists(#pk)"


@pytest.fixture
def pk() -> str:
    """A key that no other test uses."""
    return f"table#{uuid.uuid4().hex}"


def table_of(name: str = TABLE) -> Table:
    """Return a table whose pauses take no time."""
    return Table(clients.dynamodb(), name, ManualClock())


def test_refused_write_returns_the_item(pk: str) -> None:
    """A granted write returns the new item, and a refused one the item that refused it."""
    table = table_of()
    first = table.write(Change(pk=pk, condition=NEW, sets={"n": 1}))
    second = table.write(Change(pk=pk, condition=NEW, sets={"n": 2}))
    assert (first.granted, second.granted) == (True, False)
    for result in (first, second):
        assert codec.plain(result.item or {}) == {"pk": pk, "n": 1}
    missing = table.write(Change(pk=f"{pk}-", condition="attribute_exists(#pk)", delete=True))
    assert (missing.granted, missing.item) == (False, None)


def test_refused_transaction_names_the_change(pk: str) -> None:
    """A refused transaction writes nothing, and returns the items of the changes that refused."""
    table = table_of()
    table.write(Change(pk=pk, sets={"n": 1}))
    fine = Change(pk=f"{pk}-fine", sets={"n": 1})
    taken = Change(pk=pk, condition=NEW, sets={"n": 2})
    absent = Change(pk=f"{pk}-absent", condition="attribute_exists(#pk)", sets={"n": 2})
    refused = table.transact(fine, taken, absent)
    assert refused is not None
    assert (refused[0], refused[2]) == (None, {})
    assert codec.plain(refused[1] or {}) == {"pk": pk, "n": 1}
    assert table.get(fine.pk) is None
    assert table.transact(fine) is None
    assert table.get(fine.pk) is not None


def test_conflict_is_tried_again(faulty_dynamodb: FaultyDynamoDB, pk: str) -> None:
    """A write that meets another one of the same item is sent again."""
    table = table_of()
    faulty_dynamodb.order("conflict", "UpdateItem", pk, lasting=False)
    assert table.write(Change(pk=pk, sets={"n": 1})).granted
    assert faulty_dynamodb.calls == ["UpdateItem"] * 2


def test_lasting_conflict_is_given_up(faulty_dynamodb: FaultyDynamoDB, pk: str) -> None:
    """After twelve tries the service is busy."""
    table = table_of()
    faulty_dynamodb.order("conflict", "UpdateItem", pk)
    with pytest.raises(StoreUnavailable, match="busy"):
        table.write(Change(pk=pk, sets={"n": 1}))
    assert len(faulty_dynamodb.calls) == CONFLICT_TRIES == 12


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("GetItem", lambda table: table.get("a")),
        ("BatchGetItem", lambda table: table.batch(["a"])),
    ],
    ids=["get", "batch"],
)
def test_reads_are_consistent(
    faulty_dynamodb: FaultyDynamoDB, operation: str, call: Callable[[Table], object]
) -> None:
    """A read sees every write before it, which the emulator does without being asked."""
    rule = faulty_dynamodb.order("slow-before", operation, '"ConsistentRead": true', seconds=0)
    call(table_of())
    assert faulty_dynamodb.calls == [operation]
    assert rule.reached.is_set()


@pytest.mark.parametrize(
    "call",
    [
        lambda table: table.get("a"),
        lambda table: table.write(Change(pk="a", condition=NEW, sets={"n": 1})),
        lambda table: table.transact(Change(pk="a", condition=NEW, sets={"n": 1})),
        lambda table: table.batch(["a"]),
    ],
    ids=["get", "write", "transact", "batch"],
)
def test_other_failure_is_not_tried_again(call: Callable[[Table], object]) -> None:
    """A table that is not there is no conflict."""
    clock = ManualClock()
    before = clock.now()
    with pytest.raises(StoreUnavailable, match="can't reach its records") as raised:
        call(Table(clients.dynamodb(), "missing", clock))
    assert raised.value.retry_after == 2
    assert clock.now() == before
