"""The parts of the running upstream, which every handler gets from here."""

from asyncio import Task
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from sandbox.upstream.assets import Assets
from sandbox.upstream.behavior import Behavior
from sandbox.upstream.database import Database
from sandbox.upstream.faults import Action, Faults
from sandbox.upstream.journal import Entry, Journal
from sandbox.upstream.objects import ObjectStore
from sandbox.upstream.probing import MediaProbe
from sandbox.upstream.ratelimit import RateLimit
from sandbox.upstream.settings import Settings
from sandbox.upstream.signing import UrlSigner


@dataclass
class Upstream:
    """The upstream's parts.

    Attributes:
        settings: The settings from the environment.
        clock: Returns Unix seconds by the real clock.
        behavior: The present behaviours; handlers read them at each use.
    """

    settings: Settings
    clock: Callable[[], float]
    database: Database
    objects: ObjectStore
    assets: Assets
    probe: MediaProbe
    signer: UrlSigner
    behavior: Behavior
    journal: Journal = field(default_factory=Journal)
    faults: Faults = field(default_factory=Faults)
    presigns: RateLimit = field(default_factory=RateLimit)
    voices: RateLimit = field(default_factory=lambda: RateLimit(3600.0))
    tasks: set[Task[Any]] = field(default_factory=set)

    def now(self) -> float:
        """Return Unix seconds by the upstream's clock, which may be ahead or behind."""
        return self.clock() + self.behavior.clock_skew_seconds

    def cancel_tasks(self) -> None:
        """Cancel the scheduled webhooks."""
        for task in self.tasks:
            task.cancel()

    def reset(self) -> None:
        """Delete everything, as if the data folder were new."""
        self.cancel_tasks()
        self.database.clear()
        self.objects.clear()
        self.probe.clear()
        # URLs that were signed before the reset must be invalid after it.
        self.signer = UrlSigner(self.database.secret())
        self.behavior = self.settings.behavior
        self.journal.clear()
        self.faults.clear()
        self.presigns.clear()
        self.voices.clear()


UPSTREAM = web.AppKey("upstream", Upstream)
ENTRY = web.RequestKey("entry", Entry)
ACTIONS = web.RequestKey("actions", tuple[Action, ...])


def upstream_of(request: web.Request) -> Upstream:
    """Return the upstream that handles a request."""
    return request.app[UPSTREAM]


def note(request: web.Request, outcome: str) -> None:
    """Set the outcome of a request in the journal, if the journal has the request."""
    entry = request.get(ENTRY)
    if entry is not None:
        entry.outcome = outcome


def open_upstream(settings: Settings, clock: Callable[[], float]) -> Upstream:
    """Open the data folder, and return the upstream."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    database = Database(settings.folder / "upstream.sqlite3")
    return Upstream(
        settings=settings,
        clock=clock,
        database=database,
        objects=ObjectStore(settings.folder, database),
        assets=Assets(database, settings.origin),
        probe=MediaProbe(settings.folder / "thumbnails"),
        signer=UrlSigner(database.secret()),
        behavior=settings.behavior,
    )
