"""Tries to register an upload, and what looks for a lost one find. Pure.

Times are whole milliseconds since 1970 (UTC).
"""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Attempt:
    """One try to register, or to find out what became of an earlier one.

    Attributes:
        id: Names the holder of the lease; a write that does not carry it is refused.
        lease_until: Until when nobody else may try.
        first_post_at: When the first POST of an unknown outcome was about to be sent.
        settle_at: Until when that POST may still be carried out by sync., so that a look that
            finds nothing proves nothing before.
        post_id: Names the attempt that may POST, or may have done so; a look does not change it.
        posts: How many POSTs were sent since the upload was last known to have no asset at Sync.
        walk: How far a look has come that could not read sync.'s list to its end, as `Walk` writes
            it; None where the next look begins with the newest asset.
    """

    id: str
    lease_until: int
    first_post_at: int
    settle_at: int
    post_id: str
    posts: int = 1
    walk: str | None = None


@dataclass(frozen=True)
class Walk:
    """A look that goes through sync.'s list in several calls.

    Attributes:
        began_at: When its first page was asked for: what was registered later may not be seen.
        cursor: Where it goes on; None at the newest asset.
        matching: What has been found of a public URL so far.
        signs: What else has been seen so far; the names are those of `verdict.py`.
    """

    began_at: int
    cursor: str | None = None
    matching: tuple[dict[str, Any], ...] = ()
    signs: frozenset[str] = frozenset()

    @classmethod
    def read(cls, text: str | None, now: int) -> "Walk":
        """Read what `write` wrote; begin anew where there is nothing."""
        if text is None:
            return cls(now)
        began_at, cursor, matching, signs = json.loads(text)
        return cls(began_at, cursor, tuple(matching), frozenset(signs))

    def write(self) -> str:
        """Write it as text, which an item can hold."""
        return json.dumps([self.began_at, self.cursor, self.matching, sorted(self.signs)])


@dataclass(frozen=True)
class Candidates:
    """What a look-up at sync. found.

    Attributes:
        matching: Assets with the same address, type, name and project, oldest first.
        undecided: Assets that may be it: they tell no address, or have another name or project.
        elsewhere: Assets of the type with another address, whose name and project may be the same.
            Nobody documents that sync. keeps the address, so each may be it.
        witnesses: Assets of the type, whatever they are called. Those that were recorded show
            whether sync. keeps addresses.
        next_cursor: Where the list goes on, if it was not read to its end.
    """

    matching: tuple[dict[str, Any], ...]
    undecided: tuple[dict[str, Any], ...]
    elsewhere: tuple[dict[str, Any], ...]
    witnesses: tuple[dict[str, Any], ...]
    next_cursor: str | None
