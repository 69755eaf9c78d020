"""What the upstream received, for tests and for people who ask what really happened."""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

KEPT = 10_000


@dataclass
class Entry:
    """One request.

    Attributes:
        time: Arrival by the real clock, Unix seconds.
        method: HTTP method.
        path: As received, without the query: no signature ever gets here.
        status: Of the answer; None while there is none, and for good where the connection was cut.
        outcome: What the upstream did, in words.
    """

    time: float
    method: str
    path: str
    status: int | None = None
    outcome: str = "in progress"


class Journal:
    """The last requests in the order of their arrival."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)

    def open(self, *, time: float, method: str, path: str) -> Entry:
        """Record a request that has just arrived; its outcome is written into the entry later."""
        entry = Entry(time, method, path)
        self._entries.append(entry)
        return entry

    def to_json(self) -> list[dict[str, Any]]:
        """Give all entries, oldest first."""
        return [asdict(entry) for entry in self._entries]

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
