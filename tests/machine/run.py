"""One run of the state machine: its operations, its PUTs, and the checks of their outcomes."""

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
from tests.machine import invariants
from tests.machine.invariants import UNFINISHED
from tests.machine.operation import Interruption, Killed, Operation
from tests.machine.step_count import COUNTS
from tests.machine.strategies import FINAL, ODD, Order
from tests.machine.system import Parts, Services, Snapshot, System
from tests.support.upstream_process import KEY

if TYPE_CHECKING:
    from tests.machine.slow_put import SlowPut

LAMBDA_SECONDS = 30
LIST_LAG_SECONDS = 60  # less than the settle time, as the broker requires
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
class KnownUpload:
    """An upload whose id a caller has received."""

    id: str
    caller: int


class Run:
    """One run: its system, the last snapshot, and what must become of each upload.

    Args:
        services: The processes.
    """

    def __init__(self, services: Services) -> None:
        self.system = System(services)
        self.seen: Snapshot = self.system.snapshot()
        self.held: list[tuple[Operation, Check]] = []
        self.slow_puts: list[tuple[str, SlowPut]] = []
        self.landed: set[str] = set()
        self.must_finish: set[str] = set()
        self.oversize: set[str] = set()
        self.empty: set[str] = set()
        self.acknowledged: set[str] = set()
        self.url_uses: Counter[str] = Counter()
        self.lags_since: float | None = None
        self.odd_refusals = 0
        self.is_refused_for_good = self.is_shared = self.is_rewritten = self.is_slow = False

    def order_fault(self, order: Order, times: int, skip: int) -> None:
        """Let Sync fail."""
        method, path, fault = order
        self.is_slow |= fault["kind"] == "delay"
        self.is_refused_for_good |= fault is FINAL
        self.odd_refusals += times if fault is ODD else 0
        self.system.upstream.order(fault, method, path, times=times, skip=skip)

    def behave(self, name: str, value: Any) -> None:
        """Change how Sync behaves."""
        self.system.upstream.behave(**{name: value})
        if name == "assetUrl":
            self.system.asset_url = value

    def advance(self, seconds: float) -> None:
        """Let time pass, which ends operations that take too long."""
        if self.is_slow:
            self.system.wait_until_idle()
        lag_ends = self.system.ahead + seconds - (self.lags_since or 0) > LIST_LAG_SECONDS
        if self.lags_since is not None and lag_ends:
            self.behave("listLagSeconds", 0)
            self.lags_since = None
        for operation, check in list(self.held):
            if self.system.ahead + seconds - operation.started >= LAMBDA_SECONDS:
                self.held.remove((operation, check))
                operation.kill()
        self.system.advance(seconds)

    def operation(
        self, work: Callable[[Parts], Any], broker: int, interruption: Interruption | None
    ) -> Operation:
        """Return an operation of a broker that is built for it alone."""
        return Operation(
            lambda own: work(self.system.parts(broker, own.intercept)),
            interruption,
            self.system.ahead,
        )

    def perform(
        self,
        work: Callable[[Parts], Any],
        broker: int,
        interruption: Interruption | None,
        check: Check,
    ) -> Operation:
        """Run an operation until it is held or over."""
        operation = self.operation(work, broker, interruption)
        operation.start()
        if operation.interrupted:
            COUNTS[f"times {operation.interrupted}"] += 1
        if operation.is_over:
            self.finish(operation, check)
        else:
            note("  held")
            self.held.append((operation, check))
        return operation

    def act(
        self, what: str, upload: KnownUpload, broker: int, interruption: Interruption | None
    ) -> Operation:
        """Run one action of an upload's caller, or a sweep."""
        caller = self.system.callers[upload.caller]
        if what == "sweep":
            return self.sweep(broker, interruption)
        check = {"complete": self.check_outcome, "renew": self.check_renewed}.get(what)
        more = (None,) if what == "renew" else ()
        return self.perform(
            lambda parts: getattr(parts.uploads, what)(caller, upload.id, *more),
            broker,
            interruption,
            lambda done: (check or self.check_cancelled)(done, upload.id),
        )

    def sweep(self, broker: int, interruption: Interruption | None) -> Operation:
        """Run the sweep."""
        if interruption is not None and interruption.kind == "hold" and self.due(broker) > 1:
            interruption = None  # The sweep's threads would run on during the next steps.
        return self.perform(
            lambda parts: parts.sweeper.run(60), broker, interruption, lambda _: None
        )

    def resume(self, operation: Operation, *, is_killed: bool = False) -> None:
        """Let a held operation continue, or kill it."""
        for held, check in list(self.held):
            if held is operation:
                self.held.remove((held, check))
                if is_killed:
                    operation.kill()
                else:
                    operation.resume()
                self.finish(operation, check)

    def finish(self, operation: Operation, check: Check) -> None:
        """Check an operation's outcome."""
        error = operation.error
        note(f"  {type(error).__name__ if error else operation.result!r}")
        if isinstance(error, Killed):
            return
        if error is not None and not isinstance(error, errors.BrokerError):
            raise error
        assert KEY not in f"{operation.result!r} {error!r} {getattr(error, '__cause__', None)!r}"
        check(operation)

    def known_upload(self, operation: Operation, caller: int) -> KnownUpload | None:
        """Return the upload whose id the caller has received, if any."""
        if not operation.is_over or operation.error is not None:
            return None
        first = operation.result[0]
        upload: Upload = first.upload if isinstance(first, Outcome) else first
        return KnownUpload(upload.id, caller)

    def read_upload(self, upload_id: str) -> Upload:
        """Read an upload, past all interceptors."""
        return self.system.read_upload(upload_id)

    def check_begun(self, operation: Operation) -> None:
        """Check rule 4 for a 201 of `POST /uploads`."""
        if operation.error is None:
            upload = operation.result[0]
            assert KEY not in json.dumps(serializers.pending(upload, None, self.system.now()))
            assert upload.targets[0] in self.read_upload(upload.id).targets

    def check_outcome(self, operation: Operation, known: str | None = None) -> None:
        """Check rule 4 for `complete` and `POST /assets`: a final response is recorded."""
        if operation.error is not None:
            state = _STATES.get(type(operation.error))  # type: ignore[call-overload]
            if state is not None and known is not None:
                record = self.read_upload(known)
                assert record.status is state, f"{operation.error!r} of {record}"
            return
        result = operation.result if known is not None else operation.result[0]
        record = self.read_upload(result.upload.id)
        assert KEY not in json.dumps(serializers.upload(result.upload))
        if result.retry_after is None:
            assert result.upload.status is Status.REGISTERED
            assert record.status is Status.REGISTERED
            assert record.asset == result.upload.asset
        if known is None:
            self.acknowledged.add(record.id)

    def check_renewed(self, operation: Operation, known: str) -> None:
        """Check rule 4 for `renew`."""
        if operation.error is None:
            shown = {target.url for target in operation.result[0].targets}
            assert shown <= {target.url for target in self.read_upload(known).targets}

    def check_cancelled(self, operation: Operation, known: str) -> None:
        """Check rule 4 for `DELETE`."""
        if operation.error is None:
            assert self.read_upload(known).status is Status.CANCELLED

    def put(self, upload_id: str, data: bytes, which: int) -> None:
        """PUT bytes to one of an upload's URLs."""
        targets = self.read_upload(upload_id).targets
        if not targets:
            return
        headers = {"Content-Type": "video/mp4"}
        url = targets[which].upload_url
        if requests.put(url, data=data, headers=headers, timeout=30).status_code == 200:
            self.note_landed(upload_id, data)

    def note_landed(self, upload_id: str, data: bytes) -> None:
        """Remember what must become of an upload whose bytes have landed."""
        upload = self.read_upload(upload_id)
        self.landed.add(upload_id)
        if data == LARGE:
            self.oversize.add(upload_id)
        if data == EMPTY:
            self.empty.add(upload_id)
        if invariants.must_finish(upload, self.system.now()):
            self.must_finish.add(upload_id)

    def due(self, broker: int) -> int:
        """Return how many uploads a sweep would find."""
        now = self.system.now(broker)
        times = (upload.due_at for upload in self.system.snapshot().uploads.values())
        return sum(at is not None and at <= now for at in times)

    def check_invariants(self) -> None:
        """Check the five rules against a new snapshot."""
        now = self.system.snapshot()
        invariants.assert_one_asset(now, self.url_uses)
        invariants.assert_recorded_assets_kept(now, shared=self.is_shared)
        invariants.assert_legal_changes(self.seen, now)
        invariants.assert_unfinished_are_due(now, self.system.now())
        invariants.assert_records_agree(now)
        invariants.assert_key_is_secret(now, self.system.log.getvalue())
        self.seen = now

    def heal(self) -> None:
        """End all faults, let time pass and sweep until nothing is due."""
        for operation, _ in list(self.held):
            self.resume(operation)
        for upload_id, slow in self.slow_puts:
            if slow.finish() == 200:
                self.note_landed(upload_id, SMALL)
        self.slow_puts.clear()
        self.system.upstream.call("DELETE", "/_sandbox/faults")
        self.behave("listLagSeconds", 0)
        self.behave("assetUrl", "same")
        self.check_invariants()
        for _ in range(HEALING_SWEEPS):
            due = [one.due_at for one in self.seen.uploads.values() if one.due_at is not None]
            if not due:
                break
            self.advance(max(7200, (max(due) - self.system.now()) // 1000 + 1))
            self.sweep(0, None)
            self.check_invariants()

    def check_ends(self) -> None:
        """Check rule 3: each upload has ended, with an asset only if its bytes landed."""
        for upload in self.seen.uploads.values():
            if upload.status in UNFINISHED:
                assert self._is_undecidable(upload), f"{upload} never ended"
                continue
            assert upload.discarded is None, f"the asset of {upload} is never deleted"
            if not upload.is_file:
                assert upload.status is not Status.EXPIRED
                continue
            if upload.id in self.must_finish:
                ends = {Status.REGISTERED, Status.FAILED, Status.CANCELLED}
                if self.odd_refusals > 1:
                    # Two of these after the upload's end look like "not uploaded".
                    ends.add(Status.EXPIRED)
                assert upload.status in ends, f"lost: {upload}"
            if upload.id not in self.landed:
                assert upload.status is not Status.REGISTERED
            if upload.status is Status.FAILED:
                assert upload.error is not None
                known = {"file_too_large": self.oversize, "file_empty": self.empty}
                is_unusable = upload.id in known.get(upload.error["code"], ())
                assert is_unusable or self.is_refused_for_good, f"failed without a reason: {upload}"
        assert self.acknowledged <= self.seen.uploads.keys()

    def _is_undecidable(self, upload: Upload) -> bool:
        """Whether an alarm says that no lookup can decide which asset is this public URL's."""
        lines = [json.loads(line) for line in self.system.log.getvalue().splitlines()]
        alarms = {line["uploadId"] for line in lines if line["event"] == "outcome_undecided"}
        return not upload.is_file and upload.id in alarms

    def check_callers(self) -> None:
        """Check that each caller's lists show its own uploads, and that responses do not change."""
        service = self.system.admin.uploads
        for caller in self.system.callers:
            own = {one.id: one for one in self.seen.uploads.values() if one.owner == caller.id}
            listed = service.list_uploads(caller, 100, None).items
            assert {one.id for one in listed} == own.keys()
            times = [one.created_at for one in listed]
            assert times == sorted(times, reverse=True)
            assets = {one.asset.id for one in own.values() if one.asset is not None}
            shown = service.list_assets(caller, 100, None).items
            assert {one.asset.id for one in shown if one.asset is not None} == assets
            for one in own.values():
                if one.asset is not None:
                    again = service.complete(caller, one.id)
                    assert again.retry_after is None
                    assert again.upload.asset == one.asset
                    assert service.get_asset(caller, one.asset.id).asset == one.asset

    def close(self) -> None:
        """Kill held operations, and delete the run's table."""
        for operation, _ in self.held:
            operation.kill()
        for _, slow in self.slow_puts:
            slow.close()
        self.system.close()
