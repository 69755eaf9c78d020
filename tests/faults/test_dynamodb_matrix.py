"""Every step that calls DynamoDB, against every way in which DynamoDB can fail.

A failing call takes boto3 seconds of pauses and retries. So one fault hits all steps at once, each
with its own caller whose calls alone fail; then the faults end, time passes, sweeps run; and each
test checks its own cell.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from tests.faults.faulty_broker import (
    LIST,
    REGISTER,
    SETTLED,
    Caller,
    FaultyBroker,
    assert_own_settled,
    assert_settled,
    wait_for,
)
from tests.support.faulty_dynamodb import Rule

PLAN_MAX_BYTES = 1000
LASTING = ("throttled", "throttling", "500", "slow-before", "slow-after", "cut-before", "cut-after")
ONCE = ("throttled", "slow-before", "slow-after", "cut-before", "cut-after")
LEASED = "#attempt.#id = :attempt"


@dataclass
class Cell:
    """One step, hit by one fault.

    Attributes:
        caller: Whose calls fail.
        owner: The caller's id in the table.
        name: The upload's name.
        upload: The upload, where the step needs one.
        response: The response to the caller.
        rule: The proxy's rule for the fault.
        asset: The id of the asset whose registration is ambiguous.
    """

    caller: Caller
    owner: str
    name: str
    upload: dict[str, Any] = field(default_factory=dict)
    response: requests.Response | None = None
    rule: Rule | None = None
    asset: str = ""


@dataclass(frozen=True)
class Step:
    """A call to DynamoDB within a request.

    Attributes:
        prepare: Brings the upload to the step.
        act: Sends the request.
        operation: The call's name at DynamoDB.
        contains: Texts that only this call contains; `{id}`, `{owner}` and `{asset}` are filled in.
        expected: The status without a fault.
        failing: The status while the fault lasts.
        early: Whether it is prepared before the settle time.
    """

    prepare: Callable[[FaultyBroker, Cell], None]
    act: Callable[[Cell], requests.Response]
    operation: str
    contains: tuple[str, ...]
    expected: tuple[int, ...]
    failing: int = 503
    early: bool = False


def nothing(_broker: FaultyBroker, _cell: Cell) -> None:
    """Prepare nothing."""


def land(_broker: FaultyBroker, cell: Cell) -> None:
    """Let the bytes land."""
    cell.upload = cell.caller.land(cell.name)


def begin(_broker: FaultyBroker, cell: Cell) -> None:
    """Begin an upload whose bytes never land."""
    cell.upload = cell.caller.begin(name=cell.name)


def too_large(_broker: FaultyBroker, cell: Cell) -> None:
    """Let more bytes land than Sync's plan allows."""
    begin(_broker, cell)
    assert cell.caller.put(cell.upload, b"x" * (PLAN_MAX_BYTES + 1)).status_code == 200


def cut_before(broker: FaultyBroker, cell: Cell) -> None:
    """Reset the connection of a registration that Sync has not carried out."""
    land(broker, cell)
    broker.upstream.order({"kind": "cut"}, *REGISTER)
    assert cell.caller.complete(cell.upload).status_code == 202


def cut_after(broker: FaultyBroker, cell: Cell) -> None:
    """Reset the connection after Sync has carried out a registration, and fail to reconcile it."""
    land(broker, cell)
    broker.upstream.order({"kind": "cut", "when": "after"}, *REGISTER)
    broker.upstream.order({"kind": "answer", "status": 500}, *LIST, times=2)
    assert cell.caller.complete(cell.upload).status_code == 202
    # On a busy machine the broker may have given up before Sync was done.
    wait_for(lambda: any(asset["name"] == cell.name for asset in broker.assets()))
    [cell.asset] = (asset["id"] for asset in broker.assets() if asset["name"] == cell.name)


def begins(cell: Cell) -> requests.Response:
    """Begin the upload."""
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5, "name": cell.name}
    return cell.caller.call("POST", "/uploads", json=body)


def completes(cell: Cell) -> requests.Response:
    """Complete the upload."""
    return cell.caller.complete(cell.upload)


def posts_url(cell: Cell) -> requests.Response:
    """Register a public URL."""
    cell.caller.landed_names.add(cell.name)
    return cell.caller.post_url(cell.upload["url"], cell.name)


def make_url(broker: FaultyBroker, cell: Cell) -> None:
    """Upload a file, which makes its public URL."""
    cell.upload = {"url": broker.upstream.upload().replace("127.0.0.1", "localhost")}


def reads(path: str) -> Callable[[Cell], requests.Response]:
    """Return an action that reads a path."""
    return lambda cell: cell.caller.call("GET", path.format(**cell.upload))


def cancels(cell: Cell) -> requests.Response:
    """Cancel the upload."""
    return cell.caller.call("DELETE", f"/uploads/{cell.upload['id']}")


def renews(cell: Cell) -> requests.Response:
    """Get a fresh upload URL."""
    return cell.caller.call("POST", f"/uploads/{cell.upload['id']}/renew")


UPDATE, TRANSACT = "UpdateItem", "TransactWriteItems"
STEPS = {
    "reserve": Step(nothing, begins, UPDATE, ("{owner}", "not_exists(#reservation)"), (201,)),
    "write": Step(nothing, begins, TRANSACT, ("{owner}", "creating#"), (201,)),
    "lease": Step(land, completes, UPDATE, ("upload#{id}", ":pending"), (200,)),
    "record": Step(land, completes, TRANSACT, ("upload#{id}", "claim#"), (200,)),
    "reopen": Step(begin, completes, UPDATE, ("upload#{id}", LEASED), (409,)),
    "release": Step(cut_before, completes, UPDATE, ("upload#{id}", LEASED), (202,)),
    "reconcile-lease": Step(
        cut_after, completes, UPDATE, ("upload#{id}", "#lease_until <"), (200,)
    ),
    "claims": Step(cut_after, completes, "BatchGetItem", ("claim#{asset}",), (200,)),
    # If DynamoDB carried out the first try, it refuses the retry; then nobody POSTs, and 202 is
    # right.
    "lease-again": Step(
        cut_before, completes, UPDATE, ("upload#{id}", LEASED), (200, 202), early=True
    ),
    "fail": Step(too_large, completes, TRANSACT, ("upload#{id}", LEASED), (413,)),
    "cancel": Step(begin, cancels, TRANSACT, ("upload#{id}", ":pending"), (204,)),
    # If DynamoDB carried out the first try, the retry finds its URL.
    "renew": Step(begin, renews, UPDATE, ("upload#{id}", "size(#targets)"), (200,), early=True),
    "read": Step(begin, reads("/uploads/{id}"), "GetItem", ("upload#{id}",), (200,)),
    "list": Step(begin, reads("/uploads"), "Query", ("{owner}",), (200,)),
    "limits": Step(begin, reads("/limits"), "GetItem", ("quota#{owner}",), (200,)),
    "url-reserve": Step(
        make_url, posts_url, UPDATE, ("{owner}", "not_exists(#reservation)"), (201,)
    ),
    "url-write": Step(make_url, posts_url, TRANSACT, ("{owner}", "creating#"), (201,)),
    # The record exists already, so the caller can use its id.
    "url-record": Step(make_url, posts_url, TRANSACT, ("{owner}", "claim#"), (201,), failing=202),
}
CELLS = [(step, fault, False) for step in STEPS for fault in LASTING] + [
    (step, fault, True) for step in STEPS for fault in ONCE
]


def new_cell(broker: FaultyBroker, name: str) -> Cell:
    """Return a cell with a new caller."""
    caller = Caller(broker)
    owner = broker.parts().authenticator.caller(f"Bearer {caller.token}").id
    return Cell(caller, owner, name)


def order_fault(broker: FaultyBroker, step: Step, cell: Cell, fault: str, *, once: bool) -> None:
    """Order a fault at a step of one cell, and send the request."""
    marks = {"owner": cell.owner, "id": cell.upload.get("id", ""), "asset": cell.asset}
    contains = tuple(part.format(**marks) for part in step.contains)
    cell.rule = broker.dynamodb.order(fault, step.operation, *contains, lasting=not once)
    cell.response = step.act(cell)


def forget_unrecorded(cells: Iterable[Cell]) -> None:
    """Expect nothing of the public URLs that were refused before they were recorded."""
    for cell in cells:
        if cell.response is not None and cell.response.status_code == 503:
            cell.caller.landed_names &= {one["name"] for one in cell.caller.uploads()}


@dataclass
class Matrix:
    """All cells after the faults have ended, and the assets at Sync."""

    broker: FaultyBroker
    cells: dict[tuple[str, str, bool], Cell]
    made: Mapping[str | None, list[str]]


@pytest.fixture(scope="module")
def matrix(module_broker: FaultyBroker) -> Matrix:
    """Run all cells, one fault after the other, end the faults, and let time pass."""
    broker = module_broker
    broker.reset()
    # More than half of so short a life is over after the settle time.
    broker.upstream.behave(planMaxBytes=PLAN_MAX_BYTES, expiresIn=300)
    cells = {key: new_cell(broker, "/".join(map(str, key))) for key in CELLS}
    for is_early in (True, False):
        for key, cell in cells.items():
            if STEPS[key[0]].early is is_early:
                STEPS[key[0]].prepare(broker, cell)
        if is_early:
            broker.clock.advance(SETTLED)
    for kind in dict.fromkeys((fault, once) for _, fault, once in CELLS):
        # Each container has a budget of retries, which all cells at once would use up: a call that
        # was merely slow, on a busy machine, would not be retried, and would fail before its fault.
        broker.start_container()
        chosen = [key for key in CELLS if key[1:] == kind]
        with ThreadPoolExecutor(len(chosen)) as pool:
            futures = [
                pool.submit(order_fault, broker, STEPS[key[0]], cells[key], key[1], once=key[2])
                for key in chosen
            ]
        for future in futures:
            future.result()
    broker.heal()
    broker.clock.advance(SETTLED)
    # Callers continue one half of the uploads, the sweep alone the other half.
    for cell in list(cells.values())[::2]:
        for upload in cell.caller.uploads():
            cell.caller.complete(upload)
    made = broker.finish()
    forget_unrecorded(cell for key, cell in cells.items() if key[0].startswith("url"))
    return Matrix(broker, cells, made)


@pytest.mark.parametrize(
    ("step", "fault", "once"),
    [pytest.param(*key, id=f"{key[0]}-{key[1]}{'-once' * key[2]}") for key in CELLS],
)
def test_dynamodb_fault_loses_nothing(matrix: Matrix, step: str, fault: str, once: bool) -> None:  # noqa: FBT001 - a parameter
    """A failed write is 503, and afterwards nothing is lost or made twice."""
    cell = matrix.cells[step, fault, once]
    assert cell.rule is not None
    assert cell.rule.reached.is_set(), "the fault hit no call"
    assert cell.response is not None
    statuses = STEPS[step].expected if once else (STEPS[step].failing,)
    assert cell.response.status_code in statuses, cell.response.text
    if cell.response.status_code == 503:
        assert cell.response.json()["code"] == "store_unavailable"
    assert_own_settled(cell.caller, matrix.made)


def test_each_asset_has_an_upload(matrix: Matrix) -> None:
    """Each asset belongs to an upload."""
    names = {name for cell in matrix.cells.values() for name in cell.caller.landed_names}
    assert len(matrix.made) > len(STEPS)
    assert set(matrix.made) <= names


UNREACHABLE = ("reserve", "write", "lease", "record", "reopen", "release", "read", "url-record")


@pytest.mark.parametrize("name", UNREACHABLE)
def test_unreachable_dynamodb_loses_nothing(broker: FaultyBroker, name: str) -> None:
    """If a table can't be reached from some step on, the response is 503, and nothing is lost."""
    cell = new_cell(broker, "unreachable")
    STEPS[name].prepare(broker, cell)
    order_fault(broker, STEPS[name], cell, "unreachable", once=False)
    assert cell.response is not None
    assert cell.response.status_code == STEPS[name].failing
    broker.heal()
    broker.clock.advance(SETTLED)
    for upload in cell.caller.uploads():
        cell.caller.complete(upload)
    assert_settled(broker, [cell.caller])
