"""The five rules of an upload's life, whatever clients, crashes, clocks and faults do in any order.

A state machine drives real DynamoDB and the real HTTP upstream. `make test` runs a small part,
always the same. To look for more, in another part each time:

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
from tests.machine.bench import EMPTY, LARGE, SMALL, Bench, Known
from tests.machine.illegal_moves import try_illegal_moves
from tests.machine.operation import Fate
from tests.machine.slow_put import SlowPut
from tests.machine.step_count import COUNTS
from tests.machine.surroundings import Surroundings
from tests.machine.trouble import Order, behaviors, fates, holds, meanwhile, orders, registering

MOST = 6  # uploads of one run: more would meet less
RUNS = int(os.environ.get("MACHINE_RUNS", "0"))

callers = st.integers(0, 2)
brokers = st.integers(0, 1)
names = st.sampled_from((None, "speaker"))


class BrokerMachine(RuleBasedStateMachine):
    """Callers, two brokers, sync. and time."""

    uploads = Bundle("uploads")

    def __init__(self, around: Surroundings) -> None:
        super().__init__()
        self.bench = Bench(around)
        self.world = self.bench.world
        self.is_sound = False
        self.begun = 0
        COUNTS["runs"] += 1

    # What happens around the brokers.

    @initialize(
        skew=st.sampled_from((0, 20, -20)),
        drift=st.sampled_from((0, 600, -600)),
        is_rewritten=st.sampled_from((False, False, False, True)),
    )
    def set_up(self, skew: int, drift: int, is_rewritten: bool) -> None:  # noqa: FBT001 - drawn
        """Choose how far the clocks are apart, and whether sync. keeps addresses."""
        self.world.skew, self.world.drift = skew, drift
        self.world.set_upstream_clock()
        upstream = self.world.upstream
        missing = upstream.presign()["url"]
        self.urls = (upstream.upload(SMALL), upstream.upload(LARGE), missing)
        if is_rewritten:
            self.bench.is_rewritten = True
            self.bench.behave("assetUrl", "rewritten")

    @rule(seconds=st.sampled_from((1, 25, 61, 100, 130, 160, 1000, 4000, 20_000)))
    def advance(self, seconds: int) -> None:
        """Let time pass. A Lambda function ends after 30 seconds, whatever it is doing."""
        self._step()
        self.bench.advance(seconds)

    @rule(order=orders, times=st.integers(1, 3), skip=st.integers(0, 1))
    def arm(self, order: Order, times: int, skip: int) -> None:
        """Let sync. fail."""
        self._step()
        self.bench.arm(order, times, skip)

    @rule(behavior=behaviors)
    def behave(self, behavior: tuple[str, Any]) -> None:
        """Let sync. turn out otherwise than thought."""
        self._step()
        name, value = behavior
        if name != "assetUrl" or not self.bench.is_rewritten:
            self.bench.is_shared |= behavior == ("duplicateUrl", "same")
            self.bench.behave(name, value)

    @precondition(lambda self: self.bench.lags_since is None)
    @rule()
    def lag(self) -> None:
        """Let sync.'s list show nothing new for a while.

        The sandbox's list would hide old assets too, so none may be there that a look needs.
        """
        self._step()
        seen = self.bench.seen
        alive = seen.made.keys() - seen.deleted
        if not self.bench.held and all(f"claim#{asset}" in seen.items for asset in alive):
            self.bench.lags_since = self.world.ahead
            self.bench.behave("listLagSeconds", 80_000)

    # What callers do.

    @precondition(lambda self: self.begun < MOST)
    @rule(target=uploads, caller=callers, name=names, broker=brokers)
    def land(self, caller: int, name: str | None, broker: int) -> Any:
        """Begin an upload and PUT its bytes."""
        known = self._begin(caller, name, broker, None)
        if known is None:
            return multiple()
        self.bench.put(known.id, SMALL, -1)
        return known

    @precondition(lambda self: self.begun < MOST)
    @rule(target=uploads, caller=callers, name=names, broker=brokers, fate=fates)
    def begin(self, caller: int, name: str | None, broker: int, fate: Fate | None) -> Any:
        """Begin an upload."""
        return self._begin(caller, name, broker, fate) or multiple()

    @rule(
        upload=uploads,
        data=st.sampled_from((SMALL, SMALL, LARGE, EMPTY)),
        which=st.sampled_from((-1, 0)),
    )
    def put(self, upload: Known, data: bytes, which: int) -> None:
        """PUT bytes to the newest or the oldest address of an upload, as often as drawn."""
        self._step()
        self.bench.put(upload.id, data, which)

    @rule(upload=uploads)
    def begin_slow_put(self, upload: Known) -> None:
        """Begin a PUT whose bytes take their time."""
        self._step()
        targets = self.bench.fresh(upload.id).targets
        if targets and len(self.bench.slow_puts) < 2:
            slow = SlowPut(targets[-1].upload_url, SMALL)
            self.bench.slow_puts.append((upload.id, slow))
            self.world.wait_for_slow_put(targets[-1].upload_url)

    @precondition(lambda self: self.bench.slow_puts)
    @rule()
    def finish_slow_put(self) -> None:
        """Let the bytes of a slow PUT land."""
        self._step()
        upload_id, slow = self.bench.slow_puts.pop(0)
        if slow.finish() == 200:
            self.bench.note_landed(upload_id, SMALL)

    @rule(upload=uploads, broker=brokers, fate=fates, order=registering)
    def complete(self, upload: Known, broker: int, fate: Fate | None, order: Order | None) -> None:
        """Complete an upload, perhaps with trouble."""
        self._step()
        if order is not None:
            self.bench.arm(order, 1, 0)
        self.bench.act("complete", upload, broker, fate)

    @rule(upload=uploads, broker=brokers, fate=holds, order=registering, others=meanwhile)
    def race(
        self, upload: Known, broker: int, fate: Fate, order: Order | None, others: list[str]
    ) -> None:
        """Complete an upload while others deal with it too."""
        self._step()
        if order is not None:
            self.bench.arm(order, 1, 0)
        held = self.bench.act("complete", upload, broker, fate)
        for other in others:
            if other == "put":
                self.bench.put(upload.id, SMALL, 0)
            elif other == "wait":
                self.bench.advance(9)
            else:
                self.bench.act(other, upload, 1 - broker, None)
        self.bench.resume(held)

    @rule(upload=uploads, broker=brokers, fate=fates, what=st.sampled_from(("renew", "cancel")))
    def change(self, upload: Known, broker: int, fate: Fate | None, what: str) -> None:
        """Ask for a fresh address, or cancel."""
        self._step()
        self.bench.act(what, upload, broker, fate)

    @precondition(lambda self: self.begun < MOST)
    @rule(
        target=uploads,
        caller=callers,
        which=st.sampled_from((0, 0, 1, 2)),
        name=names,
        broker=brokers,
        fate=fates,
        order=registering,
    )
    def register_url(
        self,
        caller: int,
        which: int,
        name: str | None,
        broker: int,
        fate: Fate | None,
        order: Order | None,
    ) -> Any:
        """Register a public URL, which others may register too."""
        self._step()
        if order is not None:
            self.bench.arm(order, 1, 0)
        self.begun += 1
        who, new = self.world.callers[caller], NewUrl(self.urls[which], "VIDEO", name)
        self.bench.url_uses[new.url] += 1
        done = self.bench.perform(
            lambda parts: parts.uploads.register_url(who, new),
            broker,
            fate,
            self.bench.check_outcome,
        )
        return self.bench.told(done, caller) or multiple()

    @rule(upload=uploads, other=st.integers(1, 2))
    def stranger(self, upload: Known, other: int) -> None:
        """Nobody can read, complete, renew or cancel what is somebody else's."""
        self._step()
        caller = self.world.callers[(upload.caller + other) % 3]
        lifecycle = self.world.admin.uploads
        before = self.world.look()
        renew = partial(lifecycle.renew, ticket=None)
        for act in (lifecycle.get, lifecycle.complete, renew, lifecycle.cancel):
            with pytest.raises(errors.NotFound):
                act(caller, upload.id)
        assert self.world.look().items == before.items

    @rule(upload=uploads, other=st.integers(1, 2))
    def illegal(self, upload: Known, other: int) -> None:
        """A move that an upload's state does not allow can't be written, whoever tries."""
        self._step()
        try_illegal_moves(self.world, upload.id, self.world.callers[(upload.caller + other) % 3].id)

    # What brokers do by themselves.

    @rule(broker=brokers, fate=fates, are_two=st.sampled_from((False, False, True)))
    def sweep(self, broker: int, fate: Fate | None, are_two: bool) -> None:  # noqa: FBT001 - drawn
        """Run the sweep, or two sweeps at once."""
        self._step()
        if not are_two:
            self.bench.sweep(broker, fate)
            return
        both = [self.bench.operation(lambda parts: parts.sweeper.run(60), n, None) for n in (0, 1)]
        for operation in both:
            operation.launch()
        for operation in both:
            operation.wait()
            self.bench.finish(operation, lambda _: None)

    @precondition(lambda self: self.bench.held)
    @rule(is_killed=st.booleans())
    def resume(self, is_killed: bool) -> None:  # noqa: FBT001 - drawn
        """Let an operation that was held go on, or end there."""
        self._step()
        operation, _ = self.bench.held[0]
        self.bench.resume(operation, is_killed=is_killed)

    @invariant()
    def five_rules(self) -> None:
        """Hold the five rules against what is there now."""
        self.is_sound = False
        self.bench.hold_rules()
        self.is_sound = True

    def teardown(self) -> None:
        """Heal everything, and see that nothing was lost."""
        try:
            if self.is_sound:
                self.bench.heal()
                self.bench.check_ends()
                self.bench.check_callers()
                COUNTS["uploads"] += len(self.bench.seen.uploads)
                COUNTS["assets"] += len(self.bench.seen.made)
        finally:
            self.bench.close()

    def _step(self) -> None:
        # A rule that fails must not be hidden by what the healing finds.
        self.is_sound = False
        COUNTS["steps"] += 1

    def _begin(self, caller: int, name: str | None, broker: int, fate: Fate | None) -> Known | None:
        self._step()
        self.begun += 1
        who = self.world.callers[caller]
        file = NewFile("clip.mp4", "video/mp4", len(SMALL), "VIDEO", name)
        done = self.bench.perform(
            lambda parts: parts.uploads.begin(who, file, None, None),
            broker,
            fate,
            self.bench.check_begun,
        )
        return self.bench.told(done, caller)


def test_five_rules(around: Surroundings) -> None:
    """No order of requests, crashes, clock steps and faults breaks one of the five rules."""
    run_state_machine_as_test(
        lambda: BrokerMachine(around),
        settings=settings(
            max_examples=RUNS or 30,
            stateful_step_count=30,
            deadline=None,
            derandomize=not RUNS,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
