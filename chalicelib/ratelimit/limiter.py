"""The line for presigns in DynamoDB: `admission.py` decides, this makes it so.

One item, `line#presign`, holds all that the containers share: a slot's grant and promised turns in
an attribute of its own, so that two requests get into each other's way only when they want the
same slot; what is left of a slow-down; and the secret that tickets are signed with. Each write
names the slots as they were read. Where somebody else was faster, the refusal brings the item as
it is now, and the decision is made anew.
"""

import math
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table, WriteResult
from chalicelib.core import errors, log, wording
from chalicelib.core.clock import Clock
from chalicelib.ratelimit import policy
from chalicelib.ratelimit.policy import Budget, Full, Place, Turn
from chalicelib.ratelimit.slots import UNUSED, Slot, Slowdown, caller_number
from chalicelib.ratelimit.tickets import Tickets

_CROWDED = "Too many uploads are starting at once. Try again in a moment."
PK = "line#presign"
TRIES = 24
MAX_SPREAD = 32
FURTHEST = 3_000  # milliseconds that a grant which is written anew may lie ahead
STAMPS = 5
SECRET_BYTES = 32
FURTHEST_PAUSE = policy.LONGEST_PAUSE + policy.MARGIN
APART = 2_000  # milliseconds within which those come back who are told the same moment
KNOWN_FULL = 1_000  # milliseconds for which a container trusts its knowledge that there is no room
_MAX_KNOWN = 1000  # callers


@dataclass(frozen=True)
class LineStanding:
    """How the line for presigns stands for one caller.

    Attributes:
        budget: Presigns in a minute, for all callers.
        free: How many the caller could begin at once.
        waiting: Turns that are promised to anybody.
        wait_seconds: How long a new request of the caller would wait.
    """

    budget: int
    free: int
    waiting: int
    wait_seconds: float

    def headers(self) -> dict[str, str]:
        """Write it as headers (draft-ietf-httpapi-ratelimit-headers)."""
        left = "" if self.free else f";t={max(1, math.ceil(self.wait_seconds))}"
        return {
            "RateLimit-Policy": f'"presigns";q={self.budget};w=60',
            "RateLimit": f'"presigns";r={self.free}{left}',
        }


@dataclass(frozen=True)
class Opening:
    """A place in the line that was found free.

    Attributes:
        standing: How the line stands for the caller when the place is taken.
    """

    standing: LineStanding


@dataclass(frozen=True)
class _Seen:
    """The item as it was read."""

    raw: Mapping[int, bytes]
    line: policy.Line


@dataclass(frozen=True)
class _Entered(Opening):
    """An opening with all that is needed to take it."""

    caller_id: str
    turn: int | None
    seen: _Seen
    place: Place


class Line:
    """Hands out the budget's places.

    Args:
        table: The broker's table.
        budget: The budget, and how long anybody may have to wait.
        clock: The time.
    """

    def __init__(
        self,
        table: Table,
        budget: Budget,
        clock: Clock,
    ) -> None:
        self._table = table
        self._budget = budget
        self._clock = clock
        # Until the table's own secret has been read, no ticket proves anything.
        self._tickets = Tickets(secrets.token_bytes(SECRET_BYTES))
        self._known_full: dict[int, tuple[int, int]] = {}
        self._full_but_for: tuple[int, int, frozenset[int]] = (0, 0, frozenset())

    def enter(self, caller_id: str, ticket: str | None) -> Opening:
        """Find a place, or promise a turn.

        Args:
            caller_id: Who wants to presign.
            ticket: What the caller was given with a turn, if it knows of tickets: one that is not
                valid counts as none.

        Returns:
            What `take` makes a place of. Nothing is taken yet.

        Raises:
            RateLimited: There is no place now; a turn is promised.
            QueueFull: Not even a turn can be promised.
            StoreUnavailable: Nobody knows; then nobody is let through, because each container
                alone would let the whole budget through.
        """
        self.refuse_known(caller_id, ticket)
        with _counted():
            seen = self._seen(self._table.get(PK) or {})
            # A container that has just started could not read the ticket before.
            turn = self._read_ticket(caller_id, ticket)
            self._refuse_early(caller_id, turn)
            return self._decide(caller_id, turn, seen)

    def refuse_known(self, caller_id: str, ticket: str | None) -> None:
        """Refuse without asking DynamoDB, where it has just been asked. Raises as `enter` does."""
        turn, now = self._read_ticket(caller_id, ticket), self._clock.now()
        if not turn:
            caller = caller_number(caller_id)
            known_at, opens_at, waiting = self._full_but_for
            if now - known_at > KNOWN_FULL or caller in waiting:
                known_at, opens_at = self._known_full.get(caller, (0, 0))
            if 0 <= now - known_at <= KNOWN_FULL:
                raise self._full(opens_at)
        self._refuse_early(caller_id, turn)

    def take(self, opening: Opening) -> None:
        """Take a place, held until it is free. Whoever returns from here sends one presign at once.

        Raises:
            RateLimited: Others were faster.
            QueueFull: As above.
            StoreUnavailable: As for `enter`.
        """
        if not isinstance(opening, _Entered):
            raise TypeError("an opening comes from enter")
        caller = caller_number(opening.caller_id)
        with _counted():
            for _ in range(TRIES):
                wait = opening.place.at - self._clock.now()
                if wait > 0:
                    self._clock.sleep(wait / 1000)
                stamp = self._clock.now()
                changed = opening.seen.line.with_grant(opening.place, caller, stamp)
                written = self._write(opening.seen.raw, changed)
                number = opening.place.slot
                slot = _slot(written, number)
                # boto3 repeats a write whose answer was lost, and is refused because of itself.
                if slot.nonce == changed[number].nonce:
                    self._mind_slowdown(written)
                    self._stamp_anew(number, slot)
                    return
                seen = self._seen(written.item or {})
                opening = self._decide(opening.caller_id, opening.turn, seen)
            raise errors.StoreUnavailable(_CROWDED, retry_after=1)

    def standing(self, caller_id: str) -> LineStanding:
        """Return how long the line is, and what it means for a caller."""
        with _counted():
            seen = self._seen(self._table.get(PK) or {})
        return self._standing(seen.line, caller_number(caller_id))

    def slow_down(self, retry_after: float) -> None:
        """Slow the line down for all containers, since Sync answered 429.

        Args:
            retry_after: Seconds for which Sync wants to be left alone.
        """
        item = self._table.get(PK) or {}
        line = self._seen(item).line
        slower = line.slower(int(retry_after * 1000))
        # Another container may have been told the same in the same moment: the longer pause counts.
        change = Change(
            pk=PK,
            condition="NOT #slow.#until BETWEEN :until AND :furthest",
            values={"until": slower.until, "furthest": self._clock.now() + FURTHEST_PAUSE},
            sets={"slow": asdict(slower)},
        )
        self._table.write(change)
        log.event("line_slower", level=30, until=slower.until, floor=slower.floor)

    def _decide(self, caller_id: str, turn: int | None, seen: _Seen) -> _Entered:
        """Find a place in what was read, or write a turn down and raise it."""
        caller = caller_number(caller_id)
        for number in range(TRIES):
            line = seen.line
            decision = line.decide(caller, turn, min(4 << number, MAX_SPREAD))
            if isinstance(decision, Place):
                taken = line.with_grant(decision, caller, line.now)
                standing = self._standing(replace(line, slots={**line.slots, **taken}), caller)
                return _Entered(standing, caller_id, turn, seen, decision)
            if isinstance(decision, Full) and decision.by_share:
                raise self._come_again(decision.opens_at + secrets.randbelow(APART))
            if isinstance(decision, Full):
                self._remember_full(caller, line, decision)
                raise self._full(decision.opens_at)
            written = self._write(seen.raw, line.with_turn(decision, caller))
            if written.granted:
                log.note(lineLength=len(line.waiting) + 1)
                raise self._waiting(caller_id, decision.at, decision)
            seen = self._seen(written.item or {})
        raise errors.StoreUnavailable(_CROWDED, retry_after=1)

    def _seen(self, item: codec.Item) -> _Seen:
        """Read the item; the first container of all writes the secret."""
        raw = {
            int(name[1:]): bytes(value["B"])
            for name, value in item.items()
            if name[:1] == "s" and name[1:].isdigit()
        }
        self._tickets = Tickets(self._read_secret(item))
        line = policy.Line(
            budget=self._budget,
            slots={number: Slot.decode(value) for number, value in raw.items()},
            now=self._clock.now(),
            slowdown=self._slowdown(item),
        )
        return _Seen(raw, line)

    def _read_secret(self, item: codec.Item) -> bytes:
        if "secret" not in item:
            new = secrets.token_bytes(SECRET_BYTES)
            change = Change(pk=PK, condition="attribute_not_exists(#secret)", sets={"secret": new})
            item = self._table.write(change).item or {}
        return bytes(item["secret"]["B"])

    def _write(
        self, raw: Mapping[int, bytes], changed: Mapping[int, Slot]
    ) -> WriteResult[codec.Item]:
        """Write slots, if they are still as they were read."""
        conditions, values, sets = [], {}, {}
        for number, slot in changed.items():
            if number in raw:
                conditions.append(f"#s{number} = :seen{number}")
                values[f"seen{number}"] = raw[number]
            else:
                conditions.append(f"attribute_not_exists(#s{number})")
            sets[f"s{number}"] = slot.encode()
        return self._table.write(
            Change(pk=PK, condition=" AND ".join(conditions), values=values, sets=sets)
        )

    def _stamp_anew(self, number: int, slot: Slot) -> None:
        """Move a grant to where it belongs, if writing it took long: its presign goes out now.

        The new time is as far ahead as the last write took, and farther each time, so that a slow
        table is not asked again and again; if the write is faster, the new time is waited for.
        """
        ahead = 0
        for _ in range(STAMPS):
            now = self._clock.now()
            late = now - slot.granted.at
            if late <= policy.LAG:
                if late < 0:
                    self._clock.sleep(-late / 1000)
                return
            ahead = min(max(late, 2 * ahead), FURTHEST)
            moved = slot.granted._replace(at=now + ahead)
            written = self._write({number: slot.encode()}, {number: replace(slot, granted=moved)})
            # It is refused if a turn was promised meanwhile.
            later = _slot(written, number)
            if later.nonce != slot.nonce:
                break
            self._mind_slowdown(written)
            slot = later
        raise errors.StoreUnavailable(_CROWDED, retry_after=1)

    def _mind_slowdown(self, written: WriteResult[codec.Item]) -> None:
        """Keep back whose place was found before another container was told to slow down."""
        slowdown = self._slowdown(written.item or {})
        if slowdown and slowdown.until > self._clock.now():
            raise self._come_again(slowdown.until)

    def _refuse_early(self, caller_id: str, turn: int | None) -> None:
        """Send back who comes long before the turn that the ticket proves."""
        if turn and turn > self._clock.now() + policy.EARLY:
            raise self._waiting(caller_id, turn, None)

    def _remember_full(self, caller: int, line: policy.Line, full: Full) -> None:
        if len(self._known_full) >= _MAX_KNOWN:
            self._known_full.clear()
        # A plain client's turn may come while this is believed; others can wait for theirs.
        soon = line.now + KNOWN_FULL + policy.EARLY
        waiting = frozenset(turn.caller for turn in line.waiting if turn.at <= soon)
        if caller not in waiting:
            self._known_full[caller] = (line.now, full.opens_at)
        if line.is_full:
            self._full_but_for = (line.now, full.opens_at, waiting)

    def _standing(self, line: policy.Line, caller: int) -> LineStanding:
        free = line.free_places(caller)
        return LineStanding(
            budget=self._budget.places,
            free=free,
            waiting=len(line.waiting),
            wait_seconds=0 if free else line.wait(caller) / 1000,
        )

    def _waiting(self, caller_id: str, at: int, turn: Turn | None) -> errors.RateLimited:
        seconds = (at - policy.LEAD - self._clock.now()) / 1000
        fields: dict[str, str | int] = {"ticket": self._tickets.write(caller_id, at)}
        if turn is not None:
            fields["position"] = turn.position
        return errors.RateLimited(
            f"Many uploads are starting. Yours can start {wording.wait(seconds)}.",
            retry_after=seconds,
            headers=LineStanding(self._budget.places, 0, 0, seconds).headers(),
            fields=fields,
        )

    def _come_again(self, opens_at: int) -> errors.RateLimited:
        seconds = (opens_at - self._clock.now()) / 1000
        return errors.RateLimited(
            f"Many uploads are starting. Try again {wording.wait(seconds)}.",
            retry_after=seconds,
            headers=LineStanding(self._budget.places, 0, 0, seconds).headers(),
        )

    def _full(self, opens_at: int) -> errors.QueueFull:
        # They must not all come back in one moment.
        later = secrets.randbelow(self._budget.max_wait // 10 + 1)
        seconds = (opens_at + later - self._clock.now()) / 1000
        return errors.QueueFull(
            f"Too many uploads are waiting to start. Try again {wording.wait(seconds)}.",
            retry_after=seconds,
            headers=LineStanding(self._budget.places, 0, 0, seconds).headers(),
        )

    def _read_ticket(self, caller_id: str, ticket: str | None) -> int | None:
        """Return the moment of the turn that a ticket proves, if the caller knows of tickets."""
        if ticket is None:
            return None
        at = self._tickets.read(caller_id, ticket)
        # One that is over proves nothing any more.
        is_good = at is not None and at >= self._clock.now() - policy.GRACE
        return at if is_good else policy.NO_TURN

    def _slowdown(self, item: codec.Item) -> Slowdown | None:
        """Read what is left of a 429 of Sync; a pause from a clock that is far ahead is none."""
        if "slow" not in item:
            return None
        slowdown = Slowdown(**codec.plain(item["slow"]["M"]))
        return slowdown if slowdown.until <= self._clock.now() + FURTHEST_PAUSE else None


def _slot(written: WriteResult[codec.Item], number: int) -> Slot:
    """Read what a slot is now, whether it was written or the write was refused."""
    stored = (written.item or {}).get(f"s{number}")
    return Slot.decode(bytes(stored["B"])) if stored else UNUSED


class _counted:  # noqa: N801 - reads as a statement
    """Counts each time that DynamoDB does not answer for the line."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Count, and let the failure go on."""
        if isinstance(error, errors.StoreUnavailable):
            log.event("line_unavailable", level=40)
