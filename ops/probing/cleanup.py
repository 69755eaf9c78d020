"""Delete what the probe has made, in this run or in an earlier one that was interrupted.

Only an asset that is certainly the probe's is deleted: its id was recorded, its content or URL is
random and recorded, or its name has the random mark of a recorded run.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from chalicelib.core.clock import HOUR, MINUTE, Clock
from chalicelib.core.types import Json
from ops.probing import marks
from ops.probing.calls import Call, Caller, Exchange, NotDone
from ops.probing.journal import Intent, Journal

# A registration that was interrupted may still be carried out, and then be listed late.
SETTLED_AFTER = 10 * MINUTE
# A run takes two minutes at most, so an older asset is not that of a probe that is running.
ABANDONED_AFTER = 5 * MINUTE
_LARGEST_SKEW = HOUR  # between Sync's clock and this machine's
_PAGES = 5  # of 100 assets, newest first
_NOT_FOUND = 404


@dataclass
class Cleaned:
    """What the clean-up has done.

    Attributes:
        deleted: The ids of deleted assets.
        left: Why an asset could not be deleted, by its id.
        open_count: How many registrations of this Sync may still have an asset.
        young: The ids of assets of other runs that may be running.
        gaps: Why assets could not be searched.
    """

    deleted: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    open_count: int = 0
    young: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


class Cleaner:
    """Delete the assets of the probe.

    Args:
        caller: Makes the calls.
        journal: The registrations that were sent.
        clock: The time.

    Attributes:
        done: What was done so far.
    """

    def __init__(self, caller: Caller, journal: Journal, clock: Clock) -> None:
        self._caller = caller
        self._journal = journal
        self._clock = clock
        self.done = Cleaned()

    def delete(self, asset_id: str) -> Exchange:
        """Delete an asset, and return the response.

        Raises:
            NotDone: There is no response.
        """
        exchange = self._caller.send(Call.DELETE, asset_id)
        if exchange.is_success or exchange.status == _NOT_FOUND:
            self.done.deleted.append(asset_id)
            self.done.left.pop(asset_id, None)
            for intent in self._journal.open_intents:
                if intent.asset_id == asset_id:
                    self._journal.end(intent)
        else:
            code = f" `{exchange.code}`" if exchange.code else ""
            self.done.left[asset_id] = f"Sync returned {exchange.status}{code}"
        return exchange

    def _try_to_delete(self, asset_id: str) -> None:
        if asset_id in self.done.deleted:
            return
        try:
            self.delete(asset_id)
        except NotDone as gap:
            self.done.left[asset_id] = f"the deletion {gap.reason}"

    def clean(self) -> Cleaned:
        """Delete the assets of all recorded registrations, and return what was done."""
        intents = [
            one for one in self._journal.open_intents if one.base_url == self._caller.base_url
        ]
        for asset_id in dict.fromkeys(one.asset_id for one in intents if one.asset_id):
            self._try_to_delete(asset_id)
        ambiguous = [one for one in intents if one.asset_id is None]
        if ambiguous:
            self._search(ambiguous)
        self.done.open_count = len(
            [
                one
                for one in self._journal.open_intents
                if one.base_url == self._caller.base_url and one.asset_id is None
            ]
        )
        return self.done

    def _search(self, intents: list[Intent]) -> None:
        """Delete the assets of registrations whose outcome is unknown."""
        began_at = self._clock.now()
        try:
            for found in self._find(intents):
                self._try_to_delete(found)
        except NotDone as gap:
            self.done.gaps.append(f"A search for assets {gap.reason}.")
            return
        for intent in intents:
            if intent.at + SETTLED_AFTER < began_at and not self.done.left:
                self._journal.end(intent)

    def _find(self, intents: list[Intent]) -> Iterator[str]:
        """Yield the ids of the assets of some registrations."""
        runs = sorted({one.run for one in intents})
        for run in runs:
            yield from self._named(run)
        for digest in sorted({one.sha256 for one in intents if one.sha256}):
            query = {"contentSha256": digest, "type": marks.ASSET_TYPE}
            found = (self._caller.send(Call.UPLOADED, query=query).body or {}).get("asset")
            if isinstance(found, dict) and isinstance(found.get("id"), str):
                yield str(found["id"])
        since = min(one.at for one in intents) - _LARGEST_SKEW
        for asset in self._newest(since):
            if any(marks.has_mark(asset, run) for run in runs):
                yield str(asset["id"])

    def _named(self, run: str) -> Iterator[str]:
        """Yield the ids of the assets whose names have a run's mark, also if Sync hides names."""
        found = self._list({"searchQuery": run})
        hidden = [one for one in found if not marks.has_mark(one, run)]
        # If the search ignored its query, a mark that nothing has would find assets too.
        is_exact = bool(hidden) and not self._list({"searchQuery": marks.new_run()})
        for asset in found:
            if is_exact or asset not in hidden:
                yield str(asset["id"])

    def _newest(self, since: int) -> Iterator[Json]:
        """Yield the assets of the list, newest first, that are not older than a time."""
        query = {"sortBy": "dateDesc"}
        for _ in range(_PAGES):
            page = self._page(query)
            for asset in items_of(page):
                created_at = created(asset)
                if created_at is not None and created_at < since:
                    return
                yield asset
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str):
                return
            query["cursor"] = cursor

    def delete_abandoned(self) -> Exchange:
        """Delete assets of runs that no journal here records, and return the response of the list.

        Raises:
            NotDone: There is no response.
        """
        response = self._caller.send(Call.LIST, query={"limit": "100", "searchQuery": marks.PREFIX})
        for asset in items_of(response.body or {}):
            created_at = created(asset)
            if not marks.is_named_by_probe(asset):
                continue
            asset_id = str(asset["id"])
            if created_at is not None and created_at < self._clock.now() - ABANDONED_AFTER:
                self._try_to_delete(asset_id)
            else:
                self.done.young.append(asset_id)
        return response

    def _list(self, query: dict[str, str]) -> list[Json]:
        return items_of(self._page(query))

    def _page(self, query: dict[str, str]) -> Json:
        response = self._caller.send(Call.LIST, query={"limit": "100", **query})
        if not response.is_success or response.body is None:
            raise NotDone(f"returned {response.status}")
        return response.body


def items_of(page: Json) -> list[Json]:
    """Return the assets of a page."""
    items = page.get("items")
    found = items if isinstance(items, list) else []
    return [one for one in found if isinstance(one, dict) and isinstance(one.get("id"), str)]


def created(asset: Json) -> int | None:
    """Return when an asset was made, in milliseconds since 1970; None if that can't be read."""
    try:
        return int(datetime.fromisoformat(str(asset.get("createdAt"))).timestamp() * 1000)
    except ValueError:
        return None
