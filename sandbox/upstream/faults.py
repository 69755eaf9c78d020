"""Trouble on order: which request gets it, and what it is.

What the actions do stands in `pipeline.py` (any request) and `storage.py` (a PUT's body).
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "*")
_LONGEST = 3600.0  # seconds of a delay


class FaultError(Exception):
    """An order for trouble cannot be understood."""


@dataclass(frozen=True)
class Delay:
    """Wait, before the work or between the work and its answer."""

    seconds: float
    when: str = "before"
    kind: str = "delay"


@dataclass(frozen=True)
class Answer:
    """Answer with this, instead of the work (`before`) or when the work is done (`after`)."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    when: str = "before"
    kind: str = "answer"


@dataclass(frozen=True)
class Cut:
    """Reset the connection, instead of the work or when the work is done."""

    when: str = "before"
    kind: str = "cut"


@dataclass(frozen=True)
class Slow:
    """Read a PUT's body no faster than this."""

    bytes_per_second: int
    kind: str = "slow"


@dataclass(frozen=True)
class CutBody:
    """Reset the connection once so much of a PUT's body has been read."""

    after_bytes: int
    kind: str = "cut-body"


Action = Delay | Answer | Cut | Slow | CutBody


@dataclass
class Fault:
    """An order that is still open.

    Attributes:
        method: HTTP method, or `*`.
        path: Exact, or a beginning when it ends in `*`.
        skip: How many matching requests still pass unharmed.
        times: How many requests still get it; None for all that come.
        actions: What happens to them.
        source: The order as it was given, for the list.
    """

    method: str
    path: str
    skip: int
    times: int | None
    actions: tuple[Action, ...]
    source: dict[str, Any] = field(repr=False)

    def matches(self, method: str, path: str) -> bool:
        """Tell whether a request is meant."""
        if self.method not in {"*", method}:
            return False
        if self.path.endswith("*"):
            return path.startswith(self.path[:-1])
        return path == self.path

    def to_json(self) -> dict[str, Any]:
        """Give the order with what is left of it."""
        return {**self.source, "skip": self.skip, "times": self.times}


class FaultBook:
    """The open orders. A request gets at most one of them, the oldest that is due."""

    def __init__(self) -> None:
        self._open: list[Fault] = []

    def arm(self, order: object) -> Fault:
        """Take an order.

        Raises:
            FaultError: The order cannot be understood; the message says what would be right.
        """
        fault = _parse(order)
        self._open.append(fault)
        return fault

    def take(self, method: str, path: str) -> tuple[Action, ...]:
        """Give what shall happen to a request: nothing, mostly."""
        for fault in self._open:
            if not fault.matches(method, path):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    self._open.remove(fault)
            return fault.actions
        return ()

    def to_json(self) -> list[dict[str, Any]]:
        """List the open orders, oldest first."""
        return [fault.to_json() for fault in self._open]

    def clear(self) -> None:
        """Disarm all."""
        self._open.clear()


def _parse(order: object) -> Fault:
    source = _members("a fault", order, required={"do"}, optional={"match", "times", "skip"})
    match = _members("match", source.get("match", {}), optional={"method", "path"})
    method = match.get("method", "*")
    if method not in _METHODS:
        raise FaultError(f"match.method must be one of {', '.join(_METHODS)}, not {method!r}")
    path = match.get("path", "*")
    if not isinstance(path, str) or not (path.startswith("/") or path == "*"):
        raise FaultError(f"match.path must begin with '/', or be '*', not {path!r}")
    times = source.get("times", 1)
    if times is not None:
        times = _whole("times", times, 1, 1_000_000)
    skip = _whole("skip", source.get("skip", 0), 0, 1_000_000)
    steps = source["do"] if isinstance(source["do"], list) else [source["do"]]
    if not steps:
        raise FaultError("do must be an action, or a list of at least one")
    return Fault(method, path, skip, times, tuple(_action(step) for step in steps), dict(source))


def _action(step: object) -> Action:
    kind = step.get("kind") if isinstance(step, dict) else None
    if not isinstance(step, dict) or not isinstance(kind, str) or kind not in _ACTIONS:
        raise FaultError(f"do.kind must be one of {', '.join(_ACTIONS)}, not {kind!r}")
    return _ACTIONS[kind](step)


def _delay(step: dict[str, Any]) -> Delay:
    _members("do", step, required={"kind", "seconds"}, optional={"when"})
    seconds = step["seconds"]
    fits = type(seconds) in {int, float} and math.isfinite(seconds) and 0 <= seconds <= _LONGEST
    if not fits:
        raise FaultError(f"do.seconds must be a number from 0 to {_LONGEST:g}, not {seconds!r}")
    return Delay(seconds, _when(step))


def _answer(step: dict[str, Any]) -> Answer:
    _members("do", step, required={"kind", "status"}, optional={"body", "headers", "when"})
    status = _whole("do.status", step["status"], 200, 599)
    headers = step.get("headers", {})
    if not isinstance(headers, dict) or not all(_is_header(*pair) for pair in headers.items()):
        raise FaultError(f"do.headers must be an object of names and strings, not {headers!r}")
    body = step.get("body", "")
    text = body if isinstance(body, str) else json.dumps(body)
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise FaultError("do.body must be text that UTF-8 can write") from error
    return Answer(status, raw, headers, _when(step))


def _is_header(name: object, value: object) -> bool:
    texts = (name, value)
    return bool(name) and all(
        isinstance(text, str) and text.isascii() and text.isprintable() for text in texts
    )


def _cut(step: dict[str, Any]) -> Cut:
    _members("do", step, required={"kind"}, optional={"when"})
    return Cut(_when(step))


def _slow(step: dict[str, Any]) -> Slow:
    _members("do", step, required={"kind", "bytesPerSecond"})
    return Slow(_whole("do.bytesPerSecond", step["bytesPerSecond"], 1, 10**12))


def _cut_body(step: dict[str, Any]) -> CutBody:
    _members("do", step, required={"kind", "afterBytes"})
    return CutBody(_whole("do.afterBytes", step["afterBytes"], 0, 10**12))


_ACTIONS: dict[str, Callable[[dict[str, Any]], Action]] = {
    "delay": _delay,
    "answer": _answer,
    "cut": _cut,
    "slow": _slow,
    "cut-body": _cut_body,
}


def _when(step: dict[str, Any]) -> str:
    when = step.get("when", "before")
    if when not in {"before", "after"}:
        raise FaultError(f"do.when must be 'before' or 'after' the work, not {when!r}")
    return str(when)


def _whole(name: str, value: object, lowest: int, highest: int) -> int:
    if type(value) is not int or not lowest <= value <= highest:
        raise FaultError(f"{name} must be a whole number from {lowest} to {highest}, not {value!r}")
    return value


def _members(
    name: str, value: object, *, required: set[str] | None = None, optional: set[str] | None = None
) -> dict[str, Any]:
    needed, known = required or set(), (required or set()) | (optional or set())
    if not isinstance(value, dict):
        raise FaultError(f"{name} must be a JSON object, not {value!r}")
    for member in sorted(needed - value.keys()):
        raise FaultError(f"{name} must have {member!r}")
    for member in sorted(value.keys() - known):
        raise FaultError(f"{name} has no {member!r}; known are {', '.join(sorted(known))}")
    return value
