"""The line for presigns: who gets a place, who gets a turn, and who has to go. Pure.

Sync allows a number of presigns in any minute, the budget, for all callers together. The line has
as many slots as the budget, and a slot is granted again only a window after its last grant: so no
window, however it is laid, holds more grants than there are slots. That alone keeps the budget;
everything else here decides who gets which slot.

Whoever comes when a slot is free, and promised to nobody, gets a place at once. Whoever comes
later is promised a turn: a moment at which a certain slot will be free. A promise keeps its slot
for `GRACE` after its moment; then whoever is ready takes it. Because the slots of later turns are
granted a little late when earlier ones were, a caller whose turn has come may have to be held
for some seconds, never longer than `HOLD`.

It is fair in three ways. In any `BURST` one caller gets a third of the budget at most. Turns are
promised up to the caller's share of a window: the budget, divided by the callers who wait and one
more, who may come yet. And a wait beyond the limit is refused, and costs nobody a place.

Times are milliseconds since 1970. The containers' clocks, together with the way to Sync, may
differ by `MARGIN`, and a presign may leave up to `LAG` after the moment of its grant.
"""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from chalicelib.core.clock import MINUTE
from chalicelib.ratelimit.slots import NONCE_BITS, RECOVERY, UNUSED, Event, Slot, Slowdown

MARGIN = 1_000
LAG = 200  # what writing a grant takes, at most
WINDOW = MINUTE + MARGIN + LAG + 1  # between two grants; clocks are read in whole milliseconds
BURST = 10_000
BURST_PARTS = 3  # one caller gets one such part of the budget in a burst
LEAD = 700  # how long before its moment a caller is asked to be there, and held until it comes
EARLY = LEAD + 1_500  # how long before its moment a turn may be taken, since clocks differ
GRACE = 4_000  # how long after its moment a turn is kept
LATE = 400  # how late a turn is taken as a rule: `Retry-After` counts whole seconds
SHIFT = 6_000  # how much later than promised a slot may be free, because of those before
HOLD = 7_000  # how long a caller whose turn has come may be held
NEXT = 3_000  # how much later than it could be a turn may be, so that no slot is idle before it
SOON = 20_000  # a line that opens within this time is short
NO_TURN = 0
STRANGERS = 8  # callers who are expected to come, when turns beyond the next window are promised
LONGEST_PAUSE = 3_600_000
_STRANGER = -1  # the number of no caller


@dataclass(frozen=True)
class Budget:
    """What the operator set.

    Attributes:
        places: Presigns in a minute.
        max_wait: Longest wait that is promised, in milliseconds.
    """

    places: int
    max_wait: int

    @property
    def burst(self) -> int:
        """How many of one caller's presigns are let through in a burst."""
        return max(1, self.places // BURST_PARTS)


@dataclass(frozen=True)
class Place:
    """A slot that may be granted.

    Attributes:
        slot: Which.
        at: When: now, or a few seconds later.
        turn: The turn that is taken by it, with its slot; or None.
    """

    slot: int
    at: int
    turn: tuple[int, Event] | None = None


@dataclass(frozen=True)
class Turn:
    """A promise.

    Attributes:
        slot: The slot that will be free.
        at: When.
        position: How many are before it, and one.
        instead: The turn that it takes the place of, with its slot; or None.
    """

    slot: int
    at: int
    position: int
    instead: tuple[int, Event] | None = None

    @property
    def comes_at(self) -> int:
        """Return when the caller should be there."""
        return self.at - LEAD


@dataclass(frozen=True)
class Full:
    """Nothing can be promised.

    Attributes:
        opens_at: When there will be a place, if nobody else comes.
        by_share: Whether the line is short, and the caller has only had its share of turns: it
            may take what is free when it comes again.
    """

    opens_at: int
    by_share: bool = False


@dataclass(frozen=True)
class Line:
    """The line at one moment, as one container sees it.

    Attributes:
        budget: What the operator set.
        slots: By their numbers; those that are missing were never used.
        now: The moment.
        slowdown: Whether Sync said 429 lately.
    """

    budget: Budget
    slots: Mapping[int, Slot]
    now: int
    slowdown: Slowdown | None = None
    _choose: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def decide(self, caller: int, turn: int | None = None, spread: int = 4) -> Place | Turn | Full:
        """Decide about one presign.

        Args:
            caller: Who asks: `caller_number`.
            turn: The moment of the turn that the caller's ticket proves; `NO_TURN` if there is no
                ticket yet; None for a client that knows nothing of tickets, for which a turn of
                the caller that has come counts all the same.
            spread: Among how many of the next openings to choose. Containers that decide in the
                same moment get into each other's way less often when it is larger.
        """
        own = self._own_turn(caller, turn)
        found = self._redeem(own) if own else self._place(caller)
        return found or self._promise(caller, own, spread)

    @cached_property
    def waiting(self) -> tuple[Event, ...]:
        """Every turn that is promised and neither taken nor lost, the next one first."""
        return tuple(sorted(turn for number in self._numbers for turn in self._turns[number]))

    def free_places(self, caller: int) -> int:
        """Count the places that a caller could take at once."""
        return min(self.free_slots, max(0, self.budget.burst - self._near(caller, self.now, BURST)))

    @property
    def free_slots(self) -> int:
        """Count the slots that are free, and promised to nobody."""
        return sum(self._is_open(number) for number in self._numbers)

    @property
    def is_full(self) -> bool:
        """Whether not even a caller who has nothing yet could be promised a turn."""
        return isinstance(self.decide(_STRANGER, NO_TURN, 1), Full)

    def wait(self, caller: int) -> int:
        """Return for how many milliseconds a presign would have to wait now."""
        found = self._place(caller) or self._promise(caller, None, 1)
        return max(0, (found.opens_at if isinstance(found, Full) else found.at) - self.now)

    @cached_property
    def _numbers(self) -> range:
        return range(self.budget.places)

    @cached_property
    def _turns(self) -> tuple[tuple[Event, ...], ...]:
        """Every slot's promises. One from a clock that is far ahead is none."""
        first, last = self.now - GRACE, self.now + self.budget.max_wait + WINDOW
        return tuple(
            tuple(turn for turn in self._slot(number).turns if first <= turn.at <= last)
            for number in self._numbers
        )

    @cached_property
    def _free_at(self) -> tuple[int, ...]:
        """When each slot may be granted again. A grant from a clock that is far ahead is none."""
        last = self.now + WINDOW
        granted = [self._slot(number).granted.at for number in self._numbers]
        free = [at + WINDOW if at <= last else 0 for at in granted]
        if self.slowdown is None or self.now > self.slowdown.until + RECOVERY:
            return tuple(free)
        bars = [self.slowdown.bar(number, self.budget.places) for number in self._numbers]
        return tuple(map(max, free, bars))

    def _slot(self, number: int) -> Slot:
        return self.slots.get(number, UNUSED)

    def _is_open(self, number: int) -> bool:
        """Whether a slot is free, and promised to nobody who would find it taken."""
        if self._free_at[number] > self.now:
            return False
        turns = self._turns[number]
        return not turns or turns[0].at >= self.now + WINDOW - SHIFT

    @cached_property
    def _times(self) -> dict[int, list[int]]:
        """Every caller's grants and turns."""
        times: dict[int, list[int]] = {}
        for number in self._numbers:
            grant = self._slot(number).granted
            granted = (grant,) if abs(self.now - grant.at) < WINDOW else ()
            for event in (*granted, *self._turns[number]):
                times.setdefault(event.caller, []).append(event.at)
        return {caller: sorted(found) for caller, found in times.items()}

    def _near(self, caller: int, at: int, span: int) -> int:
        """Count a caller's grants and turns around a moment."""
        times: Sequence[int] = self._times.get(caller, ())
        return bisect_left(times, at + span) - bisect_right(times, at - span)

    def _own_turn(self, caller: int, turn: int | None) -> tuple[int, Event] | None:
        """Find the turn of a caller that has come, by its ticket or as the next of all."""
        found = [
            (event, number)
            for number in self._numbers
            for event in self._turns[number]
            if event.caller == caller and event.at <= self.now + EARLY
        ]
        if turn is not None:
            found = [one for one in found if one[0].at == turn]
        return min(((n, e) for e, n in found), key=lambda one: one[1], default=None)

    def _place(self, caller: int) -> Place | None:
        if self._near(caller, self.now, BURST) >= self.budget.burst:
            return None
        return self._open_place(None)

    def _open_place(self, turn: tuple[int, Event] | None) -> Place | None:
        """Choose any slot that is free, best one that nobody waits for."""
        numbers = [number for number in self._numbers if self._is_open(number)]
        best = [number for number in numbers if not self._turns[number]] or numbers
        return Place(self._choose.choice(best), self.now, turn) if best else None

    def _redeem(self, own: tuple[int, Event]) -> Place | None:
        """Let a turn that has come through: by its own slot, by another, or in a moment."""
        number = own[0]
        free_at = self._free_at[number]
        if free_at <= self.now:
            return Place(number, self.now, own)
        if place := self._open_place(own):
            return place
        return Place(number, free_at, own) if free_at <= self.now + HOLD else None

    def _promise(self, caller: int, instead: tuple[int, Event] | None, spread: int) -> Turn | Full:
        """Promise the earliest opening that the caller's share allows."""
        tails = sorted((self._tail(number), number) for number in self._numbers)
        choice = self._choose.randrange(max(1, min(spread, len(tails) // 8)))
        for first in (choice, 0):
            at = max(self.now + 1000, tails[first][0])
            at = at if instead else self._earliest(caller, at, by_share=True)
            if at - self.now <= self.budget.max_wait:
                break
        else:
            return Full(self._earliest(caller, max(self.now + 1000, tails[0][0]), by_share=False))
        if at > self.now + SOON >= tails[0][0] and not instead:
            # Who has had its share would wait for a turn while there is room all the same.
            opens_at = self._earliest(caller, max(self.now + 1000, tails[0][0]), by_share=False)
            return Full(opens_at, by_share=True)
        # An opening soon after that moment leaves no slot idle in between. Without one it is the
        # slot that is free last, which leaves the others for those who are ready earlier.
        after = bisect_left(tails, (at, 0))
        latest = min(at + NEXT, self.now + self.budget.max_wait)
        if after < len(tails) and tails[after][0] <= latest:
            at = tails[after][0]
        last = bisect_right(tails, at, key=lambda one: one[0]) - 1
        fitting = [number for tail, number in tails[: last + 1] if tail == tails[last][0]]
        before = bisect_left(self.waiting, Event(at, 0))
        return Turn(self._choose.choice(fitting), at, before + 1, instead)

    def _tail(self, number: int) -> int:
        """Return when a slot will be free behind all that is promised of it."""
        free_at = self._free_at[number]
        for turn in self._turns[number]:
            free_at = max(free_at, turn.at) + WINDOW + LATE
        return free_at

    def _earliest(self, caller: int, base: int, *, by_share: bool) -> int:
        """Find the first moment at which one more would not be too much for one caller."""
        times = self._times.get(caller, ())
        moments = [one + span for one in times for span in (BURST, WINDOW)]
        for at in sorted({base, *(one for one in moments if one > base)}):
            is_burst = self._near(caller, at, BURST) >= self.budget.burst
            is_over = by_share and self._near(caller, at, WINDOW) >= self._share(caller, at)
            if not is_burst and not is_over:
                return at
        raise AssertionError("behind all of the caller's events there is room")

    @cached_property
    def _callers(self) -> frozenset[int]:
        return frozenset(turn.caller for turn in self.waiting)

    def _share(self, caller: int, at: int) -> int:
        """Return how many presigns of one caller may be promised in a window."""
        callers = len(self._callers | {caller})
        if at > self.now + WINDOW:
            callers = max(callers, STRANGERS)
        return max(1, self.budget.places // (callers + 1))

    def with_grant(self, place: Place, caller: int, at: int) -> dict[int, Slot]:
        """Return the slots that change when a place is taken."""
        granted = self._without(place.turn)
        turns = granted.get(place.slot, self._kept(place.slot)).turns
        nonce = self._choose.randrange(1, 1 << NONCE_BITS)
        return granted | {place.slot: Slot(Event(at, caller), turns, nonce)}

    def with_turn(self, turn: Turn, caller: int) -> dict[int, Slot]:
        """Return the slots that change when a turn is promised."""
        changed = self._without(turn.instead)
        slot = changed.get(turn.slot, self._kept(turn.slot))
        turns = tuple(sorted((*slot.turns, Event(turn.at, caller))))
        return changed | {turn.slot: replace(slot, turns=turns)}

    def _kept(self, number: int) -> Slot:
        """Return a slot without the turns that are lost."""
        return replace(self._slot(number), turns=self._turns[number])

    def _without(self, turn: tuple[int, Event] | None) -> dict[int, Slot]:
        if turn is None:
            return {}
        slot = self._kept(turn[0])
        turns = tuple(one for one in slot.turns if one != turn[1])
        return {turn[0]: replace(slot, turns=turns)}

    def slower(self, pause: int) -> Slowdown:
        """Slow down, since Sync answered 429.

        Args:
            pause: How long Sync wants to be left alone, in milliseconds.
        """
        until = self.now + min(pause, LONGEST_PAUSE)
        places, before = self.budget.places, self.slowdown
        if before is None or self.now > before.until + RECOVERY:
            return Slowdown(self.now, until, max(1, places // 2))
        if self.now <= before.until:
            # Those that were on their way when the first one was refused tell nothing new.
            return Slowdown(before.since, max(until, before.until), before.floor)
        return Slowdown(self.now, until, max(1, places // 8, before.floor // 2))
