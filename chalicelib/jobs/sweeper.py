"""Finishes what no request finished: closed tabs, killed processes, ambiguous outcomes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from chalicelib.aws.due_index import DueIndex, DueItem
from chalicelib.core import errors, log
from chalicelib.core.clock import HOUR, MINUTE, SECOND, Clock
from chalicelib.core.tasks import Task
from chalicelib.quotas.store import QuotaStore

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

WORKERS = 8  # requests to Sync at a time
BATCH = 500  # items that are read from one shard at a time
CHUNK = 40  # items that are read before the first of them is worked on


@dataclass(frozen=True)
class Sweep:
    """The result of one run.

    Attributes:
        found: Items that were due.
        settled: Those of which nothing is left to do.
        late_seconds: How long work had been due when it was read, at most.
    """

    found: int
    settled: int
    late_seconds: float

    def plus(self, other: "Sweep") -> "Sweep":
        """Return the sum of two parts of a run."""
        return Sweep(
            self.found + other.found,
            self.settled + other.settled,
            max(self.late_seconds, other.late_seconds),
        )


class Sweeper:
    """Works on each item that is due.

    Args:
        index: The items that are due.
        kinds: For each kind of item, the function that makes its task.
        shards: The shards of the index, in groups of which each one waits for those before.
        quotas: Counts the capped requests of all containers.
        clock: The time.
        per_minute: Capped requests that all sweeps together may send in a minute.
        is_down: Whether the service that the tasks need is down; called before each chunk. Then
            the run ends, and the next one continues.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        index: DueIndex,
        kinds: Mapping[str, Callable[[DueItem], Task | None]],
        shards: Sequence[tuple[str, ...]],
        quotas: QuotaStore,
        clock: Clock,
        per_minute: int,
        is_down: Callable[[], bool],
    ) -> None:
        self._index = index
        self._kinds = kinds
        self._shards = shards
        self._quotas = quotas
        self._clock = clock
        self._per_minute = per_minute
        self._is_down = is_down

    def run(self, seconds: float) -> Sweep:
        """Work on what is due; the next run continues with what does not fit into the time.

        Args:
            seconds: How long a task may still be started. The longest task's time comes on top.
        """
        # Imported here: the function that serves browsers never sweeps.
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - as above

        ends = self._clock.monotonic() + seconds
        done = Sweep(0, 0, 0.0)
        is_all = True
        with ThreadPoolExecutor(WORKERS) as pool:
            for shards in self._shards:
                group_done, is_whole_group = self._sweep_group(shards, pool, ends)
                done, is_all = done.plus(group_done), is_all and is_whole_group
        if done.found or not is_all:
            shards = tuple(shard for group in self._shards for shard in group)
            log.event(
                "sweep",
                found=done.found,
                settled=done.settled,
                backlog=0 if is_all else self._index.backlog(shards, self._clock.now()),
                lateSeconds=done.late_seconds,
            )
        return done

    def _sweep_group(
        self, shards: tuple[str, ...], pool: "ThreadPoolExecutor", ends: float
    ) -> tuple[Sweep, bool]:
        """Work on what is due in some shards, as far as the cap and the time allow.

        Returns:
            What was done, and whether it was all.
        """
        done = Sweep(0, 0, 0.0)
        seen: set[tuple[str, str]] = set()
        while True:
            # The index lags behind the table, so it may show an item again.
            due = [one for one in self._due(shards) if (one.kind, one.id) not in seen]
            if not due:
                return done, True
            late = self._clock.now() - min(one.at for one in due)
            # Counted here, because the time may end before any of them is worked on.
            done = done.plus(Sweep(0, 0, late / SECOND))
            for start in range(0, len(due), CHUNK):
                if self._clock.monotonic() >= ends or self._is_down():
                    return done, False
                chunk = due[start : start + CHUNK]
                seen |= {(one.kind, one.id) for one in chunk}
                chunk_done, is_whole_chunk = self._sweep_chunk(chunk, pool, ends)
                done = done.plus(chunk_done)
                if not is_whole_chunk:
                    return done, False

    def _due(self, shards: tuple[str, ...]) -> list[DueItem]:
        """Return some of what is due: each caller's longest due first, then each one's second."""
        now = self._clock.now()
        due = [one for shard in shards for one in self._index.due(shard, now, BATCH)]
        due.sort(key=lambda one: one.at)
        ranks: Counter[str] = Counter()
        ranked = []
        for one in due:
            ranked.append((ranks[one.owner], one))
            ranks[one.owner] += 1
        return [one for _, one in sorted(ranked, key=itemgetter(0))]

    def _sweep_chunk(
        self, chunk: list[DueItem], pool: "ThreadPoolExecutor", ends: float
    ) -> tuple[Sweep, bool]:
        """Work on some items, as far as the cap and the time allow.

        Returns:
            What was done, and whether it was all.
        """
        read = zip(chunk, pool.map(self._task, chunk), strict=True)
        tasks = [(due, task) for due, task in read if task is not None]
        costs = [task.cost for _, task in tasks]
        minute = self._clock.now() // MINUTE
        granted = (
            self._quotas.allow("sweep", minute, sum(costs), self._per_minute) if any(costs) else 0
        )
        chosen = [
            one
            for one, cost, spent in zip(tasks, costs, accumulate(costs), strict=True)
            if spent <= granted or not cost
        ]
        settled = list(pool.map(lambda one: self._run(one[0], one[1], ends), chosen))
        is_all = len(chosen) == len(tasks) and self._clock.monotonic() < ends
        return Sweep(len(chunk), sum(settled), 0.0), is_all

    def _task(self, due: DueItem) -> Task | None:
        """Return an item's task. An item that can't be read must not block the others."""
        task = None
        try:
            task = self._kinds[due.kind](due)
        except errors.BrokerError as error:
            log.event("sweep_refused", code=error.code, **_id(due))
            return None
        except Exception as error:  # noqa: BLE001 - the other items come first
            log.failure("sweep_poisoned", error)
        if task is None:
            self._postpone(due)
        return task

    def _run(self, due: DueItem, task: Task, ends: float) -> bool:
        """Run a task; return whether nothing is left to do. A failure must not block the others."""
        if self._clock.monotonic() > ends:
            return False
        try:
            return task.run()
        except errors.BrokerError as error:
            log.event("sweep_refused", code=error.code, **_id(due))
        except Exception as error:  # noqa: BLE001 - the other items come first
            log.failure("sweep_poisoned", error)
            self._postpone(due)
        return False

    def _postpone(self, due: DueItem) -> None:
        # If postponing fails, the item stays first and the next sweep postpones it.
        with suppress(errors.BrokerError):
            self._index.postpone(due.kind, due.id, self._clock.now() + HOUR)


def _id(due: DueItem) -> dict[str, Any]:
    """Return the field of the log that names an item, as in `uploadId`."""
    return {f"{due.kind}Id": due.id}
