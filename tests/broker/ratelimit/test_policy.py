"""The policy's decisions on simulated time, without clocks, network or table."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.crowd import Crowd, jain, most_in, most_in_a_minute, steady, used
from benchmarks.simulation import EPOCH
from chalicelib.ratelimit.policy import (
    BURST,
    BURST_HOLD,
    GRACE,
    HOLD,
    NO_TICKET,
    Budget,
    Grant,
    Later,
    Policy,
    Promise,
    Ticket,
)
from chalicelib.ratelimit.slots import (
    LONGEST_PAUSE,
    RECOVERY,
    Event,
    Slots,
    Slowdown,
    caller_number,
    slower,
    write_grant,
    write_promise,
)

MINUTE = 60_000
SPACING = 61_201
BUDGET = Budget(120, MINUTE, SPACING)
SMALL = Budget(30, MINUTE, SPACING)
HEAVY = 1


def used_up(permits: int, at: int = EPOCH, caller: int = 9) -> Slots:
    """Return slots that were all granted at one moment."""
    return Slots([at] * permits, [caller] * permits, {})


def slots_of(*granted: tuple[int, int]) -> Slots:
    """Return slots from times and callers."""
    return Slots([at for at, _ in granted], [caller for _, caller in granted], {})


@given(
    permits=st.integers(1, 12),
    visits=st.lists(
        st.tuples(st.integers(0, 240_000), st.integers(1, 5)), min_size=1, max_size=150
    ),
    lost=st.sampled_from([0.0, 0.3]),
    knows=st.booleans(),
    containers=st.sampled_from([0, 2, 5]),
    table_delay=st.sampled_from([0, 50, 400, 2000]),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_budget_holds_in_any_minute(
    permits: int,
    visits: list[tuple[int, int]],
    lost: float,
    knows: bool,  # noqa: FBT001
    containers: int,
    table_delay: int,
    seed: int,
) -> None:
    """Sync gets at most the budget in any 60 seconds, whenever callers come."""
    crowd = Crowd(
        Budget(permits, MINUTE, SPACING),
        lost=lost,
        knows_tickets=knows,
        containers=containers,
        table_delay=table_delay,
        seed=seed,
    )
    crowd.run(visits, 400)
    assert most_in_a_minute(one.at for one in crowd.permits) <= permits


@given(
    visits=st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 3)), max_size=300),
    knows=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_burst_holds_in_any_two_seconds(
    visits: list[tuple[int, int]],
    knows: bool,  # noqa: FBT001
    seed: int,
) -> None:
    """One caller gets at most a third of the budget in any two seconds."""
    crowd = Crowd(SMALL, knows_tickets=knows, seed=seed)
    crowd.run(visits, 200)
    for caller in range(1, 4):
        granted = [at for at, whose in crowd.granted if whose == caller]
        assert most_in(granted, BURST) <= SMALL.burst


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("containers", [1, 4, 300])
def test_one_caller_gets_everything(knows: bool, containers: int) -> None:  # noqa: FBT001
    """One caller with 122 parallel requests gets 200 permits within 66 seconds."""
    crowd = Crowd(BUDGET, knows_tickets=knows, containers=containers, more={HEAVY: 78})
    crowd.run([(0, HEAVY)] * 122, 120)
    assert len(crowd.permits) == 200
    assert max(one.at for one in crowd.permits) <= 66_000


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("containers", [1, 4, 300])
@pytest.mark.parametrize(("ahead", "light_by"), [(0, 3_000), (200, 4_000)])
def test_light_callers_find_room(
    knows: bool,  # noqa: FBT001
    containers: int,
    ahead: int,
    light_by: int,
) -> None:
    """Beside one caller with 122 of 200 requests, the others do not wait, even if it is earlier."""
    heavy = [(0.0, HEAVY)] * 122
    light = [(float(ahead), 2 + number % 39) for number in range(78)]
    arrivals = heavy + light if ahead else [*light, *heavy]
    crowd = Crowd(BUDGET, knows_tickets=knows, containers=containers)
    crowd.run(arrivals, 120)
    assert len(crowd.permits) == 200
    assert max(one.at for one in crowd.permits) <= 70_000
    assert max(one.at for one in crowd.permits if one.caller != HEAVY) <= light_by


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("containers", [1, 300])
def test_greedy_caller_uses_what_is_left(knows: bool, containers: int) -> None:  # noqa: FBT001
    """Beside 30 light callers, a thousand parallel requests leave no part of a minute unused."""
    light = [(97.0 * number % 300 * 1000, 2 + number % 30) for number in range(60)]
    crowd = Crowd(BUDGET, knows_tickets=knows, containers=containers, more={HEAVY: 10_000})
    crowd.run([*[(0.0, HEAVY)] * 1000, *light], 400)
    minutes = Counter(int(one.at // MINUTE) for one in crowd.permits)
    assert all(minutes[minute] >= 118 for minute in range(5))
    served = [one for one in crowd.permits if one.caller != HEAVY]
    assert len(served) == 60
    assert max(one.at - one.asked for one in served) <= SPACING + 2_000
    assert most_in_a_minute(one.at for one in crowd.permits) <= 120


def test_clocks_far_apart_keep_budget() -> None:
    """Containers whose machines are up to 15 s apart keep the budget, and use nearly all of it."""
    crowd = Crowd(SMALL, containers=60, skew=7_500)
    crowd.run(steady(0.8, 40, 480), 480)
    assert most_in_a_minute(one.at for one in crowd.permits) <= 30
    assert used(crowd, 120, 480) >= 0.95


@pytest.mark.parametrize(("lost", "least"), [(0.0, 0.98), (0.1, 0.94)])
@pytest.mark.parametrize("callers", [6, 30, 200])
def test_budget_is_used_under_load(lost: float, least: float, callers: int) -> None:
    """Above the budget nearly all of it is used, also if some callers never come back."""
    crowd = Crowd(SMALL, lost=lost)
    crowd.run(steady(0.8, callers, 480), 480)
    assert used(crowd, 120, 480) >= least
    assert most_in_a_minute(one.at for one in crowd.permits) <= 30


@pytest.mark.parametrize("callers", [5, 12, 50])
def test_equal_demand_gets_equal_shares(callers: int) -> None:
    """Callers with equal demand get equal shares."""
    arrivals = [
        (second * 1000 + 37 * (caller * second % 97), caller)
        for second in range(0, 420, 10)
        for caller in range(1, callers + 1)
    ]
    crowd = Crowd(BUDGET)
    crowd.run(arrivals, 420)
    got = Counter(one.caller for one in crowd.permits)
    assert jain(got[caller] for caller in range(1, callers + 1)) >= 0.99


def test_promise_is_kept() -> None:
    """A caller that comes back in time is admitted, after at most a second."""
    crowd = Crowd(SMALL)
    crowd.run([(second * 300, second % 40 + 1) for second in range(200)], 900)
    assert len(crowd.permits) == 200
    assert crowd.answers["promise"] > 100
    assert crowd.answers["broken"] == 0
    assert crowd.answers["promised"] > 100
    assert max(one.held for one in crowd.permits) <= HOLD


def test_first_free_slots_are_the_callers_own() -> None:
    """A caller takes one of its first free slots, as many as its burst has left."""
    free = Policy(BUDGET, Slots.unused(120), EPOCH)
    wanted = {decision.slot for decision in (free.decide(37) for _ in range(2000)) if decision}
    assert wanted == set(range(37, 77))
    granted = slots_of(*[(EPOCH - 1, 37)] * 39, *[(0, 0)] * 81)
    wanted = {Policy(BUDGET, granted, EPOCH).decide(37).slot for _ in range(20)}  # type: ignore[union-attr]
    assert wanted == {39}


def test_burst_is_over_after_two_seconds() -> None:
    """After a third of the budget a caller waits until two seconds are over; others do not."""
    granted = slots_of(*[(EPOCH, 1)] * 10, *[(0, 0)] * 20)
    assert Policy(SMALL, granted, EPOCH).decide(1) == Later(EPOCH + BURST, is_full=False)
    assert isinstance(Policy(SMALL, granted, EPOCH).decide(2), Grant)
    held = Policy(SMALL, granted, EPOCH + BURST - BURST_HOLD).decide(1)
    assert isinstance(held, Grant)
    assert held.at == EPOCH + BURST
    early = Policy(SMALL, granted, EPOCH + BURST - BURST_HOLD - 1).decide(1)
    assert early == Later(EPOCH + BURST, is_full=False)
    assert Policy(SMALL, granted, EPOCH).available(1) == 0
    assert Policy(SMALL, granted, EPOCH).available(2) == 10
    assert Policy(SMALL, granted, EPOCH).wait(1) == BURST
    assert Policy(SMALL, granted, EPOCH + BURST).available(1) == 10


def test_slot_is_promised_once() -> None:
    """The next use of a slot is promised to one caller, and the next caller gets another slot."""
    slots = used_up(3)
    slots.granted_at[2] = EPOCH + 1_001
    state = Policy(Budget(3, MINUTE, SPACING), slots, EPOCH + 2_000)
    first = state.decide(1, NO_TICKET)
    assert first == Promise(0, EPOCH + SPACING, position=1) or first == Promise(
        1, EPOCH + SPACING, position=1
    )
    slots.promises[0] = Event(EPOCH + SPACING, 1)
    slots.promises[1] = Event(EPOCH + SPACING, 2)
    later = Policy(Budget(3, MINUTE, SPACING), slots, EPOCH + 2_000)
    assert later.decide(3, NO_TICKET) == Promise(2, EPOCH + SPACING + 1_001, position=3)
    slots.promises[2] = Event(EPOCH + SPACING + 1_001, 3)
    full = Policy(Budget(3, MINUTE, SPACING), slots, EPOCH + 2_000)
    assert full.decide(4, NO_TICKET) == Later(EPOCH + 2 * SPACING, is_full=False)


def test_share_bounds_promises() -> None:
    """A caller is promised its share; beyond it, it comes again when a slot nobody holds opens."""
    slots = used_up(30, caller=9)
    slots.promises |= {slot: Event(EPOCH + SPACING, 1) for slot in range(15)}
    state = Policy(SMALL, slots, EPOCH + 1000)
    assert state.decide(1, NO_TICKET) == Later(EPOCH + SPACING + BURST, is_full=False)
    assert isinstance(state.decide(2, NO_TICKET), Promise)
    slots.promises |= {15: Event(EPOCH + SPACING, 2)}
    assert isinstance(Policy(SMALL, slots, EPOCH + 1000).decide(2, NO_TICKET), Promise)
    slots.promises |= {slot: Event(EPOCH + SPACING, 2) for slot in range(16, 25)}
    assert isinstance(Policy(SMALL, slots, EPOCH + 1000).decide(2, NO_TICKET), Later)


@pytest.mark.parametrize(("others", "share"), [(0, 15), (1, 10), (2, 7)])
def test_share_is_exact(others: int, share: int) -> None:
    """The share is the budget, divided by the callers with promises and one more."""
    slots = slots_of(*[(EPOCH + 3_000 * number, 9) for number in range(30)])
    for number in range(others):
        slots.promises[29 - number] = Event(slots.granted_at[29 - number] + SPACING, 2 + number)
    for number in range(share):
        assert isinstance(Policy(SMALL, slots, EPOCH + 59_000).decide(1, NO_TICKET), Promise)
        slots.promises[number] = Event(slots.granted_at[number] + SPACING, 1)
    assert isinstance(Policy(SMALL, slots, EPOCH + 59_000).decide(1, NO_TICKET), Later)


def test_promise_does_not_hold_free_slot() -> None:
    """A slot that is free is not promised for later, since somebody may come before."""
    granted = slots_of(*[(EPOCH, 1)] * 10, *[(0, 0)] * 20)
    assert isinstance(Policy(SMALL, granted, EPOCH).decide(1), Later)


def test_unused_promise_is_void() -> None:
    """A promise that its caller does not use is void two seconds later."""
    slots = used_up(1)
    opens_at = EPOCH + SPACING
    slots.promises[0] = Event(opens_at, 1)
    one = Budget(1, MINUTE, SPACING)
    assert isinstance(Policy(one, slots, opens_at + GRACE).decide(2, NO_TICKET), Later)
    late = Policy(one, slots, opens_at + GRACE + 1)
    assert late.decide(2, NO_TICKET) == Grant(0, opens_at + GRACE + 1, Event(opens_at, 1))
    ticket = Ticket(opens_at, 0)
    assert Policy(one, slots, opens_at + GRACE).decide(1, ticket) is not None
    assert isinstance(Policy(one, slots, opens_at + GRACE).decide(1, ticket), Grant)


def test_promise_is_replaced_when_void() -> None:
    """A void promise is replaced by the next one, which names it."""
    slots = used_up(1, at=EPOCH + 70_000)
    void = Event(EPOCH, 1)
    slots.promises[0] = void
    state = Policy(Budget(1, MINUTE, SPACING), slots, EPOCH + 71_000)
    assert state.decide(2) == Promise(0, EPOCH + 70_000 + SPACING, 1, instead=void)


@pytest.mark.parametrize("ticket", [None, Ticket(EPOCH + SPACING, 0)])
def test_due_promise_is_used(ticket: Ticket | None) -> None:
    """A due promise is used by its ticket, and by its caller's next request without tickets."""
    slots = used_up(2)
    promise = Event(EPOCH + SPACING, 1)
    slots.promises[0] = promise
    two = Budget(2, MINUTE, SPACING)
    at = EPOCH + SPACING - HOLD
    assert Policy(two, slots, at).decide(1, ticket) == Grant(0, EPOCH + SPACING, promise)
    assert not isinstance(Policy(two, slots, at - 1).decide(1, ticket), Grant)
    assert Policy(two, slots, at).decide(2, ticket) == Grant(1, EPOCH + SPACING)


def test_early_client_is_not_behind_itself() -> None:
    """A client that comes a little before its moment is not delayed by that moment."""
    now = EPOCH + SPACING
    slots = slots_of((EPOCH + 2_000, 9), (EPOCH + 9_000, 9))
    slots.promises = {1: Event(now + 9_000, 2)}
    for moment, at in ((HOLD, 2_000), (HOLD + 1, HOLD + 1 + BURST)):
        reported = [Event(now + moment, 1)]
        state = Policy(Budget(2, MINUTE, 1_000), slots, now, reported=reported)
        assert state.decide(1) == Later(now + at, is_full=at > 2_000)


@pytest.mark.parametrize("due_in", [0, HOLD, HOLD + 1, 3_000])
def test_due_promise_does_not_hide_free_slot(due_in: int) -> None:
    """A caller without tickets gets what is free, however soon one of its promises is due."""
    slots = slots_of(*[(0, 0)] * 5, (EPOCH, 9))
    slots.promises = {5: Event(EPOCH + SPACING, 1)}
    state = Policy(Budget(6, MINUTE, SPACING), slots, EPOCH + SPACING - due_in)
    grant = state.decide(1)
    assert isinstance(grant, Grant)
    assert (grant.slot == 5) == (due_in <= HOLD)


def test_request_is_held_for_slots_in_time() -> None:
    """Of the slots that will be free in a moment, none is chosen that would hold for too long."""
    slots = slots_of((EPOCH, 9), (EPOCH + 100, 9), (EPOCH + 101, 9))
    state = Policy(Budget(3, MINUTE, SPACING), slots, EPOCH + SPACING + 100 - HOLD)
    assert {state.decide(caller).slot for caller in range(90)} == {0, 1}  # type: ignore[union-attr]


def test_few_free_slots_are_chosen_evenly() -> None:
    """If fewer are free than a burst has, each is as likely, whichever is the caller's first."""
    slots = slots_of(*[(EPOCH, 9)] * 5, *[(0, 0)] * 3, *[(EPOCH, 9)] * 22)
    state = Policy(SMALL, slots, EPOCH + 10_000, chance=random.Random(1))  # noqa: S311 - reproducible
    chosen = Counter(state.decide(6).slot for _ in range(3000))  # type: ignore[union-attr]
    assert chosen.keys() == {5, 6, 7}
    assert min(chosen.values()) > 900


def test_near_slots_are_chosen() -> None:
    """Containers choose among the next free slots, but no promise is much later than the first."""
    slots = slots_of(*[(EPOCH + 500 * number, 9) for number in range(120)])
    state = Policy(BUDGET, slots, EPOCH + 60_000 - HOLD)
    chosen = {state.decide(1, NO_TICKET).at for _ in range(200)}
    assert chosen == {EPOCH + SPACING + 500 * number for number in range(3)}


def test_ticket_names_one_promise() -> None:
    """A ticket uses its own promise and no other one of its caller; without one, none is used."""
    slots = used_up(2)
    slots.promises |= {0: Event(EPOCH + SPACING, 1), 1: Event(EPOCH + SPACING, 1)}
    state = Policy(Budget(2, MINUTE, SPACING), slots, EPOCH + SPACING)
    for slot in (0, 1):
        grant = state.decide(1, Ticket(EPOCH + SPACING, slot))
        assert isinstance(grant, Grant)
        assert grant.slot == slot
    assert isinstance(state.decide(1, Ticket(EPOCH + SPACING + 1, 0)), Later)
    assert isinstance(state.decide(1, NO_TICKET), Later)


def test_parallel_requests_choose_among_due_promises() -> None:
    """Requests without tickets do not all want the same one of their caller's due promises."""
    slots = used_up(30)
    slots.promises = {slot: Event(EPOCH + SPACING, 1) for slot in range(5)}
    slots.promises[5] = Event(EPOCH + SPACING + 1000, 1)
    state = Policy(SMALL, slots, EPOCH + SPACING - HOLD)
    chosen = {state.decide(1).slot for _ in range(100)}  # type: ignore[union-attr]
    assert chosen == {0, 1, 2, 3, 4}


def test_parallel_callers_choose_among_next_free_slots() -> None:
    """Callers who wait for the next free slot do not all want the same one."""
    slots = slots_of(*[(EPOCH + 60 * number, 9) for number in range(30)])
    state = Policy(SMALL, slots, EPOCH + SPACING - 100)
    grants = [state.decide(1) for _ in range(100)]
    assert {one.slot for one in grants} == {0, 1, 2, 3, 4}  # type: ignore[union-attr]
    assert all(one.at == EPOCH + SPACING + 60 * one.slot for one in grants)  # type: ignore[union-attr]


def test_redeemed_promise_waits_for_burst() -> None:
    """A promise that is due while its caller's burst lasts is used when the burst is over."""
    at = EPOCH + SPACING
    slots = slots_of((EPOCH, 9), (at - BURST + 400, 1), (0, 0))
    slots.promises[0] = Event(at, 1)
    state = Policy(Budget(3, MINUTE, SPACING), slots, at)
    assert state.decide(1) == Grant(0, at + 400, Event(at, 1))


def test_callers_without_promise_come_one_after_the_other() -> None:
    """A caller without a promise gets the next moment that this container has not given away."""
    slots = slots_of((EPOCH, 9), (EPOCH + 10_000, 9), (EPOCH + 20_000, 9))
    slots.promises = {0: Event(EPOCH + SPACING, 1)}
    reported: list[Event] = []
    budget = Budget(3, MINUTE, SPACING)
    moments = []
    for _ in range(6):
        later = Policy(budget, slots, EPOCH + 30_000, reported=reported).decide(1)
        assert isinstance(later, Later)
        reported.append(Event(later.at, 1))
        moments.append(later)
    first = EPOCH + SPACING + 10_000
    assert [one.at for one in moments] == [
        first,
        first + 10_000,
        EPOCH + 2 * SPACING,
        first + SPACING,
        first + SPACING + 10_000,
        EPOCH + 30_000 + 2 * SPACING,
    ]
    assert [one.is_full for one in moments] == [False] * 5 + [True]


def test_full_queue_refuses() -> None:
    """Beyond the promises and the moments of the windows to come, the queue is full."""
    crowd = Crowd(BUDGET, containers=1)
    crowd.run([(0, caller) for caller in range(1, 2000)], 1)
    assert crowd.answers["free"] == 120
    assert crowd.answers["promise"] == 120
    assert crowd.answers["full"] > 1000


def test_long_window_tells_true_time() -> None:
    """With ten permits an hour and a short longest wait, a full queue tells when a slot is free."""
    hour = 3_600_000
    voices = Budget(10, hour, 60_000)
    slots = slots_of(*[(EPOCH + number * MINUTE, 9) for number in range(10)])
    state = Policy(voices, slots, EPOCH + 20 * MINUTE)
    assert state.decide(1) == Later(EPOCH + voices.spacing, is_full=True)
    soon = Policy(voices, slots, EPOCH + voices.spacing - 60_000)
    assert soon.decide(1) == Promise(0, EPOCH + voices.spacing, position=1)
    early = Policy(voices, slots, EPOCH + voices.spacing - 60_001)
    assert early.decide(1) == Later(EPOCH + voices.spacing, is_full=False)


def test_slot_is_held_for_a_moment() -> None:
    """A request waits for a slot that nobody holds, if it opens within a second."""
    slots = slots_of((EPOCH, 9), (EPOCH + 500, 9))
    two = Budget(2, MINUTE, SPACING)
    assert Policy(two, slots, EPOCH + SPACING - HOLD).decide(1) == Grant(0, EPOCH + SPACING)
    assert isinstance(Policy(two, slots, EPOCH + SPACING - HOLD - 1).decide(1), Promise)


def test_429_halves_budget() -> None:
    """After a 429 nothing is granted for a while, then half of the budget, and soon all of it."""
    slowdown = slower(None, EPOCH, 20_000, 120)
    assert slowdown == Slowdown(EPOCH + 20_000, 60)
    unused = Slots.unused(120)
    free = [
        sum(at <= EPOCH + after for at in Policy(BUDGET, unused, EPOCH + after, slowdown)._opens_at)  # noqa: SLF001
        for after in (0, 19_999, 20_000, 50_000, 80_000)
    ]
    assert free == [0, 0, 60, 90, 120]
    over = EPOCH + 20_000 + RECOVERY
    assert slowdown.is_over(over + 1)
    assert not slowdown.is_over(over)
    again = slower(slowdown, EPOCH + 30_000, 5_000, 120)
    assert again == Slowdown(EPOCH + 35_000, 30)
    assert slower(again, EPOCH + 36_000, 1_000, 120).floor == 15
    same = slower(slowdown, EPOCH + 10, 30_000, 120)
    assert same == Slowdown(EPOCH + 30_010, 60)
    assert slower(slowdown, EPOCH + 20_000, 1_000, 120).floor == 60
    assert slower(slowdown, over + 1, 1_000, 120).floor == 60
    assert slower(None, EPOCH, 10**9, 120).until == EPOCH + LONGEST_PAUSE
    assert slower(None, EPOCH, 1, 1).floor == 1
    assert slower(Slowdown(EPOCH, 1), EPOCH + 1, 1, 120).floor == 15


def test_slots_come_back_one_by_one() -> None:
    """While the budget recovers, the slots beyond the floor open at equal distances."""
    slowdown = Slowdown(EPOCH + 1000, 2)
    opens = [slowdown.opens_at(slot, 5) - EPOCH for slot in range(5)]
    assert opens == [1000, 1000, 21_000, 41_000, 61_000]
    assert {later - earlier for earlier, later in pairwise(opens[1:])} == {RECOVERY // 3}


def test_wrong_clock_does_not_block() -> None:
    """Records of a clock that was far ahead do not block the limiter."""
    ahead = EPOCH + 10**9
    slots = Slots([ahead] * 30, [9] * 30, {slot: Event(ahead, 9) for slot in range(30)})
    decision = Policy(SMALL, slots, EPOCH).decide(1)
    assert isinstance(decision, Grant)
    assert decision.promise == Event(ahead, 9)


@given(
    grant=st.tuples(st.integers(1, 2**48 - 1), st.integers(0, 2**32 - 1)),
    promise=st.tuples(st.integers(1, 2**48 - 1), st.integers(0, 2**32 - 1)),
    nonce=st.integers(0, 2**32 - 1),
)
def test_slots_are_read_as_written(
    grant: tuple[int, int], promise: tuple[int, int], nonce: int
) -> None:
    """Slots are read as they were written."""
    item = {
        "s1": {"B": write_grant(Event(*grant), nonce)},
        "p2": {"B": write_promise(Event(*promise))},
        "p9": {"B": write_promise(Event(*promise))},
        "slow": {"M": {}},
    }
    read = Slots.unused(3).read(item, {})
    assert read == Slots([0, grant[0], 0], [0, grant[1], 0], {2: Event(*promise)})
    assert read.read(item, item) == read
    added = item | {"s0": item["s1"], "p1": item["p2"]}
    assert read.read(added, item) == Slots.unused(3).read(added, {})
    used = {name: stored for name, stored in added.items() if name != "p2"}
    assert read.read(used, added) == Slots.unused(3).read(used, {})
    assert 2 not in read.read(used, added).promises
    assert len(write_grant(Event(*grant), nonce)) == 14
    assert len(write_promise(Event(*promise))) == 10
    assert write_grant(Event(*grant), nonce) != write_grant(Event(*grant), nonce ^ 1)


def test_caller_number_is_first_part_of_id() -> None:
    """A slot has room for the first 32 bits of a caller's id."""
    assert caller_number("0123abcd" + "f" * 24) == 0x0123ABCD
