"""A rate limiter that all containers share through one item, which `slots.py` describes.

`policy.py` decides, by this container's last copy of the item. Each write names the slot's
attributes as they were read, so two requests are in each other's way only if they want the same
slot. If the copy is old, the write is refused, which brings the item, and the decision is made
again.
"""

import math
import random
import re
from dataclasses import asdict, dataclass

from chalicelib.aws import codec
from chalicelib.aws.shared_item import SharedItem
from chalicelib.aws.table import Change, Table, WriteResult
from chalicelib.core import errors, log, wording
from chalicelib.core.clock import MINUTE, SECOND, Clock
from chalicelib.core.settings import MOST_PER_MINUTE
from chalicelib.ratelimit import policy, slots
from chalicelib.ratelimit.policy import NO_TICKET, Budget, Grant, Later, Policy, Ticket
from chalicelib.ratelimit.slots import LONGEST_PAUSE, MOST_PERMITS, Event, Slots, Slowdown

TRIES = 24
STAMPS = 5
FRESH = 1_000  # milliseconds for which a container trusts its copy, and its last write's duration
FURTHEST = 3_000  # milliseconds that a grant which is written anew may be ahead
FURTHEST_PAUSE = LONGEST_PAUSE + policy.MARGIN
_TICKET = re.compile(r"([0-9a-f]{1,12})\.([0-9a-f]{1,3})")


@dataclass(frozen=True)
class RateLimitState:
    """What is left of a rate limit for one caller.

    Attributes:
        name: The rate limiter's name.
        budget: What may be granted to all callers together.
        available: How many permits the caller would get at once.
        waiting: How many permits are promised to anybody.
        wait_seconds: How long the caller's next request would have to wait.
    """

    name: str
    budget: Budget
    available: int
    waiting: int
    wait_seconds: float

    def headers(self) -> dict[str, str]:
        """Return it as headers (draft-ietf-httpapi-ratelimit-headers)."""
        left = "" if self.available else f";t={max(1, math.ceil(self.wait_seconds))}"
        limits = f"q={self.budget.permits};w={self.budget.window // SECOND}"
        return {
            "RateLimit-Policy": f'"{self.name}";{limits}',
            "RateLimit": f'"{self.name}";r={self.available}{left}',
        }


@dataclass(frozen=True)
class Ask:
    """A request for a permit.

    Attributes:
        caller: Who asks: `caller_number`.
        has_tickets: Whether the client knows of tickets.
        may_wait: Whether somebody comes again for this permit. Otherwise none is promised.
    """

    caller: int
    has_tickets: bool
    may_wait: bool

    @property
    def returns(self) -> int | None:
        """The caller, if it comes again; otherwise None."""
        return self.caller if self.may_wait else None


@dataclass(frozen=True)
class Permit:
    """A permit that was found, and is not taken yet.

    Attributes:
        ask: What it was found for.
        grant: The slot and the moment.
        slot_is: The slot's last grant as it was read; empty if there was none. None if it does not
            matter, because a slot does not change while it is promised.
    """

    ask: Ask
    grant: Grant
    slot_is: bytes | None


class RateLimiter:
    """Hands out permits: never more than a budget in any window, shared fairly by the callers.

    Args:
        table: The broker's table.
        clock: The time.
        name: What is limited, such as `presigns`.
        budget: Permits in a window, for all callers together.
        window: In milliseconds.
        longest_wait: How far ahead a permit is promised, in milliseconds; by default a window.
        busy: The sentence with which a refusal begins, for end users.
        has_tickets: Whether a promise comes with a ticket, which the client sends back.
        chance: Random numbers, by which parallel requests want different slots.

    Raises:
        ValueError: One item can't hold as many permits, or can't be written as often.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what makes one rate limiter different from another
        self,
        table: Table,
        clock: Clock,
        name: str,
        budget: int,
        window: int,
        longest_wait: int | None = None,
        *,
        busy: str,
        has_tickets: bool = False,
        chance: random.Random | None = None,
    ) -> None:
        if budget > MOST_PERMITS or budget * MINUTE > MOST_PER_MINUTE * window:
            raise ValueError(
                f"{name}: at most {MOST_PERMITS} permits, and {MOST_PER_MINUTE} in a minute, since "
                "a partition of DynamoDB takes only 1,000 write units a second"
            )
        self.item = SharedItem(table, f"limit#{name}", clock)
        self._budget = Budget(budget, window, longest_wait or Budget(budget, window, 0).spacing)
        self._clock = clock
        self._name = name
        self._busy = busy
        self._has_tickets = has_tickets
        self._chance = chance or random.Random()  # noqa: S311 - nobody gains by guessing a slot
        self._reported: list[Event] = []
        self._slow = 0  # milliseconds that the last grant's write took, if more than LAG
        self._read: tuple[codec.Item, Slots] = ({}, Slots.unused(budget))

    def check_cached_refusal(self, caller_id: str, ticket: str | None = None) -> None:
        """Refuse without a call what a fresh copy of the item proves to be too early.

        Args:
            caller_id: Who asks.
            ticket: As for `acquire`.

        Raises:
            RateLimited, QueueFull: As `acquire`.
        """
        wanted = self._read_ticket(ticket)
        if self.item.age <= FRESH and wanted in {None, NO_TICKET}:
            caller = slots.caller_number(caller_id)
            decision = self._policy().decide(caller, wanted)
            if isinstance(decision, Later):
                raise self._later(caller, decision)

    def acquire(
        self, caller_id: str, ticket: str | None = None, *, may_wait: bool = True
    ) -> Permit:
        """Find a permit, or promise one.

        Args:
            caller_id: Who asks.
            ticket: What the caller was given with a promise; empty if the client knows of tickets
                and has none, None if it knows of none. One that is not valid counts as empty.
            may_wait: As in `Ask`.

        Returns:
            The permit, which `commit` takes. Nothing is taken yet.

        Raises:
            RateLimited: There is no permit now. One is promised, or there will be one for whoever
                comes first.
            QueueFull: There will be none soon.
            StoreUnavailable: Nobody knows. Then nobody gets one, because each container alone
                would grant the whole budget.
        """
        wanted = self._read_ticket(ticket)
        ask = Ask(slots.caller_number(caller_id), ticket is not None, may_wait)
        if wanted is not None and wanted != NO_TICKET:
            promise = Event(wanted.at, ask.caller)
            if grant := self._policy().redeem(promise, wanted.slot):
                return Permit(ask, grant, slot_is=None)
        return self._find(ask)

    def commit(self, permit: Permit) -> RateLimitState:
        """Take a permit, and wait for its moment. The caller then sends one request at once.

        Returns:
            What is left for the caller.

        Raises:
            RateLimited, QueueFull, StoreUnavailable: As `acquire`, since others were faster.
        """
        for _ in range(TRIES):
            if self._take(permit):
                return self._state(self._policy(), permit.ask.caller)
            permit = self._find(permit.ask)
        raise self._crowded()

    def state(self, caller_id: str) -> RateLimitState:
        """Return what is left for a caller.

        Raises:
            StoreUnavailable: The item can't be read.
        """
        self.item.read()
        return self._state(self._policy(), slots.caller_number(caller_id))

    def back_off(self, retry_after: float) -> None:
        """Slow down in all containers, since Sync answered 429.

        Args:
            retry_after: Seconds for which Sync wants to be left alone.
        """
        self.item.read()
        now, pause = self._clock.now(), max(SECOND, int(retry_after * SECOND))
        slower = slots.slower(self._slowdown(self.item.copy), now, pause, self._budget.permits)
        # Another container may have got a 429 at the same moment. The longer pause counts.
        change = Change(
            pk=self.item.pk,
            condition="NOT #slow.#until BETWEEN :until AND :furthest",
            values={"until": slower.until, "furthest": now + FURTHEST_PAUSE},
            sets={"slow": asdict(slower)},
        )
        if self.item.write(change).granted:
            log.event("rate_limiter_slower", level=30, limiter=self._name, until=slower.until)

    def _find(self, ask: Ask) -> Permit:
        """Find a permit by the copy, by a fresh one if need be; or write a promise and raise it."""
        if math.isinf(self.item.age):
            self.item.read()
        for _ in range(TRIES):
            # Another thread may replace the copy, so what was read is taken from the same one.
            item = self.item.copy
            current, ticket = self._policy(item), NO_TICKET if ask.has_tickets else None
            decision = current.decide(ask.caller, ticket)
            if isinstance(decision, Grant):
                return Permit(ask, decision, _stored(item, decision.slot))
            if isinstance(decision, Later):
                if self.item.age <= FRESH:
                    raise self._later(ask.returns, decision)
                self.item.read()
                continue
            if not ask.may_wait:
                raise self._later(None, Later(decision.at, is_full=False))
            slot = decision.slot
            sets = {f"p{slot:x}": slots.write_promise(Event(decision.at, ask.caller))}
            if self._write(slot, _stored(item, slot), decision.instead, sets).granted:
                log.note(queueLength=len(current.held) + 1)
                raise self._promised(Ticket(decision.at, slot), decision.position)
        raise self._crowded()

    def _take(self, permit: Permit) -> bool:
        """Write a grant if its slot is still as it was read, and wait for the grant's moment.

        It is written before the wait, so that nobody else waits for the same slot. If the write
        took long, it is written again with the present time, since its request is sent now. The
        time is as far ahead as this container's last write took, and farther each time, so that a
        slow table is not asked again and again.

        Returns:
            Whether the request may be sent.
        """
        slot, nonce = permit.grant.slot, self._chance.getrandbits(slots.NONCE_BITS)
        slot_is, promise = permit.slot_is, permit.grant.promise
        ahead = self._slow if self.item.age <= FRESH else 0
        earliest = permit.grant.at + self._clock.uncertainty
        for _ in range(STAMPS):
            asked_at = self._latest()
            granted = Event(max(earliest, asked_at + ahead), permit.ask.caller)
            grant = slots.write_grant(granted, nonce)
            written = self._write(slot, slot_is, promise, {f"s{slot:x}": grant})
            took = self._latest() - asked_at
            self._slow = took if took > policy.LAG else 0
            # boto3 repeats a write whose response was lost, and the first one refuses the second.
            if not written.granted and _stored(written.item, slot) != grant:
                return False
            slowdown = self._slowdown(written.item)
            if slowdown and slowdown.opens_at(slot, self._budget.permits) > granted.at:
                # Another container has slowed down since the permit was found.
                raise self._later(permit.ask.returns, Later(slowdown.until, is_full=False))
            if (wait := granted.at - self._latest()) > 0:
                self._clock.sleep(wait / SECOND)
            late = self._latest() - granted.at  # It may have slept for too long.
            if late <= policy.LAG:
                return True
            slot_is, promise, ahead = grant, None, min(max(late, 2 * ahead), FURTHEST)
        raise errors.StoreUnavailable(f"{self._busy} Try again in a moment.", retry_after=1)

    def _write(
        self, slot: int, grant: bytes | None, promise: Event | None, sets: dict[str, bytes]
    ) -> WriteResult[codec.Item]:
        """Write a slot's grant or promise, if the slot is still as it was read.

        Args:
            slot: The slot's number.
            grant: The last grant as it was read; empty for none, None if it does not matter.
            promise: The promise as it was read, or None.
            sets: The new grant, which removes the promise, or the new promise.
        """
        rules, values = [], {}
        if grant:
            rules.append("#grant = :grant")
            values["grant"] = grant
        elif grant is not None:
            rules.append("attribute_not_exists(#grant)")
        if promise:
            rules.append("#promise = :promise")
            values["promise"] = slots.write_promise(promise)
        else:
            rules.append("attribute_not_exists(#promise)")
        name = f"p{slot:x}"
        change = Change(
            pk=self.item.pk,
            condition=" AND ".join(rules),
            values=values,
            names={"grant": f"s{slot:x}", "promise": name},
            sets=sets,
            removes=(name,) if promise and name not in sets else (),
        )
        return self.item.write(change)

    def _latest(self) -> int:
        """Return the latest time that it can be, so that no grant seems older than it is."""
        return self._clock.now() + self._clock.uncertainty

    def _policy(self, item: codec.Item | None = None) -> Policy:
        item = self.item.copy if item is None else item
        now, (copy, found) = self._clock.now(), self._read
        if copy is not item:
            found = found.read(item, copy)
            self._read = item, found
        self._reported = [one for one in self._reported if one.at > now]
        slowdown = self._slowdown(item)
        return Policy(self._budget, found, now, slowdown, self._reported, self._chance)

    def _slowdown(self, item: codec.Item | None) -> Slowdown | None:
        """Return what is left of Sync's 429. A pause of a clock that is far ahead is void."""
        if not item or "slow" not in item:
            return None
        slowdown = Slowdown(**codec.plain(item["slow"]["M"]))
        return slowdown if slowdown.until <= self._clock.now() + FURTHEST_PAUSE else None

    def _state(self, current: Policy, caller: int) -> RateLimitState:
        available = current.available(caller)
        wait = 0.0 if available else current.wait(caller) / SECOND
        return RateLimitState(self._name, self._budget, available, len(current.held), wait)

    def _read_ticket(self, ticket: str | None) -> Ticket | None:
        """Return what a ticket names. Whether the promise is the caller's, the table proves.

        Raises:
            RateLimited: The caller has come long before the promised moment.
        """
        if ticket is None:
            return None
        parts = _TICKET.fullmatch(ticket)
        if parts is None:
            return NO_TICKET
        named = Ticket(int(parts[1], 16), int(parts[2], 16))
        now, budget = self._clock.now(), self._budget
        is_near = now - policy.GRACE <= named.at <= now + budget.longest_wait + budget.spacing
        if not is_near or named.slot >= budget.permits:
            return NO_TICKET
        if named.at > now + policy.HOLD:
            raise self._promised(named)
        return named

    def _promised(self, ticket: Ticket, position: int | None = None) -> errors.RateLimited:
        fields: dict[str, str | int] = {"ticket": f"{ticket.at:x}.{ticket.slot:x}"}
        if position is not None:
            fields["position"] = position
        return self._refusal(
            errors.RateLimited, ticket.at - policy.LEAD, fields if self._has_tickets else {}
        )

    def _later(self, caller: int | None, later: Later) -> errors.RateLimited:
        """Return a refusal without a promise, and remember it for a caller who wants a permit."""
        kind, at = errors.QueueFull if later.is_full else errors.RateLimited, later.at
        own = sum(one.caller == caller for one in self._reported)
        if later.is_full or own >= self._budget.permits:
            # There is no moment for each of so many. They must not all come at the same one.
            at += self._chance.randrange(self._budget.longest_wait + 1)
        elif caller is not None:
            self._reported.append(Event(at, caller))
        return self._refusal(kind, at - policy.LATER_LEAD, {})

    def _refusal(
        self, kind: type[errors.RateLimited], at: int, fields: dict[str, str | int]
    ) -> errors.RateLimited:
        seconds = max(0.0, (at - self._clock.now()) / SECOND)
        return kind(
            f"{self._busy} Try again {wording.wait(seconds)}.",
            retry_after=seconds,
            headers=RateLimitState(self._name, self._budget, 0, 0, seconds).headers(),
            fields=fields,
        )

    def _crowded(self) -> errors.RateLimited:
        """Return the refusal of a request that others were faster than, time after time."""
        return self._refusal(errors.RateLimited, self._clock.now() + SECOND, {})


def _stored(item: codec.Item | None, slot: int) -> bytes:
    """Return a slot's last grant as it is stored; empty if there was none."""
    stored: bytes = (item or {}).get(f"s{slot:x}", {}).get("B", b"")
    return stored
