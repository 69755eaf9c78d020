"""The limiter's decisions on simulated time, without clocks, network or table."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.crowd import EPOCH, Crowd, jain, most_in_a_minute, steady, used
from chalicelib.ratelimit import policy
from chalicelib.ratelimit.policy import NO_TURN, Budget, Full, Line, Place, Turn
from chalicelib.ratelimit.slots import Event, Slot, Slowdown

BUDGET = Budget(places=120, max_wait=300_000)
SMALL = Budget(places=30, max_wait=300_000)


def taken(number: int, at: int = EPOCH, caller: int = 9) -> dict[int, Slot]:
    """Grant the first slots."""
    return {slot: Slot(Event(at, caller)) for slot in range(number)}


@given(
    places=st.integers(1, 12),
    visits=st.lists(
        st.tuples(st.integers(0, 240_000), st.integers(1, 5)), min_size=1, max_size=150
    ),
    lost=st.sampled_from([0.0, 0.3]),
    knows=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_budget_holds_in_any_minute(
    places: int,
    visits: list[tuple[int, int]],
    lost: float,
    knows: bool,  # noqa: FBT001
    seed: int,
) -> None:
    """Sync gets at most the budget in any 60 seconds, whenever callers come."""
    budget = Budget(places, max_wait=120_000)
    crowd = Crowd(budget, lost=lost, knows_tickets=knows, seed=seed)
    crowd.run(visits, 400)
    assert most_in_a_minute(one.at for one in crowd.grants) <= places


def test_idle_budget_is_granted_at_once() -> None:
    """From idle the whole budget is granted at once, and a third of it to one caller."""
    crowd = Crowd(BUDGET)
    crowd.run([(0, caller) for caller in (1, 2, 3) for _ in range(40)], 1)
    assert len(crowd.grants) == 120
    assert crowd.answers["place"] == 120


def test_one_caller_gets_a_third() -> None:
    """One caller gets a third within ten seconds, and may use the rest afterwards."""
    crowd = Crowd(BUDGET, skew=0)
    crowd.run([(0, 1)] * 500, 45)
    counts = [sum(a * 10_000 <= one.at < (a + 1) * 10_000 for one in crowd.grants) for a in (0, 1)]
    assert counts[0] == 40
    assert 20 <= counts[1] <= 40
    assert len(crowd.grants) == 120


@pytest.mark.parametrize(("callers", "files"), [(1, 80), (1, 120), (2, 60)])
def test_many_files_use_idle_budget(callers: int, files: int) -> None:
    """One or two callers with many files get the whole idle budget at once."""
    crowd = Crowd(BUDGET)
    crowd.run([(number, 1 + number % callers) for number in range(callers * files)], 30)
    assert len(crowd.grants) == callers * files


@pytest.mark.parametrize("greedy_at", [0, 5_000])
def test_greedy_caller_does_not_block_others(greedy_at: int) -> None:
    """Thirty callers with two files each are served beside one with a thousand."""
    modest = [(50 + (caller * 331) % 9_900, caller) for caller in range(2, 32) for _ in range(2)]
    crowd = Crowd(BUDGET)
    crowd.run([*[(greedy_at, 1)] * 1000, *modest], 70)
    served = [one for one in crowd.grants if one.caller != 1]
    assert len(served) == 60
    assert max(one.at for one in served) <= 65_000
    assert most_in_a_minute(one.at for one in crowd.grants) <= 120


@pytest.mark.parametrize(("lost", "least"), [(0.0, 0.98), (0.1, 0.94)])
@pytest.mark.parametrize("callers", [6, 30, 200])
def test_budget_is_used_under_load(lost: float, least: float, callers: int) -> None:
    """Above the budget nearly all of it is used, also if some callers never come back."""
    crowd = Crowd(SMALL, lost=lost)
    crowd.run(steady(0.6, callers, 480), 480)
    assert used(crowd, 120, 480) >= least
    assert most_in_a_minute(one.at for one in crowd.grants) <= 30


@pytest.mark.parametrize("callers", [5, 12])
def test_equal_demand_gets_equal_shares(callers: int) -> None:
    """Callers with equal demand get equal shares."""
    arrivals = [
        (second * 1000 + caller, caller)
        for second in range(0, 420, 10)
        for caller in range(1, callers + 1)
    ]
    crowd = Crowd(SMALL)
    crowd.run(arrivals, 420)
    got = Counter(one.caller for one in crowd.grants)
    assert jain(got[caller] for caller in range(1, callers + 1)) >= 0.95


@pytest.mark.parametrize("knows", [True, False])
def test_turn_is_kept(knows: bool) -> None:  # noqa: FBT001
    """A caller that comes back in time is admitted, after at most some seconds."""
    crowd = Crowd(SMALL, knows_tickets=knows)
    crowd.run([(second * 300, second % 40 + 1) for second in range(200)], 900)
    assert crowd.answers["promised"] > 100
    assert crowd.answers["moved"] == 0
    assert max(one.held for one in crowd.grants) <= policy.HOLD


def test_unused_turn_is_freed() -> None:
    """A turn that its caller does not use is free for others a few seconds later."""
    slots = taken(30)
    turn = Line(SMALL, slots, EPOCH + 1000).decide(1, NO_TURN)
    assert isinstance(turn, Turn)
    slots |= Line(SMALL, slots, EPOCH + 1000).with_turn(turn, 1)
    others = {slot: Slot(Event(turn.at, 9)) for slot in range(30) if slot != turn.slot}
    slots |= others
    early = Line(SMALL, slots, turn.at + policy.GRACE).decide(2, NO_TURN)
    assert isinstance(early, Turn)
    late = Line(SMALL, slots, turn.at + policy.GRACE + 1).decide(2, NO_TURN)
    assert late == Place(turn.slot, turn.at + policy.GRACE + 1)


def test_turn_admits_once() -> None:
    """A turn admits one request; the next request with it waits again."""
    slots = taken(30)
    first = Line(SMALL, slots, EPOCH + 1000)
    turn = first.decide(1, NO_TURN)
    assert isinstance(turn, Turn)
    slots |= first.with_turn(turn, 1)
    others = {slot: Slot(Event(turn.at, 9)) for slot in range(30) if slot != turn.slot}
    line = Line(SMALL, slots | others, turn.at)
    assert isinstance(line.decide(2, turn.at), Turn), "another caller's ticket"
    place = line.decide(1, turn.at)
    assert isinstance(place, Place)
    after = Line(SMALL, {**line.slots, **line.with_grant(place, 1, turn.at)}, turn.at + 1)
    again = after.decide(1, turn.at)
    assert isinstance(again, Turn)
    assert again.at >= turn.at + policy.WINDOW


def test_long_wait_is_refused() -> None:
    """A wait beyond the limit is refused with the time when there will be room."""
    crowd = Crowd(Budget(places=2, max_wait=100_000), skew=0, lost=1.0)
    crowd.run([(caller, caller) for caller in range(1, 30)], 1)
    assert crowd.answers["place"] == 2
    assert crowd.answers["promised"] == 2
    line = Line(crowd.budget, crowd.slots, EPOCH + 1000)
    refused = line.decide(99, NO_TURN)
    assert isinstance(refused, Full)
    assert line.is_full
    later = Line(crowd.budget, crowd.slots, refused.opens_at).decide(99, NO_TURN)
    assert isinstance(later, Place)


def test_429_halves_budget() -> None:
    """After a 429 nothing is granted for a while, then half of the budget, and soon all of it."""
    line = Line(BUDGET, {}, EPOCH)
    slowdown = line.slower(20_000)
    assert slowdown == Slowdown(EPOCH, EPOCH + 20_000, 60)
    free = [
        Line(BUDGET, {}, EPOCH + after, slowdown).free_slots
        for after in (0, 19_999, 20_000, 50_000, 80_000)
    ]
    assert free == [0, 0, 60, 90, 120]
    again = Line(BUDGET, {}, EPOCH + 30_000, slowdown).slower(5_000)
    assert again == Slowdown(EPOCH + 30_000, EPOCH + 35_000, 30)
    same = Line(BUDGET, {}, EPOCH + 10, slowdown).slower(30_000)
    assert same == Slowdown(EPOCH, EPOCH + 30_010, 60)
    endless = Line(BUDGET, {}, EPOCH).slower(10**9)
    assert endless.until == EPOCH + policy.LONGEST_PAUSE


def test_wrong_clock_does_not_block() -> None:
    """Records of a clock that was far ahead do not block the limiter."""
    ahead = EPOCH + 10**9
    slots = {slot: Slot(Event(ahead, 9), (Event(ahead, 9),)) for slot in range(30)}
    assert isinstance(Line(SMALL, slots, EPOCH).decide(1, NO_TURN), Place)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**48 - 1), st.integers(0, 2**32 - 1)), min_size=1, max_size=6
    )
)
def test_slot_is_decoded_as_encoded(events: list[tuple[int, int]]) -> None:
    """A slot is decoded as it was encoded."""
    slot = Slot(Event(*events[0]), tuple(Event(*one) for one in events[1:]), events[0][1])
    assert Slot.decode(slot.encode()) == slot
    assert len(slot.encode()) == 4 + 10 * len(events)
    assert Slot.decode(None) == Slot()
