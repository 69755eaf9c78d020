"""What the rules of the state machine act by: operations, PUTs, answers, and the healing."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from hypothesis import note

from chalicelib.api import serializers
from chalicelib.core import errors
from chalicelib.uploads.errors import (
    FileRejected,
    FileTooLarge,
    ProjectNotFound,
    UploadCancelled,
    UploadExpired,
)
from chalicelib.uploads.models import Status, Upload
from chalicelib.uploads.outcomes import Outcome
from tests.machine import five_rules
from tests.machine.five_rules import UNFINISHED
from tests.machine.operation import Fate, Killed, Operation
from tests.machine.step_count import COUNTS
from tests.machine.surroundings import Parts, Snapshot, Surroundings, World
from tests.machine.trouble import FINAL, ODD, Order
from tests.support.upstream_process import KEY

if TYPE_CHECKING:
    from tests.machine.slow_put import SlowPut

LAMBDA_SECONDS = 30
LIST_LAG_SECONDS = 60  # less than the settle time, or no broker could do it
SMALL, LARGE, EMPTY = b"hello", b"hello world", b""  # the callers may upload 10, 10 and 100 bytes
HEALING_SWEEPS = 15
_STATES = {
    FileTooLarge: Status.FAILED,
    FileRejected: Status.FAILED,
    ProjectNotFound: Status.FAILED,
    UploadCancelled: Status.CANCELLED,
    UploadExpired: Status.EXPIRED,
}

Check = Callable[[Operation], None]


@dataclass(frozen=True)
class Known:
    """An upload whose id a caller was told."""

    id: str
    caller: int


class Bench:
    """One run: its world, what was seen last, and what must come of it.

    Args:
        around: The processes.
    """

    def __init__(self, around: Surroundings) -> None:
        self.world = World(around)
        self.seen: Snapshot = self.world.look()
        self.held: list[tuple[Operation, Check]] = []
        self.slow_puts: list[tuple[str, SlowPut]] = []
        self.landed: set[str] = set()
        self.promised: set[str] = set()
        self.oversize: set[str] = set()
        self.empty: set[str] = set()
        self.acknowledged: set[str] = set()
        self.url_uses: Counter[str] = Counter()
        self.lags_since: float | None = None
        self.odd_refusals = 0
        self.is_refused_for_good = self.is_shared = self.is_rewritten = self.is_slow = False

    def arm(self, order: Order, times: int, skip: int) -> None:
        """Let sync. fail."""
        method, path, fault = order
        self.is_slow |= fault["kind"] == "delay"
        self.is_refused_for_good |= fault is FINAL
        self.odd_refusals += times if fault is ODD else 0
        self.world.upstream.order(fault, method, path, times=times, skip=skip)

    def behave(self, name: str, value: Any) -> None:
        """Change how sync. behaves."""
        self.world.upstream.behave(**{name: value})
        if name == "assetUrl":
            self.world.asset_url = value

    def advance(self, seconds: float) -> None:
        """Let time pass, which ends what takes too long."""
        if self.is_slow:
            self.world.wait_until_idle()
        lag_ends = self.world.ahead + seconds - (self.lags_since or 0) > LIST_LAG_SECONDS
        if self.lags_since is not None and lag_ends:
            self.behave("listLagSeconds", 0)
            self.lags_since = None
        for operation, check in list(self.held):
            if self.world.ahead + seconds - operation.started >= LAMBDA_SECONDS:
                self.held.remove((operation, check))
                operation.kill()
        self.world.advance(seconds)

    def operation(self, work: Callable[[Parts], Any], broker: int, fate: Fate | None) -> Operation:
        """Prepare an operation of a broker that is built for it alone."""
        return Operation(
            lambda own: work(self.world.parts(broker, own.gate)), fate, self.world.ahead
        )

    def perform(
        self, work: Callable[[Parts], Any], broker: int, fate: Fate | None, check: Check
    ) -> Operation:
        """Carry out an operation until it is held or over."""
        operation = self.operation(work, broker, fate)
        operation.start()
        if operation.fate_came:
            COUNTS[f"times {operation.fate_came}"] += 1
        if operation.is_over:
            self.finish(operation, check)
        else:
            note("  held")
            self.held.append((operation, check))
        return operation

    def act(self, what: str, upload: Known, broker: int, fate: Fate | None) -> Operation:
        """Let an upload's caller do something about it, or a sweep come by."""
        caller = self.world.callers[upload.caller]
        if what == "sweep":
            return self.sweep(broker, fate)
        check = {"complete": self.check_outcome, "renew": self.check_renewed}.get(what)
        more = (None,) if what == "renew" else ()
        return self.perform(
            lambda parts: getattr(parts.uploads, what)(caller, upload.id, *more),
            broker,
            fate,
            lambda done: (check or self.check_cancelled)(done, upload.id),
        )

    def sweep(self, broker: int, fate: Fate | None) -> Operation:
        """Run the sweep."""
        if fate is not None and fate.kind == "hold" and self.due(broker) > 1:
            fate = None  # The sweep's threads would go on beside the rules.
        return self.perform(lambda parts: parts.sweeper.run(60), broker, fate, lambda _: None)

    def resume(self, operation: Operation, *, is_killed: bool = False) -> None:
        """Let an operation go on, or end there, if it is still held."""
        for held, check in list(self.held):
            if held is operation:
                self.held.remove((held, check))
                if is_killed:
                    operation.kill()
                else:
                    operation.resume()
                self.finish(operation, check)

    def finish(self, operation: Operation, check: Check) -> None:
        """Look at what an operation came to."""
        error = operation.error
        note(f"  {type(error).__name__ if error else operation.result!r}")
        if isinstance(error, Killed):
            return
        if error is not None and not isinstance(error, errors.BrokerError):
            raise error
        assert KEY not in f"{operation.result!r} {error!r} {getattr(error, '__cause__', None)!r}"
        check(operation)

    def told(self, operation: Operation, caller: int) -> Known | None:
        """Say which upload a caller was told of, if any."""
        if not operation.is_over or operation.error is not None:
            return None
        first = operation.result[0]
        upload: Upload = first.upload if isinstance(first, Outcome) else first
        return Known(upload.id, caller)

    def fresh(self, upload_id: str) -> Upload:
        """Read an upload past all gates."""
        return self.world.fresh(upload_id)

    def check_begun(self, operation: Operation) -> None:
        """Rule 4 for a 201 of `POST /uploads`."""
        if operation.error is None:
            upload = operation.result[0]
            assert KEY not in json.dumps(serializers.pending(upload, None, self.world.now()))
            assert upload.targets[0] in self.fresh(upload.id).targets

    def check_outcome(self, operation: Operation, known: str | None = None) -> None:
        """Rule 4 for `complete` and `POST /assets`: what is answered as final is recorded."""
        if operation.error is not None:
            state = _STATES.get(type(operation.error))  # type: ignore[call-overload]
            if state is not None and known is not None:
                record = self.fresh(known)
                assert record.status is state, f"{operation.error!r} of {record}"
            return
        result = operation.result if known is not None else operation.result[0]
        record = self.fresh(result.upload.id)
        assert KEY not in json.dumps(serializers.upload(result.upload))
        if result.retry_after is None:
            assert result.upload.status is Status.REGISTERED
            assert record.status is Status.REGISTERED
            assert record.asset == result.upload.asset
        if known is None:
            self.acknowledged.add(record.id)

    def check_renewed(self, operation: Operation, known: str) -> None:
        """Rule 4 for `renew`."""
        if operation.error is None:
            shown = {target.url for target in operation.result[0].targets}
            assert shown <= {target.url for target in self.fresh(known).targets}

    def check_cancelled(self, operation: Operation, known: str) -> None:
        """Rule 4 for `DELETE`."""
        if operation.error is None:
            assert self.fresh(known).status is Status.CANCELLED

    def put(self, upload_id: str, data: bytes, which: int) -> None:
        """PUT bytes to one of an upload's addresses."""
        targets = self.fresh(upload_id).targets
        if not targets:
            return
        headers = {"Content-Type": "video/mp4"}
        url = targets[which].upload_url
        if requests.put(url, data=data, headers=headers, timeout=30).status_code == 200:
            self.note_landed(upload_id, data)

    def note_landed(self, upload_id: str, data: bytes) -> None:
        """Remember what must come of an upload whose bytes are there now."""
        upload = self.fresh(upload_id)
        self.landed.add(upload_id)
        if data == LARGE:
            self.oversize.add(upload_id)
        if data == EMPTY:
            self.empty.add(upload_id)
        if five_rules.is_promised(upload, self.world.now()):
            self.promised.add(upload_id)

    def due(self, broker: int) -> int:
        """Count what a sweep would find."""
        now = self.world.now(broker)
        times = (upload.due_at for upload in self.world.look().uploads.values())
        return sum(at is not None and at <= now for at in times)

    def hold_rules(self) -> None:
        """Hold the five rules against what is there now."""
        now = self.world.look()
        five_rules.one_asset(now, self.url_uses)
        five_rules.own_assets(now, shared=self.is_shared)
        five_rules.final_stays(self.seen, now)
        five_rules.nothing_lost(now, self.world.now())
        five_rules.records_agree(now)
        five_rules.key_kept(now, self.world.log.getvalue())
        self.seen = now

    def heal(self) -> None:
        """End all trouble, let time pass and sweep until nothing is due."""
        for operation, _ in list(self.held):
            self.resume(operation)
        for upload_id, slow in self.slow_puts:
            if slow.finish() == 200:
                self.note_landed(upload_id, SMALL)
        self.slow_puts.clear()
        self.world.upstream.call("DELETE", "/_sandbox/faults")
        self.behave("listLagSeconds", 0)
        self.behave("assetUrl", "same")
        self.hold_rules()
        for _ in range(HEALING_SWEEPS):
            due = [one.due_at for one in self.seen.uploads.values() if one.due_at is not None]
            if not due:
                break
            self.advance(max(7200, (max(due) - self.world.now()) // 1000 + 1))
            self.sweep(0, None)
            self.hold_rules()

    def check_ends(self) -> None:
        """Rule 3: what landed is registered or failed; what did not land has ended without."""
        for upload in self.seen.uploads.values():
            if upload.status in UNFINISHED:
                assert self._needs_a_person(upload), f"{upload} never ends"
                continue
            assert upload.discarded is None, f"the asset of {upload} is never deleted"
            if not upload.is_file:
                assert upload.status is not Status.EXPIRED
                continue
            if upload.id in self.promised:
                ends = {Status.REGISTERED, Status.FAILED, Status.CANCELLED}
                if self.odd_refusals > 1:
                    # Twice after the end, they can't be told from "not uploaded".
                    ends.add(Status.EXPIRED)
                assert upload.status in ends, f"lost: {upload}"
            if upload.id not in self.landed:
                assert upload.status is not Status.REGISTERED
            if upload.status is Status.FAILED:
                assert upload.error is not None
                known = {"file_too_large": self.oversize, "file_empty": self.empty}
                is_unusable = upload.id in known.get(upload.error["code"], ())
                assert is_unusable or self.is_refused_for_good, f"failed for nothing: {upload}"
        assert self.acknowledged <= self.seen.uploads.keys()

    def _needs_a_person(self, upload: Upload) -> bool:
        """Say whether nobody can know which asset of a public URL is this upload's."""
        lines = [json.loads(line) for line in self.world.log.getvalue().splitlines()]
        alarms = {line["uploadId"] for line in lines if line["event"] == "outcome_undecided"}
        return not upload.is_file and upload.id in alarms

    def check_callers(self) -> None:
        """Each caller's lists show exactly its own, and every answer stays what it was."""
        lifecycle = self.world.admin.uploads
        for caller in self.world.callers:
            own = {one.id: one for one in self.seen.uploads.values() if one.owner == caller.id}
            listed = lifecycle.list_uploads(caller, 100, None).items
            assert {one.id for one in listed} == own.keys()
            times = [one.created_at for one in listed]
            assert times == sorted(times, reverse=True)
            assets = {one.asset.id for one in own.values() if one.asset is not None}
            shown = lifecycle.list_assets(caller, 100, None).items
            assert {one.asset.id for one in shown if one.asset is not None} == assets
            for one in own.values():
                if one.asset is not None:
                    again = lifecycle.complete(caller, one.id)
                    assert again.retry_after is None
                    assert again.upload.asset == one.asset
                    assert lifecycle.get_asset(caller, one.asset.id).asset == one.asset

    def close(self) -> None:
        """End what is still held, and forget the run."""
        for operation, _ in self.held:
            operation.kill()
        for _, slow in self.slow_puts:
            slow.close()
        self.world.close()
