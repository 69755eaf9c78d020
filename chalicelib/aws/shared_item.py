"""An item that many containers write, with this container's last copy of it."""

from chalicelib.aws import codec
from chalicelib.aws.table import Change, Table, WriteResult
from chalicelib.core.clock import SECOND, Clock


class SharedItem:
    """An item of the table. Each write, granted or refused, brings a new copy.

    Args:
        table: The broker's table.
        pk: The item's key.
        clock: The time.

    Attributes:
        pk: The item's key.
        copy: The item as this container has seen it last; empty if it does not exist.
    """

    def __init__(self, table: Table, pk: str, clock: Clock) -> None:
        self.pk = pk
        self.copy: codec.Item = {}
        self._table = table
        self._clock = clock
        self._copied_at: float | None = None

    @property
    def age(self) -> float:
        """The milliseconds since the copy was made; infinite before the first one."""
        if self._copied_at is None:
            return float("inf")
        return (self._clock.monotonic() - self._copied_at) * SECOND

    def read(self) -> None:
        """Read the item.

        Raises:
            StoreUnavailable: It can't be read.
        """
        asked_at = self._clock.monotonic()
        self._keep(self._table.get(self.pk), asked_at)

    def write(self, change: Change) -> WriteResult[codec.Item]:
        """Write a change of the item, if its condition allows it.

        Raises:
            StoreUnavailable: It can't be written.
        """
        asked_at = self._clock.monotonic()
        written = self._table.write(change)
        self._keep(written.item, asked_at)
        return written

    def _keep(self, item: codec.Item | None, asked_at: float) -> None:
        self.copy, self._copied_at = item or {}, asked_at
