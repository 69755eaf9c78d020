"""One request to the broker, which may be killed, or held, at any of its outgoing calls.

Each operation has its own thread, and its broker calls DynamoDB and Sync through interceptors. Only
one thread runs at a time: the test that starts or resumes an operation waits until it is held or
over. So a run with the same choices makes the same calls in the same order.
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
    """The process was killed. No exception handler may catch this: a killed process runs none."""


@dataclass(frozen=True)
class Interruption:
    """What happens to an operation at one of its outgoing calls.

    Attributes:
        kind: `kill` ends the process; `hold` lets other operations run meanwhile; `lose` loses
            DynamoDB's responses to this call and to boto3's retries; `repeat` loses one response,
            so that boto3 repeats a write that has been carried out.
        nth: Which call, counted from 1.
        after: Whether the call is still carried out.
    """

    kind: Literal["kill", "hold", "lose", "repeat"]
    nth: int
    after: bool


class Operation:
    """A request, or a run of the sweep.

    Args:
        work: What it does with its interceptors; its outcome is kept.
        interruption: The interruption, or None.
        started: The start, by the tests' clock.
    """

    def __init__(
        self, work: Callable[["Operation"], Any], interruption: Interruption | None, started: float
    ) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_over = False
        self.interrupted: str | None = None
        self.started = started
        self._interruption = interruption
        self._calls = 0
        self._is_killed = False
        self._lock = threading.Lock()
        self._paused = threading.Event()
        self._resume = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)

    def start(self) -> None:
        """Run until it is held or over."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start to run, in parallel to others."""
        self._thread.start()

    def wait(self) -> None:
        """Wait until it is held or over."""
        if not self._paused.wait(CANNOT_HANG_SECONDS):
            raise TimeoutError("this operation hangs")
        if self.is_over:
            self._thread.join()

    def resume(self) -> None:
        """Let a held operation continue to its end."""
        self._paused.clear()
        self._resume.set()
        self.wait()

    def kill(self) -> None:
        """End a held operation."""
        self._is_killed = True
        self.resume()

    def intercept(self, target: object) -> Any:
        """Return a client whose calls pass through this operation."""
        return _InterceptedClient(target, self)

    def call_through(self, name: str, send: Callable[..., Any], *args: Any, **request: Any) -> Any:
        """Make an outgoing call, unless the process was killed."""
        with self._lock:
            self._calls += 1
            interruption = (
                self._interruption
                if self._interruption and self._interruption.nth == self._calls
                else None
            )
        self._raise_if_killed()
        call = partial(send, *args, **request)
        response = call() if interruption is None else self._interrupt(interruption, name, call)
        self._raise_if_killed()
        return response

    def _interrupt(self, interruption: Interruption, name: str, call: partial[Any]) -> Any:
        self.interrupted = f"{interruption.kind} {'after' if interruption.after else 'before'}"
        if interruption.kind == "kill":
            if interruption.after:
                with suppress(Exception):
                    call()
            self._is_killed = True
            raise Killed
        if interruption.kind == "hold":
            if not interruption.after:
                self._hold()
                return call()
            try:
                return call()
            finally:
                self._hold()
        if interruption.kind == "lose" and name in _DYNAMODB:
            if interruption.after:
                call()
            raise ReadTimeoutError(endpoint_url="http://127.0.0.1", error="lost by the tests")
        if interruption.kind == "repeat" and name == "update_item":
            call()
        if interruption.kind == "repeat" and name == "transact_write_items":
            call.keywords["ClientRequestToken"] = f"{id(self)}-{interruption.nth}"
            call()
        return call()

    def _hold(self) -> None:
        self._paused.set()
        if not self._resume.wait(CANNOT_HANG_SECONDS):
            raise TimeoutError("nobody resumed this operation")
        self._raise_if_killed()

    def _raise_if_killed(self) -> None:
        if self._is_killed:
            raise Killed

    def _run(self, work: Callable[["Operation"], Any]) -> None:
        try:
            self.result = work(self)
        except BaseException as error:  # noqa: BLE001 - the tests check it
            self.error = error
        finally:
            self.is_over = True
            self._paused.set()


class _InterceptedClient:
    """Passes calls to a client of DynamoDB or of Sync through an operation."""

    def __init__(self, target: object, operation: Operation) -> None:
        self._target = target
        self._operation = operation

    def __getattr__(self, name: str) -> Any:
        return partial(self._operation.call_through, name, getattr(self._target, name))
