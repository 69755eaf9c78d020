"""One request to the broker, which may be cut off, or held, at any of its outgoing calls.

Each operation has a thread of its own, and its broker sees DynamoDB and sync. through gates. Only
one thread runs at a time: whoever starts or resumes an operation waits until it is held or over.
So a run with the same choices makes the same calls in the same order.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from botocore.exceptions import ReadTimeoutError

CANNOT_HANG_SECONDS = 60
_DYNAMODB = frozenset(
    {
        "get_item",
        "query",
        "put_item",
        "delete_item",
        "update_item",
        "transact_write_items",
        "batch_get_item",
    }
)


class Killed(BaseException):
    """The process is gone. No handler for exceptions may catch this, as none would run."""


@dataclass(frozen=True)
class Fate:
    """What happens to an operation at one of its outgoing calls.

    Attributes:
        kind: `kill` ends the process; `hold` lets others go on meanwhile; `lose` loses the answers
            of DynamoDB, all of boto3's repetitions included; `repeat` loses one, so that boto3
            repeats a write that has been carried out.
        nth: Which call, counted from 1.
        after: Whether the call is still carried out.
    """

    kind: Literal["kill", "hold", "lose", "repeat"]
    nth: int
    after: bool


class Operation:
    """A request, or a run of the sweep.

    Args:
        work: What it does with its gates; its outcome is kept.
        fate: What happens to it, or None.
        started: When it began, by the tests' clock.
    """

    def __init__(
        self, work: Callable[["Operation"], Any], fate: Fate | None, started: float
    ) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_over = False
        self.fate_came: str | None = None
        self.started = started
        self._fate = fate
        self._calls = 0
        self._is_dead = False
        self._lock = threading.Lock()
        self._quiet = threading.Event()
        self._resume = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)

    def start(self) -> None:
        """Run until it is held or over."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Begin to run, beside others."""
        self._thread.start()

    def wait(self) -> None:
        """Wait until it is held or over."""
        if not self._quiet.wait(CANNOT_HANG_SECONDS):
            raise TimeoutError("this operation hangs")
        if self.is_over:
            self._thread.join()

    def resume(self) -> None:
        """Let a held operation go on to its end."""
        self._quiet.clear()
        self._resume.set()
        self.wait()

    def kill(self) -> None:
        """End a held operation where it stands."""
        self._is_dead = True
        self.resume()

    def gate(self, target: object) -> Any:
        """Return a stand-in of a client, whose calls pass through here."""
        return _Gate(target, self)

    def reach(self, name: str, send: Callable[..., Any], *args: Any, **request: Any) -> Any:
        """Carry out an outgoing call, if the process still lives."""
        with self._lock:
            self._calls += 1
            fate = self._fate if self._fate and self._fate.nth == self._calls else None
        self._live()
        call = partial(send, *args, **request)
        answer = call() if fate is None else self._strike(fate, name, call)
        self._live()
        return answer

    def _strike(self, fate: Fate, name: str, call: partial[Any]) -> Any:
        self.fate_came = f"{fate.kind} {'after' if fate.after else 'before'}"
        if fate.kind == "kill":
            if fate.after:
                with suppress(Exception):
                    call()
            self._is_dead = True
            raise Killed
        if fate.kind == "hold":
            if not fate.after:
                self._hold()
                return call()
            try:
                return call()
            finally:
                self._hold()
        if fate.kind == "lose" and name in _DYNAMODB:
            if fate.after:
                call()
            raise ReadTimeoutError(endpoint_url="http://127.0.0.1", error="lost by the tests")
        if fate.kind == "repeat" and name == "update_item":
            call()
        if fate.kind == "repeat" and name == "transact_write_items":
            call.keywords["ClientRequestToken"] = f"{id(self)}-{fate.nth}"
            call()
        return call()

    def _hold(self) -> None:
        self._quiet.set()
        if not self._resume.wait(CANNOT_HANG_SECONDS):
            raise TimeoutError("nobody resumed this operation")
        self._live()

    def _live(self) -> None:
        if self._is_dead:
            raise Killed

    def _run(self, work: Callable[["Operation"], Any]) -> None:
        try:
            self.result = work(self)
        except BaseException as error:  # noqa: BLE001 - the tests look at it
            self.error = error
        finally:
            self.is_over = True
            self._quiet.set()


class _Gate:
    """Stands for a client of DynamoDB or of sync."""

    def __init__(self, target: object, operation: Operation) -> None:
        self._target = target
        self._operation = operation

    def __getattr__(self, name: str) -> Any:
        return partial(self._operation.reach, name, getattr(self._target, name))
