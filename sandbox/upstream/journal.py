"""The journal of requests that the upstream received, for tests and for debugging."""

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
        path: As received, but without the query, so that no signature is recorded.
        status: The response's status; None before it is sent and if the connection was cut.
        outcome: The upstream's action, in words.
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
        """Add a request that has just arrived, and return its entry. Its outcome is set later."""
        entry = Entry(time, method, path)
        self._entries.append(entry)
        return entry

    def to_json(self) -> list[dict[str, Any]]:
        """Return all entries, oldest first."""
        return [asdict(entry) for entry in self._entries]

    def clear(self) -> None:
        """Delete all entries."""
        self._entries.clear()
