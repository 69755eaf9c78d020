"""Work that is due."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One piece of due work, read and ready to run.

    Attributes:
        cost: How many requests to Sync it may send of those that are capped for each minute.
        run: Does the work. Returns whether nothing is left to do; raises BrokerError if the work
            must be tried again.
    """

    cost: int
    run: Callable[[], bool]
