"""Every step that calls DynamoDB, against every way in which DynamoDB can fail.

A failing call takes boto3 seconds of pauses and repetitions. So all steps are struck by one fault
at once, each with a caller of its own whose calls alone are struck; then everything heals, time
passes, sweeps run; and each test looks at its own cell.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from chalicelib.syncapi.client import Timeouts
from tests.faults.stand import (
    LOOK,
    REGISTER,
    SETTLED,
    Caller,
    Stand,
    assert_own_settled,
    assert_settled,
    wait_for,
)
from tests.support.faulty_dynamodb import Rule

PLAN_MAX_BYTES = 1000
LASTING = ("throttled", "throttling", "500", "slow-before", "slow-after", "cut-before", "cut-after")
ONCE = ("throttled", "slow-before", "slow-after", "cut-before", "cut-after")
HELD = "#attempt.#id = :attempt"


@dataclass
class Cell:
    """One step, struck by one fault.

    Attributes:
        caller: Whose calls are struck.
        owner: The caller's id in the table.
        name: Of the upload.
        upload: The upload, where the step needs one.
        answer: What the caller was told.
        rule: What struck.
        asset: The id of the asset that was made without an answer.
    """

    caller: Caller
    owner: str
    name: str
    upload: dict[str, Any] = field(default_factory=dict)
    answer: requests.Response | None = None
    rule: Rule | None = None
    asset: str = ""


@dataclass(frozen=True)
class Step:
    """A call to DynamoDB on the way of a request.

    Attributes:
        prepare: Brings the upload so far.
        act: Sends the request.
        operation: DynamoDB's name of the call.
        holding: What tells the call from others; `{id}`, `{owner}` and `{asset}` are filled in.
        fine: The status without a fault.
        told: The status while the fault lasts.
        early: Whether it is prepared before the settle time.
    """

    prepare: Callable[[Stand, Cell], None]
    act: Callable[[Cell], requests.Response]
    operation: str
    holding: tuple[str, ...]
    fine: tuple[int, ...]
    told: int = 503
    early: bool = False


def nothing(_stand: Stand, _cell: Cell) -> None:
    """Prepare nothing."""


def land(_stand: Stand, cell: Cell) -> None:
    """Let the bytes land."""
    cell.upload = cell.caller.land(cell.name)


def begin(_stand: Stand, cell: Cell) -> None:
    """Begin an upload whose bytes never land."""
    cell.upload = cell.caller.begin(name=cell.name)


def too_large(_stand: Stand, cell: Cell) -> None:
    """Let more bytes land than sync.'s plan allows."""
    begin(_stand, cell)
    assert cell.caller.put(cell.upload, b"x" * (PLAN_MAX_BYTES + 1)).status_code == 200


def lose(stand: Stand, cell: Cell) -> None:
    """Lose a registration before sync. has carried it out."""
    land(stand, cell)
    stand.upstream.order({"kind": "cut"}, *REGISTER)
    assert cell.caller.complete(cell.upload).status_code == 202


def lose_made(stand: Stand, cell: Cell) -> None:
    """Lose the answer of a registration, and fail to look for it."""
    land(stand, cell)
    stand.upstream.order({"kind": "cut", "when": "after"}, *REGISTER)
    stand.upstream.order({"kind": "answer", "status": 500}, *LOOK, times=2)
    assert cell.caller.complete(cell.upload).status_code == 202
    # On a busy machine the broker may have given up before sync. was done.
    wait_for(lambda: any(asset["name"] == cell.name for asset in stand.assets()))
    [cell.asset] = (asset["id"] for asset in stand.assets() if asset["name"] == cell.name)


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


def have_url(stand: Stand, cell: Cell) -> None:
    """Have a public URL."""
    cell.upload = {"url": stand.upstream.upload().replace("127.0.0.1", "localhost")}


def reads(path: str) -> Callable[[Cell], requests.Response]:
    """Read something."""
    return lambda cell: cell.caller.call("GET", path.format(**cell.upload))


def cancels(cell: Cell) -> requests.Response:
    """Cancel the upload."""
    return cell.caller.call("DELETE", f"/uploads/{cell.upload['id']}")


def renews(cell: Cell) -> requests.Response:
    """Get a fresh address."""
    return cell.caller.call("POST", f"/uploads/{cell.upload['id']}/renew")


UPDATE, TRANSACT = "UpdateItem", "TransactWriteItems"
STEPS = {
    "reserve": Step(nothing, begins, UPDATE, ("{owner}", "not_exists(#place)"), (201,)),
    "write": Step(nothing, begins, TRANSACT, ("{owner}", "creating#"), (201,)),
    "lease": Step(land, completes, UPDATE, ("upload#{id}", ":pending"), (200,)),
    "record": Step(land, completes, TRANSACT, ("upload#{id}", "claim#"), (200,)),
    "reopen": Step(begin, completes, UPDATE, ("upload#{id}", HELD), (409,)),
    "release": Step(lose, completes, UPDATE, ("upload#{id}", HELD), (202,)),
    "look-lease": Step(lose_made, completes, UPDATE, ("upload#{id}", "#lease_until <"), (200,)),
    "claims": Step(lose_made, completes, "BatchGetItem", ("claim#{asset}",), (200,)),
    # The repetition of one that was carried out is refused; then nobody POSTs, and 202 is true.
    "lease-again": Step(lose, completes, UPDATE, ("upload#{id}", HELD), (200, 202), early=True),
    "fail": Step(too_large, completes, TRANSACT, ("upload#{id}", HELD), (413,)),
    "cancel": Step(begin, cancels, TRANSACT, ("upload#{id}", ":pending"), (204,)),
    # Where the first try was carried out, the repetition finds its address.
    "renew": Step(begin, renews, UPDATE, ("upload#{id}", "size(#targets)"), (200,), early=True),
    "read": Step(begin, reads("/uploads/{id}"), "GetItem", ("upload#{id}",), (200,)),
    "list": Step(begin, reads("/uploads"), "Query", ("{owner}",), (200,)),
    "limits": Step(begin, reads("/limits"), "GetItem", ("quota#{owner}",), (200,)),
    "url-reserve": Step(have_url, posts_url, UPDATE, ("{owner}", "not_exists(#place)"), (201,)),
    "url-write": Step(have_url, posts_url, TRANSACT, ("{owner}", "creating#"), (201,)),
    # The record is there already, so the caller goes on by its id.
    "url-record": Step(have_url, posts_url, TRANSACT, ("{owner}", "claim#"), (201,), told=202),
}
CELLS = [(step, fault, False) for step in STEPS for fault in LASTING] + [
    (step, fault, True) for step in STEPS for fault in ONCE
]


def new_cell(stand: Stand, name: str) -> Cell:
    """Make a cell whose caller nobody knows."""
    caller = Caller(stand)
    owner = stand.wired().authenticator.caller(f"Bearer {caller.token}").id
    return Cell(caller, owner, name)


def strike(stand: Stand, step: Step, cell: Cell, fault: str, *, once: bool) -> None:
    """Let DynamoDB fail at a step of one cell, and send the request."""
    marks = {"owner": cell.owner, "id": cell.upload.get("id", ""), "asset": cell.asset}
    holding = tuple(part.format(**marks) for part in step.holding)
    cell.rule = stand.dynamodb.order(fault, step.operation, *holding, lasting=not once)
    cell.answer = step.act(cell)


def forget_unrecorded(cells: Iterable[Cell]) -> None:
    """Expect nothing of the public URLs that were refused before they were recorded."""
    for cell in cells:
        if cell.answer is not None and cell.answer.status_code == 503:
            cell.caller.landed_names &= {one["name"] for one in cell.caller.uploads()}


@dataclass
class Matrix:
    """All cells after everything has healed, and what sync. holds."""

    stand: Stand
    cells: dict[tuple[str, str, bool], Cell]
    made: Mapping[str | None, list[str]]


@pytest.fixture(scope="module")
def matrix(module_stand: Stand) -> Matrix:
    """Carry out all cells, one fault after the other, heal, and let time pass."""
    stand = module_stand
    stand.timeouts = Timeouts()  # It is not sync. that is in trouble.
    stand.renew()
    # So short a life is more than half over when the settle time is.
    stand.upstream.behave(planMaxBytes=PLAN_MAX_BYTES, expiresIn=300)
    cells = {key: new_cell(stand, "/".join(map(str, key))) for key in CELLS}
    for is_early in (True, False):
        for key, cell in cells.items():
            if STEPS[key[0]].early is is_early:
                STEPS[key[0]].prepare(stand, cell)
        if is_early:
            stand.clock.advance(SETTLED)
    for kind in dict.fromkeys((fault, once) for _, fault, once in CELLS):
        # Each container has a budget of repetitions, which all cells at once would use up: then
        # what only took long, on a busy machine, would not be repeated, and fail before its fault.
        stand.point()
        chosen = [key for key in CELLS if key[1:] == kind]
        with ThreadPoolExecutor(len(chosen)) as pool:
            jobs = [
                pool.submit(strike, stand, STEPS[key[0]], cells[key], key[1], once=key[2])
                for key in chosen
            ]
        for job in jobs:
            job.result()
    stand.heal()
    stand.clock.advance(SETTLED)
    # One half goes on by its callers, the other by the sweep alone.
    for cell in list(cells.values())[::2]:
        for upload in cell.caller.uploads():
            cell.caller.complete(upload)
    made = stand.finish()
    forget_unrecorded(cell for key, cell in cells.items() if key[0].startswith("url"))
    return Matrix(stand, cells, made)


@pytest.mark.parametrize(
    ("step", "fault", "once"),
    [pytest.param(*key, id=f"{key[0]}-{key[1]}{'-once' * key[2]}") for key in CELLS],
)
def test_dynamodb_fault(matrix: Matrix, step: str, fault: str, once: bool) -> None:  # noqa: FBT001 - a parameter
    """What can't be recorded is told as 503, and afterwards nothing is lost or made twice."""
    cell = matrix.cells[step, fault, once]
    assert cell.rule is not None
    assert cell.rule.reached.is_set(), "the fault struck nothing"
    assert cell.answer is not None
    wanted = STEPS[step].fine if once else (STEPS[step].told,)
    assert cell.answer.status_code in wanted, cell.answer.text
    if cell.answer.status_code == 503:
        assert cell.answer.json()["code"] == "store_unavailable"
    assert_own_settled(cell.caller, matrix.made)


def test_no_stray_asset(matrix: Matrix) -> None:
    """No cell has made an asset that no upload stands for."""
    names = {name for cell in matrix.cells.values() for name in cell.caller.landed_names}
    assert len(matrix.made) > len(STEPS)
    assert set(matrix.made) <= names


UNREACHABLE = ("reserve", "write", "lease", "record", "reopen", "release", "read", "url-record")


@pytest.mark.parametrize("name", UNREACHABLE)
def test_dynamodb_unreachable(stand: Stand, name: str) -> None:
    """A table that can't be reached from some step on is told as 503, and nothing is lost."""
    cell = new_cell(stand, "unreachable")
    STEPS[name].prepare(stand, cell)
    strike(stand, STEPS[name], cell, "unreachable", once=False)
    assert cell.answer is not None
    assert cell.answer.status_code == STEPS[name].told
    stand.heal()
    stand.clock.advance(SETTLED)
    for upload in cell.caller.uploads():
        cell.caller.complete(upload)
    assert_settled(stand, [cell.caller])
