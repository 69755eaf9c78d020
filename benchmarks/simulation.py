"""Simulated time, and a table in memory, for many containers with the broker's own code.

Each request runs in a greenlet. While it waits, for a clock or for the table, others run. Times are
milliseconds from the start.
"""

import heapq
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from greenlet import getcurrent, greenlet

from benchmarks.request_units import write_units
from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table, WriteResult
from chalicelib.core.clock import SECOND, Clock
from chalicelib.ratelimit.slots import NONCE_BITS, Event, Slots

EPOCH = 1_800_000_000_000  # the start, in milliseconds since 1970


class Simulation:
    """Functions that wait in simulated time.

    Attributes:
        at: The time.
    """

    def __init__(self) -> None:
        self.at = 0.0
        self._loop = getcurrent()  # It runs whoever is next.
        self._order = itertools.count()
        self._coming: list[tuple[float, int, Callable[[], object]]] = []

    def start(self, at: float, function: Callable[[], object]) -> None:
        """Call a function at a time. It may call `wait`."""
        self._push(at, greenlet(function, self._loop).switch)

    def wait(self, milliseconds: float) -> None:
        """Let time pass, in a function that was started."""
        self._push(self.at + milliseconds, getcurrent().switch)
        self._loop.switch()

    def run(self, until: float) -> None:
        """Run what happens up to a time."""
        while self._coming and self._coming[0][0] <= until:
            self.at, _, go_on = heapq.heappop(self._coming)
            go_on()

    def _push(self, at: float, go_on: Callable[[], object]) -> None:
        heapq.heappush(self._coming, (at, next(self._order), go_on))


class Machine(Clock):
    """The clock of a container.

    Args:
        simulation: The time.
        error: By how many milliseconds its machine is wrong.
    """

    def __init__(self, simulation: Simulation, error: int = 0) -> None:
        self._simulation = simulation
        self._error = error

    def machine_time(self) -> int:
        """Return the machine's time."""
        return EPOCH + int(self._simulation.at) + self._error

    def monotonic(self) -> float:
        """Return the seconds of a clock that is never wrong."""
        return self._simulation.at / SECOND

    def sleep(self, seconds: float) -> None:
        """Let the other containers go on."""
        self._simulation.wait(seconds * SECOND)


class Store:
    """The item that containers share, and what they did to it.

    Attributes:
        item: The item.
        reads: How often it was read.
        writes: How often it was written, with the refused writes.
        refused: How many writes were refused.
        units: The write units in each second. A refused write costs as much as another one.
        grants: The last write of each grant, by its nonce.
    """

    def __init__(self) -> None:
        self.item: codec.Item = {}
        self.reads = 0
        self.writes = 0
        self.refused = 0
        self.units: Counter[int] = Counter()
        self.grants: dict[bytes, bytes] = {}

    def write(self, change: Change, at: float) -> WriteResult[codec.Item]:
        """Write a change at a time."""
        before, is_met = self.item, _is_met(self.item, change)
        if is_met:
            after = {**codec.key(change.pk), **before, **codec.values(change.sets)}
            self.item = {name: after[name] for name in after if name not in change.removes}
            for name, stored in change.sets.items():
                if re.fullmatch("s[0-9a-f]+", name):
                    self.grants[stored[: NONCE_BITS // 8]] = stored
        self.writes += 1
        self.refused += not is_met
        units = write_units(before, self.item, [], factor=1)
        self.units[int(at) // SECOND] += units.total()
        return WriteResult(is_met, self.item)

    @property
    def granted(self) -> list[Event]:
        """The moments of all grants, and the callers."""
        empty = Slots.unused(1)
        read = [empty.read({"s0": {"B": stored}}, {}) for stored in self.grants.values()]
        return [Event(one.granted_at[0], one.callers[0]) for one in read]


class MemoryTable(Table):
    """A container's connection to the store.

    Args:
        store: The store.
        simulation: The time.
        clock: The container's.
        delay: Returns how long a call takes.
        date_lag: How late the header `Date` is.
    """

    def __init__(
        self,
        store: Store,
        simulation: Simulation,
        clock: Clock,
        delay: Callable[[], float],
        date_lag: int = 0,
    ) -> None:
        self._store = store
        self._simulation = simulation
        self._clock = clock
        self._delay = delay
        self._date_lag = date_lag

    def get(self, pk: str) -> codec.Item | None:
        """Read the item; the key is that of the only one."""
        del pk
        self._store.reads += 1
        with self._call():
            return self._store.item or None

    def write(self, change: Change) -> WriteResult[codec.Item]:
        """Write the item."""
        with self._call():
            return self._store.write(change, self._simulation.at)

    @contextmanager
    def _call(self) -> Iterator[None]:
        """Work in the middle of a call, and compare the clocks as the table does."""
        sent_at, half = self._clock.machine_time(), self._delay() / 2
        if half:
            self._simulation.wait(half)
        second = (EPOCH + int(self._simulation.at) - self._date_lag) // SECOND * SECOND
        yield
        if half:
            self._simulation.wait(half)
        self._clock.observe(second, sent_at, self._clock.machine_time())


def _is_met(item: codec.Item, change: Change) -> bool:
    """Whether an item meets the condition of a write of the rate limiter."""
    values = codec.values(change.values)
    if "slow" in change.sets:
        until = item.get("slow", {"M": {"until": {"N": "0"}}})["M"]["until"]["N"]
        return not change.values["until"] <= int(until) <= change.values["furthest"]
    for rule in change.condition.split(" AND "):
        (name,) = re.findall(r"#(\w+)", rule)
        wanted = None if rule.startswith("attribute_not_exists") else values[name]
        if item.get(change.names[name]) != wanted:
            return False
    return True
