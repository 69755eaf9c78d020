"""The steps of a run, in their order.

The first asset is deleted before others are made. If Sync does not allow that, no others are made,
so a run leaves two assets behind at most.
"""

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, unquote

from chalicelib.core.clock import Clock
from chalicelib.core.types import Json
from chalicelib.syncapi.models import Presigned
from ops.probing import marks
from ops.probing.calls import Call, Caller, Exchange, NotDone
from ops.probing.cleanup import Cleaner, created, items_of
from ops.probing.evidence import CONTENT_TYPES, Evidence, Sent
from ops.probing.journal import Journal
from ops.terminal import Terminal

RUN_SECONDS = 110.0
LAG_SECONDS = 30.0  # how long a new asset is looked for in the list
REGISTER_SECONDS = 40.0
_POLL_SECONDS = 0.5
_OTHER_LIST_SECONDS = 5.0  # how long an asset that one list shows is looked for in the other
_LARGEST = 5_368_709_120  # bytes of a file; documented as 5 GiB
_DIGEST_SECONDS = 3.0  # until a missing digest is asked for once more
_ABOUT_OTHERS = "register an unreachable URL"  # a 5xx of Sync may be about the other server
_UNREACHABLE = "https://sync-upload-broker-probe.invalid/{run}.wav"


@dataclass(frozen=True)
class Options:
    """What an operator chooses.

    Attributes:
        origin: The origin of the page whose preflight is sent.
        project_id: The project in which an asset is made; None for the first that Sync lists.
        seconds: How long the run may take.
    """

    origin: str
    project_id: str | None = None
    seconds: float = RUN_SECONDS


@dataclass(frozen=True)
class Step:
    """A step of a run.

    Attributes:
        asks: What it sends and why, for `--dry-run`.
        take: Takes it.
    """

    asks: str
    take: Callable[["Run"], None]


class Run:
    """A run.

    Args:
        caller: Makes the calls.
        journal: Records what is made.
        clock: The time.
        options: The operator's choices.
        terminal: Shows progress, and masks the presigned URLs.
    """

    def __init__(
        self,
        caller: Caller,
        journal: Journal,
        clock: Clock,
        options: Options,
        terminal: Terminal,
    ) -> None:
        self.seen = Evidence(origin=options.origin)
        self.cleaner = Cleaner(caller, journal, clock)
        self._caller = caller
        self._journal = journal
        self._clock = clock
        self._options = options
        self._terminal = terminal
        self._mark = marks.new_run()
        self._content = b""
        self._presigned: dict[str, Presigned] = {}
        self._file_names: dict[str, str] = {}
        self._first: Json = {}

    # What a step sends, and what it keeps.

    def _record(self, step: str, send: Callable[[], Exchange]) -> Exchange | None:
        """Keep the response of a request, or why it has no response."""
        try:
            found = send()
        except NotDone as gap:
            self.seen.gaps[step] = gap.reason
            self.seen.failed.append(step)
            return None
        self.seen.responses[step] = found
        is_fault = found.status >= 500 and (found.body is None or step != _ABOUT_OTHERS)  # noqa: PLR2004 - the first status of a fault
        if found.is_busy or is_fault:
            self.seen.failed.append(step)
        return found

    def _presign(self, step: str, content_type: str, size: int) -> None:
        name = marks.file_name(self._mark, len(self._file_names) + 1)
        self._file_names[step] = name
        body = {"fileName": name, "contentType": content_type, "size": size}
        found = self._record(step, lambda: self._caller.send(Call.PRESIGN, body=body))
        if found is None or not found.is_success or found.body is None:
            return
        if "expiresIn" in found.body:
            self.seen.expiries.append(found.body["expiresIn"])
        upload_url, url = found.body.get("uploadUrl"), found.body.get("url")
        if isinstance(upload_url, str) and isinstance(url, str):
            self._terminal.hide(upload_url)
            self._presigned[step] = Presigned(upload_url, url, 0)

    def _need(self, step: str, presign: str) -> Presigned | None:
        """Return a presign that a step needs, or note that it is missing."""
        found = self._presigned.get(presign)
        if found is None:
            self.seen.gaps[step] = f"was not sent: `{presign}` gave no URL"
        return found

    def _register(
        self,
        step: str,
        sent: Sent,
        content: bytes | None = None,
        asset_type: str = marks.ASSET_TYPE,
        *,
        is_unique: bool = True,
    ) -> Json | None:
        """Register a URL. The journal has it before it is sent.

        Args:
            step: The step.
            sent: The fields of the registration.
            content: The random bytes that were uploaded; None for others.
            asset_type: The asset's type.
            is_unique: Whether nobody else can have an asset of this URL or content.

        Returns:
            The asset, or None if no asset was made.
        """
        body: Json = {"url": sent.url, "type": asset_type}
        body |= {} if sent.name is None else {"name": sent.name}
        body |= {} if sent.project_id is None else {"projectId": sent.project_id}
        self.seen.sent[step] = sent
        digest = hashlib.sha256(content).hexdigest() if content else ""
        intent = self._journal.begin(
            base_url=self._caller.base_url, run=self._mark, at=self._clock.now(), sha256=digest
        )

        def send() -> Exchange:
            try:
                return self._caller.send(Call.REGISTER, body=body, seconds=REGISTER_SECONDS)
            except NotDone as gap:
                if not gap.is_ambiguous:
                    self._journal.end(intent)
                raise

        found = self._record(step, send)
        if found is None:
            return None
        asset_id = (found.body or {}).get("id")
        if not found.is_success or not isinstance(asset_id, str) or found.body is None:
            if 400 <= found.status < 500:  # noqa: PLR2004 - only a 4xx means that nothing was made
                self._journal.end(intent)
            return None
        self._see(step, found.body)
        if not is_unique and self._is_older(found.body):
            # Sync might return an asset of somebody else that has the same content.
            gap = "was not sent: the asset is older than this run"
            self.seen.gaps["delete the empty asset"] = gap
            self._journal.end(intent)
            return None
        self._journal.made(intent, asset_id)
        return found.body

    def _is_older(self, asset: Json) -> bool:
        """Whether an asset was made before this run's first one, by Sync's clock."""
        if marks.has_mark(asset, self._mark):
            return False
        created_at, first = created(asset), created(self._first)
        return created_at is None or first is None or created_at < first

    def _see(self, step: str, asset: Json) -> None:
        self.seen.assets.setdefault(step, []).append(asset)

    def _delete(self, asset: Json, step: str) -> None:
        self._record(step, lambda: self.cleaner.delete(str(asset["id"])))

    # The steps.

    def read_without_key(self) -> None:
        """Send a call without a key, and one with a wrong key, but never the real one."""
        self._record("read without a key", self._caller.without_key)
        wrong = f"sk-{secrets.token_hex(16)}"
        self._record(
            "read with a wrong key",
            lambda: self._caller.send(Call.LIST, query={"limit": "1"}, key=wrong),
        )

    def read_malformed_id(self) -> None:
        """Read an asset by an id that is not a UUID."""
        self._record(
            "read a malformed id", lambda: self._caller.send(Call.READ, "not-an-id-of-an-asset")
        )

    def presign(self) -> None:
        """Presign files of usual and unusual types and sizes."""
        self._content = marks.content()
        self._presign("presign", marks.CONTENT_TYPE, len(self._content))
        for content_type in CONTENT_TYPES:
            self._presign(f"presign {content_type}", content_type, 1)
        for step, size in (
            ("presign 0 bytes", 0),
            ("presign 5 GiB and a byte", _LARGEST + 1),
            ("presign 5 GiB", _LARGEST),
        ):
            self._presign(step, marks.CONTENT_TYPE, size)

    def register_nothing(self) -> None:
        """Register a file that was not uploaded, and a key of storage that does not exist."""
        step = "register before the upload"
        if vacant := self._need(step, "presign video/mp4"):
            sent = Sent(vacant.url, marks.asset_name(self._mark))
            self._register(step, sent, asset_type="VIDEO")
        step = "register an unknown key of storage"
        if known := self._need(step, "presign"):
            self._register(step, Sent(_other_key(known.url), marks.asset_name(self._mark)))

    def preflight(self) -> None:
        """Send storage the preflight of a page's PUT."""
        if presigned := self._need("preflight", "presign"):
            try:
                self.seen.cors_refusal = self._caller.preflight(presigned, self._options.origin)
            except NotDone as gap:
                self.seen.gaps["preflight"] = gap.reason
                self.seen.failed.append("preflight")

    def register(self) -> None:
        """Upload and register a file, look at its asset, register it again, and delete it."""
        presigned = self._need("register", "presign")
        if presigned is None or not self._put("put", presigned, self._content):
            self.seen.gaps.setdefault("register", "was not sent: the upload failed")
            return
        sent = Sent(presigned.url, marks.asset_name(self._mark))
        asset = self._register("register", sent, self._content)
        if asset is None:
            return
        self._first = asset
        self._measure_lag(asset)
        self._find_by_digest(asset)
        self._read(asset, presigned)
        again = self._register("register again", sent, self._content)
        self._delete(asset, "delete")
        if again is not None and again["id"] != asset["id"]:
            self._delete(again, "delete the second asset")

    def _put(
        self, step: str, presigned: Presigned, content: bytes, kind: str = "audio/wav"
    ) -> bool:
        found = self._record(step, lambda: self._caller.put(presigned, kind, content))
        return found is not None and found.is_success

    def _find_in_list(self, asset: Json, project_id: str | None, seconds: float) -> float | None:
        """Read the list until it shows an asset, and return after how many seconds it did.

        Args:
            asset: The asset.
            project_id: The project whose list is read; None for the list without a project.
            seconds: How long to try.

        Returns:
            The seconds, or None if it did not show the asset.

        Raises:
            NotDone: The list could not be read.
        """
        query = {"sortBy": "dateDesc", "limit": "100", "types": marks.ASSET_TYPE}
        query |= {} if project_id is None else {"projectId": project_id}
        began_at = self._clock.monotonic()
        while True:
            waited = self._clock.monotonic() - began_at
            found = self._record("list", lambda: self._caller.send(Call.LIST, query=query))
            if found is None or not found.is_success or found.body is None:
                raise NotDone(self.seen.gaps.get("list", "was refused"))
            shown = [one for one in items_of(found.body) if one["id"] == asset["id"]]
            if shown:
                if asset is self._first:
                    self._see("register", shown[0])
                return waited
            if waited > seconds or self._caller.left < _POLL_SECONDS:
                return None
            self._clock.sleep(_POLL_SECONDS)

    def _measure_lag(self, asset: Json) -> None:
        try:
            lag = self._find_in_list(asset, None, LAG_SECONDS)
        except NotDone as gap:
            self.seen.gaps["lag of the list"] = f"is unknown: `list` {gap.reason}"
            return
        if lag is None:
            self.seen.gaps["lag of the list"] = "is longer than the probe waits for it"
        else:
            self.seen.list_lag = round(lag, 1)

    def _find_by_digest(self, asset: Json) -> None:
        digest = hashlib.sha256(self._content).hexdigest()
        query = {"contentSha256": digest, "type": marks.ASSET_TYPE}

        def send() -> Exchange:
            return self._caller.send(Call.UPLOADED, query=query)

        found = self._record("find by digest", send)
        if found is not None and found.is_success and not (found.body or {}).get("asset"):
            self._clock.sleep(_DIGEST_SECONDS)
            found = self._record("find by digest", send)
        shown = ((found.body if found else None) or {}).get("asset")
        if isinstance(shown, dict) and shown.get("id") == asset["id"]:
            self._see("register", shown)

    def _read(self, asset: Json, presigned: Presigned) -> None:
        asset_id = str(asset["id"])
        found = self._record("read", lambda: self._caller.send(Call.READ, asset_id))
        if found is not None and found.is_success and found.body is not None:
            self._see("register", found.body)
        self._record("HEAD of the asset", lambda: self._caller.send(Call.HEAD, asset_id))
        self._record("HEAD of its URL", lambda: self._caller.head(presigned))

    def _may_make_more(self, step: str) -> bool:
        """Whether an asset may be made, since assets can be deleted."""
        deletion = self.seen.responses.get("delete")
        if deletion is not None and deletion.is_success:
            return True
        self.seen.gaps[step] = "was not sent: the first asset could not be made and deleted"
        return False

    def register_empty(self) -> None:
        """Upload and register an empty object."""
        step = "register an empty object"
        if not self._may_make_more(step):
            return
        vacant = self._need(step, "presign video/mp4")
        if vacant is None:
            return
        if not self._put("put nothing", vacant, b"", "video/mp4"):
            self.seen.gaps[step] = "was not sent: storage did not take an empty object"
            return
        sent = Sent(vacant.url, marks.asset_name(self._mark))
        if asset := self._register(step, sent, asset_type="VIDEO", is_unique=False):
            self._delete(asset, "delete the empty asset")

    def register_without_name(self) -> None:
        """Upload and register a file without a name, if its asset can be found in another way."""
        step = "register without a name"
        if not self._may_make_more(step):
            return
        shown = self.seen.assets.get("register", [])
        has_url = bool(shown) and all(self._mark in str(one.get("url") or "") for one in shown)
        digest = self.seen.responses.get("find by digest")
        if not has_url and not (digest and (digest.body or {}).get("asset")):
            self.seen.gaps[step] = (
                "was not sent: without URL and digest, the asset could not be found again if this"
                " run was interrupted"
            )
            return
        if asset := self._register_another(step, None):
            self._delete(asset, "delete the asset without a name")

    def _register_another(self, step: str, project_id: str | None) -> Json | None:
        """Upload another file, and register it: without a name, or in a project."""
        content = marks.content()
        presign = f"presign to {step}"
        self._presign(presign, marks.CONTENT_TYPE, len(content))
        presigned = self._need(step, presign)
        if presigned is None or not self._put(f"put to {step}", presigned, content):
            self.seen.gaps.setdefault(step, "was not sent: the upload failed")
            return None
        name = None if project_id is None else marks.asset_name(self._mark)
        sent = Sent(presigned.url, name, project_id, self._file_names[presign])
        return self._register(step, sent, content)

    def register_in_project(self) -> None:
        """Upload and register a file in a project, and look for it in both lists."""
        step = "register in a project"
        if not self._may_make_more(step):
            return
        project_id = self._options.project_id or self._first_project()
        if project_id is None:
            self.seen.gaps[step] = "was not sent: no project is known (use --project)"
            return
        asset = self._register_another(step, project_id)
        if asset is None:
            return
        try:
            if self._find_in_list(asset, project_id, LAG_SECONDS) is not None:
                # The two lists may lag differently, so one more look is not enough.
                lag = self._find_in_list(asset, None, _OTHER_LIST_SECONDS)
                self.seen.in_unfiltered_list = lag is not None
        except NotDone as gap:
            self.seen.gaps["list of the project"] = f"is unknown: `list` {gap.reason}"
        self._delete(asset, "delete the asset in a project")

    def _first_project(self) -> str | None:
        query = {"limit": "1"}
        found = self._record("list projects", lambda: self._caller.send(Call.PROJECTS, query=query))
        items = items_of(found.body or {}) if found is not None and found.is_success else []
        return str(items[0]["id"]) if items else None

    def register_unreachable(self) -> None:
        """Register a public URL under a reserved name, which nobody's server has."""
        url = _UNREACHABLE.format(run=self._mark)
        sent = Sent(url, marks.asset_name(self._mark))
        if asset := self._register(_ABOUT_OTHERS, sent):
            self._delete(asset, "delete the asset without a file")

    def take_steps(self) -> None:
        """Take all steps, as long as there is time."""
        for step in STEPS:
            self._terminal.progress(f"  {step.asks}")
            step.take(self)


STEPS = (
    Step("GET /v2/assets without a key and with a wrong key", Run.read_without_key),
    Step("GET /v2/assets/{id} with a malformed id", Run.read_malformed_id),
    Step("POST /v2/assets/upload: four types; 0 bytes, 5 GiB, 5 GiB and a byte", Run.presign),
    Step("POST /v2/assets without an upload, and with an unknown key", Run.register_nothing),
    Step("OPTIONS of a presigned URL, from the origin of a page", Run.preflight),
    Step("PUT, POST /v2/assets twice, reads of the asset, DELETE", Run.register),
    Step("PUT of no bytes, POST /v2/assets, DELETE", Run.register_empty),
    Step("PUT, POST /v2/assets without a name, DELETE", Run.register_without_name),
    Step("PUT, POST /v2/assets in a project, both lists, DELETE", Run.register_in_project),
    Step("POST /v2/assets with a URL under the reserved name .invalid", Run.register_unreachable),
)


def _other_key(url: str) -> str:
    """Return an object's URL with a random key in place of its own.

    The key is the last segment but one. Without such a segment, the file's name is changed.
    """
    path, _, name = url.rpartition("/")
    parent, _, key = path.rpartition("/")
    if "//" in parent and re.fullmatch(r"[A-Za-z0-9_-]+", key):
        return f"{parent}/{secrets.token_hex((len(key) + 1) // 2)[: len(key)]}/{name}"
    return f"{path}/{quote(secrets.token_hex(8) + unquote(name), safe='')}"
