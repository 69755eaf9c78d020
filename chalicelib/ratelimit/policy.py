"""The decision about a request: a permit, the promise of one, or a later moment. Pure.

The budget allows a number of permits in any window. It has as many slots, and a slot is granted
again only `Budget.spacing` after its last grant, so no window holds more grants than there are
slots, wherever it begins. That alone keeps the budget. Everything else decides who gets which slot:

- A slot that is free and promised to nobody is granted to whoever asks, up to a third of the budget
  for one caller in any two seconds.
- Otherwise the slot's next use is promised to the caller, up to its share: the budget, divided by
  the callers with promises and one more, who may come. A slot has one promise at most. A promise
  that is not used within `GRACE` is void.
- Beyond its share, the caller gets the moment at which a slot that nobody holds will be free: the
  first one to come gets it.
- If that is later than twice the longest wait, the queue is full.

Times are milliseconds since 1970. The clocks of two containers, together with the way to Sync, may
differ by `MARGIN`, and a request may be sent up to `LAG` after the moment of its grant.
"""

import heapq
import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from chalicelib.ratelimit.slots import Event, Slots, Slowdown

MARGIN = 1_000
LAG = 200  # for which the write of a grant may take
BURST = 2_000
BURST_PARTS = 3  # one caller gets one such part of the budget in a burst
GRACE = 2_000
LEAD = 1_000  # before its moment a request is asked to come, since it comes up to a second late
HOLD = 1_500  # for which a request is held until its slot is free
BURST_HOLD = 700  # for which a request is held until its caller's burst is over
LATER_LEAD = 500  # as LEAD, for a request without a promise
SAME = 250  # two slots that are free within so long of each other are equally good
NEAR = 1_000  # a promise may be so much later than the first one, so that few want the same slot


class Ticket(NamedTuple):
    """The moment and the slot of a promise, which the client sends back."""

    at: int
    slot: int


NO_TICKET = Ticket(0, -1)  # of a client that knows of tickets and has none


@dataclass(frozen=True)
class Budget:
    """The limit of a rate limiter.

    Attributes:
        permits: How many in a window.
        window: In milliseconds.
        longest_wait: How far ahead a permit is promised, in milliseconds.
    """

    permits: int
    window: int
    longest_wait: int

    @property
    def spacing(self) -> int:
        """The time between two grants of a slot; clocks are read in whole milliseconds."""
        return self.window + MARGIN + LAG + 1

    @property
    def burst(self) -> int:
        """How many permits one caller gets in a burst."""
        return max(1, self.permits // BURST_PARTS)


@dataclass(frozen=True)
class Grant:
    """A slot that may be granted.

    Attributes:
        slot: Its number.
        at: When: now, or up to `HOLD` later.
        promise: The promise that is used by it, or the void one that it removes.
    """

    slot: int
    at: int
    promise: Event | None = None


@dataclass(frozen=True)
class Promise:
    """A slot whose next use can be promised.

    Attributes:
        slot: Its number.
        at: When it is free.
        position: The number of promises that come before, and one.
        instead: The void promise that this one replaces.
    """

    slot: int
    at: int
    position: int
    instead: Event | None = None


@dataclass(frozen=True)
class Later:
    """Nothing can be promised.

    Attributes:
        at: When a slot that nobody holds will be free.
        is_full: Whether that is later than twice the longest wait.
    """

    at: int
    is_full: bool


Decision = Grant | Promise | Later


@dataclass
class Policy:
    """The slots at one moment, as one container sees them.

    Attributes:
        budget: What may be granted.
        slots: The slots.
        now: The moment.
        slowdown: What is left of a slowdown, or None.
        reported: The moments that this container has reported to callers without a promise.
    """

    budget: Budget
    slots: Slots
    now: int
    slowdown: Slowdown | None = None
    reported: Sequence[Event] = ()
    chance: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def decide(self, caller: int, ticket: Ticket | None = None) -> Decision:
        """Decide about one request.

        Args:
            caller: Who asks: `caller_number`.
            ticket: Which promise is meant; `NO_TICKET` for none. With None, from a client that
                knows nothing of tickets, any due promise of the caller is used.
        """
        return self._redeem(caller, ticket) or self._free(caller) or self._promise(caller)

    @cached_property
    def held(self) -> dict[int, Event]:
        """The promises that are neither used nor void. One of a clock that is far ahead is void."""
        first = self.now - GRACE
        last = self.now + self.budget.longest_wait + self.budget.spacing
        return {
            number: promise
            for number, promise in self.slots.promises.items()
            if first <= promise.at <= last
        }

    def available(self, caller: int) -> int:
        """Return how many permits a caller would get at once."""
        left = self.budget.burst - _near(self._times(caller), self.now)
        return max(0, min(len(self._free_slots), left))

    def wait(self, caller: int) -> int:
        """Return for how many milliseconds the caller's next request would have to wait."""
        return max(0, self.decide(caller, NO_TICKET).at - self.now)

    @cached_property
    def _opens_at(self) -> list[int]:
        """When each slot may be granted again. A grant of a clock that is far ahead is void."""
        spacing, furthest = self.budget.spacing, self.now + self.budget.spacing
        opens = [at + spacing if at <= furthest else 0 for at in self.slots.granted_at]
        if self.slowdown is None or self.slowdown.is_over(self.now):
            return opens
        permits = self.budget.permits
        return [max(at, self.slowdown.opens_at(slot, permits)) for slot, at in enumerate(opens)]

    @cached_property
    def _free_slots(self) -> list[int]:
        """The slots that are free, and promised to nobody."""
        now, held = self.now, self.held
        return [slot for slot, at in enumerate(self._opens_at) if at <= now and slot not in held]

    @cached_property
    def _unheld(self) -> list[tuple[int, int]]:
        """When the slots that are promised to nobody may be granted, with their numbers."""
        opens = enumerate(self._opens_at)
        return sorted((at, slot) for slot, at in opens if slot not in self.held)

    def _granted(self, caller: int) -> list[int]:
        """Return when permits were granted to a caller."""
        if caller not in self.slots.callers:
            return []
        grants = zip(self.slots.granted_at, self.slots.callers, strict=True)
        return sorted(at for at, whose in grants if whose == caller)

    def _times(self, caller: int) -> list[int]:
        """Return when permits were granted, or are promised, to a caller."""
        promised = [promise.at for promise in self.held.values() if promise.caller == caller]
        return sorted(self._granted(caller) + promised)

    def _after_burst(self, times: Sequence[int], at: int) -> int:
        """Return the first moment from another on at which one more is not too much."""
        for moment in (at, *(one + BURST for one in times if at < one + BURST)):
            if _near(times, moment) < self.budget.burst:
                return moment
        raise AssertionError("a burst after the last one there is room")

    def _redeem(self, caller: int, ticket: Ticket | None) -> Grant | None:
        """Use the caller's promise, if there is one that is due, or will be in a moment."""
        due = [
            (promise, slot)
            for slot, promise in self.held.items()
            if promise.caller == caller
            and promise.at <= self.now + HOLD
            and (ticket is None or ticket == (promise.at, slot))
        ]
        if not due:
            return None
        # Parallel requests of one caller must not all want the same one.
        ready = [one for one in due if one[0].at <= max(min(due)[0].at, self.now) + SAME]
        return self.redeem(*self.chance.choice(ready))

    def redeem(self, promise: Event, slot: int) -> Grant | None:
        """Use a promise as soon as its slot is free and the caller's burst allows it."""
        opens_at = max(self.now, promise.at, self._opens_at[slot])
        at = self._after_burst(self._granted(promise.caller), opens_at)
        if at > self.now + HOLD:
            return None
        return Grant(slot, at, promise)

    def _free(self, caller: int) -> Grant | None:
        """Grant a slot that nobody holds, if it is free or will be in a moment.

        Each caller has an order of the slots, and takes one of the first in it, as many as its
        burst has left. So requests that do not know of each other, in containers whose copies are
        old, want the same slots and can't get more of them than a burst has.
        """
        free, opens_at = self._free_slots, self.now
        if not free:
            if not self._unheld:
                return None
            opens_at = self._unheld[0][0]
            latest = min(opens_at + SAME, self.now + HOLD)
            soon = bisect_right(self._unheld, latest, key=lambda one: one[0])
            free = sorted(slot for _, slot in self._unheld[:soon])
        times = self._times(caller)
        at = self._after_burst(times, opens_at)
        if at > max(self.now, opens_at) + BURST_HOLD or at > self.now + HOLD:
            return None
        first = bisect_left(free, caller % self.budget.permits)
        left = self.budget.burst - _near(times, at)
        slot = self.chance.choice([*free[first:], *free[:first]][:left])
        return Grant(slot, max(at, self._opens_at[slot]), self.slots.promises.get(slot))

    def _promise(self, caller: int) -> Promise | Later:
        """Promise the slot that is free next, or return when one that nobody holds is free."""
        now, longest, times = self.now, self.budget.longest_wait, self._times(caller)
        later = self._later(caller, times)
        if sum(promise.caller == caller for promise in self.held.values()) < self._share(caller):
            fitting = [
                (at, slot)
                for at, slot in self._unheld
                if now < at <= now + longest and _near(times, at) < self.budget.burst
            ]
            if fitting and fitting[0][0] <= later:
                near = bisect_right(fitting, fitting[0][0] + NEAR, key=lambda one: one[0])
                at, slot = self.chance.choice(fitting[:near])
                position = 1 + sum(promise.at <= at + SAME for promise in self.held.values())
                return Promise(slot, at, position, self.slots.promises.get(slot))
        furthest = now + 2 * self.budget.spacing
        return Later(min(later, furthest), is_full=later > now + 2 * longest)

    def _share(self, caller: int) -> int:
        """Return how many promises one caller may have."""
        waiting = {promise.caller for promise in self.held.values()} | {caller}
        return max(1, self.budget.permits // (len(waiting) + 1))

    def _later(self, caller: int, times: list[int]) -> int:
        """Return when a slot is free for the caller, after those who got a moment before.

        Each of them takes the slot that is free next, so that not all come at the same moment.
        """
        spacing = self.budget.spacing
        free_at = [max(self.now, at) for at, _ in self._unheld]
        free_at += [promise.at + spacing for promise in self.held.values()]
        heapq.heapify(free_at)
        reported = sorted(self.reported)
        if own := [one for one in reported if one.caller == caller and one.at <= self.now + HOLD]:
            reported.remove(own[0])  # This may be the very request, a little early.
        for one in reported:
            if free_at[0] <= one.at:
                heapq.heapreplace(free_at, one.at + spacing)
        others = [one.at for one in reported if one.caller == caller]
        return self._after_burst(sorted(times + others), free_at[0])


def _near(times: Sequence[int], at: int) -> int:
    """Count the times that are in one burst with a moment; they are in order."""
    return bisect_left(times, at + BURST) - bisect_right(times, at - BURST)
