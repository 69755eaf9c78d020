"""The five rules of an upload's life, whatever clients, crashes, clocks and faults do in any order.

A state machine drives real DynamoDB and the real HTTP upstream. `make test` runs a small part,
always the same. This runs more, another part each time:

    MACHINE_RUNS=1000 .venv/bin/python -m pytest tests/machine

Hypothesis prints the shortest sequence that breaks a rule.
"""

import os
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chalicelib.core import errors
from chalicelib.uploads.models import NewFile, NewUrl
from tests.machine.illegal_transitions import try_illegal_transitions
from tests.machine.operation import Interruption
from tests.machine.run import EMPTY, LARGE, SMALL, KnownUpload, Run
from tests.machine.slow_put import SlowPut
from tests.machine.step_count import COUNTS
from tests.machine.strategies import (
    Order,
    behaviors,
    holds,
    interruptions,
    meanwhile,
    orders,
    registering,
)
from tests.machine.system import Services

MAX_UPLOADS = 6  # uploads of one run: with more, fewer steps would concern the same upload
RUNS = int(os.environ.get("MACHINE_RUNS", "0"))

callers = st.integers(0, 2)
brokers = st.integers(0, 1)
names = st.sampled_from((None, "speaker"))


class BrokerMachine(RuleBasedStateMachine):
    """Callers, two brokers, Sync and time."""

    uploads = Bundle("uploads")

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.run = Run(services)
        self.system = self.run.system
        self.is_consistent = False
        self.begun = 0
        COUNTS["runs"] += 1

    # Events outside the brokers.

    @initialize(
        skew=st.sampled_from((0, 20, -20)),
        drift=st.sampled_from((0, 600, -600)),
        is_rewritten=st.sampled_from((False, False, False, True)),
    )
    def set_up(self, skew: int, drift: int, is_rewritten: bool) -> None:  # noqa: FBT001 - drawn
        """Choose how far the clocks differ, and whether Sync keeps URLs."""
        self.system.skew, self.system.drift = skew, drift
        self.system.set_upstream_clock()
        upstream = self.system.upstream
        missing = upstream.presign()["url"]
        self.urls = (upstream.upload(SMALL), upstream.upload(LARGE), missing)
        if is_rewritten:
            self.run.is_rewritten = True
            self.run.behave("assetUrl", "rewritten")

    @rule(seconds=st.sampled_from((1, 25, 61, 100, 130, 160, 1000, 4000, 20_000)))
    def advance(self, seconds: int) -> None:
        """Let time pass. A Lambda function ends after 30 seconds, whatever it is doing."""
        self._step()
        self.run.advance(seconds)

    @rule(order=orders, times=st.integers(1, 3), skip=st.integers(0, 1))
    def order_fault(self, order: Order, times: int, skip: int) -> None:
        """Let Sync fail."""
        self._step()
        self.run.order_fault(order, times, skip)

    @rule(behavior=behaviors)
    def behave(self, behavior: tuple[str, Any]) -> None:
        """Change an undocumented behavior of Sync."""
        self._step()
        name, value = behavior
        if name != "assetUrl" or not self.run.is_rewritten:
            self.run.is_shared |= behavior == ("duplicateUrl", "same")
            self.run.behave(name, value)

    @precondition(lambda self: self.run.lags_since is None)
    @rule()
    def lag(self) -> None:
        """Let Sync's list show nothing new for a while.

        The sandbox's list would hide old assets too, so no reconciliation may need any of those.
        """
        self._step()
        seen = self.run.seen
        alive = seen.made.keys() - seen.deleted
        if not self.run.held and all(f"claim#{asset}" in seen.items for asset in alive):
            self.run.lags_since = self.system.ahead
            self.run.behave("listLagSeconds", 80_000)

    # Actions of callers.

    @precondition(lambda self: self.begun < MAX_UPLOADS)
    @rule(target=uploads, caller=callers, name=names, broker=brokers)
    def land(self, caller: int, name: str | None, broker: int) -> Any:
        """Begin an upload and PUT its bytes."""
        known = self._begin(caller, name, broker, None)
        if known is None:
            return multiple()
        self.run.put(known.id, SMALL, -1)
        return known

    @precondition(lambda self: self.begun < MAX_UPLOADS)
    @rule(target=uploads, caller=callers, name=names, broker=brokers, interruption=interruptions)
    def begin(
        self, caller: int, name: str | None, broker: int, interruption: Interruption | None
    ) -> Any:
        """Begin an upload."""
        return self._begin(caller, name, broker, interruption) or multiple()

    @rule(
        upload=uploads,
        data=st.sampled_from((SMALL, SMALL, LARGE, EMPTY)),
        which=st.sampled_from((-1, 0)),
    )
    def put(self, upload: KnownUpload, data: bytes, which: int) -> None:
        """PUT bytes to the newest or the oldest URL of an upload, as often as drawn."""
        self._step()
        self.run.put(upload.id, data, which)

    @rule(upload=uploads)
    def begin_slow_put(self, upload: KnownUpload) -> None:
        """Begin a slow PUT."""
        self._step()
        targets = self.run.read_upload(upload.id).targets
        if targets and len(self.run.slow_puts) < 2:
            slow = SlowPut(targets[-1].upload_url, SMALL)
            self.run.slow_puts.append((upload.id, slow))
            self.system.wait_for_slow_put(targets[-1].upload_url)

    @precondition(lambda self: self.run.slow_puts)
    @rule()
    def finish_slow_put(self) -> None:
        """Let the bytes of a slow PUT land."""
        self._step()
        upload_id, slow = self.run.slow_puts.pop(0)
        if slow.finish() == 200:
            self.run.note_landed(upload_id, SMALL)

    @rule(upload=uploads, broker=brokers, interruption=interruptions, order=registering)
    def complete(
        self,
        upload: KnownUpload,
        broker: int,
        interruption: Interruption | None,
        order: Order | None,
    ) -> None:
        """Complete an upload, perhaps with a fault."""
        self._step()
        if order is not None:
            self.run.order_fault(order, 1, 0)
        self.run.act("complete", upload, broker, interruption)

    @rule(upload=uploads, broker=brokers, interruption=holds, order=registering, others=meanwhile)
    def race(
        self,
        upload: KnownUpload,
        broker: int,
        interruption: Interruption,
        order: Order | None,
        others: list[str],
    ) -> None:
        """Complete an upload while others act on it too."""
        self._step()
        if order is not None:
            self.run.order_fault(order, 1, 0)
        held = self.run.act("complete", upload, broker, interruption)
        for other in others:
            if other == "put":
                self.run.put(upload.id, SMALL, 0)
            elif other == "wait":
                self.run.advance(9)
            else:
                self.run.act(other, upload, 1 - broker, None)
        self.run.resume(held)

    @rule(
        upload=uploads,
        broker=brokers,
        interruption=interruptions,
        what=st.sampled_from(("renew", "cancel")),
    )
    def change(
        self, upload: KnownUpload, broker: int, interruption: Interruption | None, what: str
    ) -> None:
        """Renew the upload's URL, or cancel."""
        self._step()
        self.run.act(what, upload, broker, interruption)

    @precondition(lambda self: self.begun < MAX_UPLOADS)
    @rule(
        target=uploads,
        caller=callers,
        which=st.sampled_from((0, 0, 1, 2)),
        name=names,
        broker=brokers,
        interruption=interruptions,
        order=registering,
    )
    def register_url(
        self,
        caller: int,
        which: int,
        name: str | None,
        broker: int,
        interruption: Interruption | None,
        order: Order | None,
    ) -> Any:
        """Register a public URL, which others may register too."""
        self._step()
        if order is not None:
            self.run.order_fault(order, 1, 0)
        self.begun += 1
        who, new = self.system.callers[caller], NewUrl(self.urls[which], "VIDEO", name)
        self.run.url_uses[new.url] += 1
        done = self.run.perform(
            lambda parts: parts.uploads.register_url(who, new),
            broker,
            interruption,
            self.run.check_outcome,
        )
        return self.run.known_upload(done, caller) or multiple()

    @rule(upload=uploads, other=st.integers(1, 2))
    def refuse_other_callers(self, upload: KnownUpload, other: int) -> None:
        """No caller can read, complete, renew or cancel another caller's upload."""
        self._step()
        caller = self.system.callers[(upload.caller + other) % 3]
        service = self.system.admin.uploads
        before = self.system.snapshot()
        renew = partial(service.renew, ticket=None)
        for act in (service.get, service.complete, renew, service.cancel):
            with pytest.raises(errors.NotFound):
                act(caller, upload.id)
        assert self.system.snapshot().items == before.items

    @rule(upload=uploads, other=st.integers(1, 2))
    def refuse_illegal_transitions(self, upload: KnownUpload, other: int) -> None:
        """A transition that an upload's state does not allow can't be written, whoever tries."""
        self._step()
        try_illegal_transitions(
            self.system, upload.id, self.system.callers[(upload.caller + other) % 3].id
        )

    # Actions of brokers without a request.

    @rule(broker=brokers, interruption=interruptions, are_two=st.sampled_from((False, False, True)))
    def sweep(self, broker: int, interruption: Interruption | None, are_two: bool) -> None:  # noqa: FBT001 - drawn
        """Run the sweep, or two sweeps at once."""
        self._step()
        if not are_two:
            self.run.sweep(broker, interruption)
            return
        both = [self.run.operation(lambda parts: parts.sweeper.run(60), n, None) for n in (0, 1)]
        for operation in both:
            operation.launch()
        for operation in both:
            operation.wait()
            self.run.finish(operation, lambda _: None)

    @precondition(lambda self: self.run.held)
    @rule(is_killed=st.booleans())
    def resume(self, is_killed: bool) -> None:  # noqa: FBT001 - drawn
        """Let a held operation continue, or kill it."""
        self._step()
        operation, _ = self.run.held[0]
        self.run.resume(operation, is_killed=is_killed)

    @invariant()
    def keep_five_rules(self) -> None:
        """Check the five rules after each step."""
        self.is_consistent = False
        self.run.check_invariants()
        self.is_consistent = True

    def teardown(self) -> None:
        """Heal everything, and check that nothing was lost."""
        try:
            if self.is_consistent:
                self.run.heal()
                self.run.check_ends()
                self.run.check_callers()
                COUNTS["uploads"] += len(self.run.seen.uploads)
                COUNTS["assets"] += len(self.run.seen.made)
        finally:
            self.run.close()

    def _step(self) -> None:
        # If a step fails, the checks after healing must not hide that.
        self.is_consistent = False
        COUNTS["steps"] += 1

    def _begin(
        self, caller: int, name: str | None, broker: int, interruption: Interruption | None
    ) -> KnownUpload | None:
        self._step()
        self.begun += 1
        who = self.system.callers[caller]
        file = NewFile("clip.mp4", "video/mp4", len(SMALL), "VIDEO", name)
        done = self.run.perform(
            lambda parts: parts.uploads.begin(who, file, None, None),
            broker,
            interruption,
            self.run.check_begun,
        )
        return self.run.known_upload(done, caller)


def test_state_machine_keeps_five_rules(services: Services) -> None:
    """No order of requests, crashes, clock steps and faults breaks one of the five rules."""
    run_state_machine_as_test(
        lambda: BrokerMachine(services),
        settings=settings(
            max_examples=RUNS or 30,
            stateful_step_count=30,
            deadline=None,
            derandomize=not RUNS,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
