"""Faults that tests inject: which requests get one, and what it does.

The actions are carried out in `pipeline.py` (any request) and `storage.py` (the body of a PUT).
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "*")
_LONGEST = 3600.0  # seconds of a delay


class FaultError(Exception):
    """A fault's definition is invalid."""


@dataclass(frozen=True)
class Delay:
    """Wait `before` the request is handled, or `after` that and before the response is sent."""

    seconds: float
    when: str = "before"
    kind: str = "delay"


@dataclass(frozen=True)
class Respond:
    """Send this response, `before` the request is handled (it never is) or `after` that."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    when: str = "before"
    kind: str = "answer"


@dataclass(frozen=True)
class Cut:
    """Reset the connection, `before` the request is handled (it never is) or `after` that."""

    when: str = "before"
    kind: str = "cut"


@dataclass(frozen=True)
class Slow:
    """Read the body of a PUT at this rate."""

    bytes_per_second: int
    kind: str = "slow"


@dataclass(frozen=True)
class CutBody:
    """Reset the connection when this many bytes of a PUT's body have been read."""

    after_bytes: int
    kind: str = "cut-body"


Action = Delay | Respond | Cut | Slow | CutBody


@dataclass
class Fault:
    """A fault that is still due.

    Attributes:
        method: HTTP method, or `*`.
        path: The exact path, or a prefix that ends in `*`.
        skip: The number of matching requests that still pass unaffected.
        times: The number of requests that still get the fault; None for all.
        actions: The actions for such a request, in order.
        source: The definition as JSON, for the list.
    """

    method: str
    path: str
    skip: int
    times: int | None
    actions: tuple[Action, ...]
    source: dict[str, Any] = field(repr=False)

    def matches(self, method: str, path: str) -> bool:
        """Whether the fault is for such a request."""
        if self.method not in {"*", method}:
            return False
        if self.path.endswith("*"):
            return path.startswith(self.path[:-1])
        return path == self.path

    def to_json(self) -> dict[str, Any]:
        """Return the definition, with `skip` and `times` as they are now."""
        return {**self.source, "skip": self.skip, "times": self.times}


class Faults:
    """The faults that are still due. A request gets at most one of them, the oldest match."""

    def __init__(self) -> None:
        self._due: list[Fault] = []

    def add(self, definition: object) -> Fault:
        """Add a fault, and return it.

        Raises:
            FaultError: The definition is invalid; the message says what is valid.
        """
        fault = _parse(definition)
        self._due.append(fault)
        return fault

    def take(self, method: str, path: str) -> tuple[Action, ...]:
        """Return the actions for a request, and count it. Most requests have none."""
        for fault in self._due:
            if not fault.matches(method, path):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    self._due.remove(fault)
            return fault.actions
        return ()

    def to_json(self) -> list[dict[str, Any]]:
        """Return the faults as JSON, oldest first."""
        return [fault.to_json() for fault in self._due]

    def clear(self) -> None:
        """Delete all faults."""
        self._due.clear()


def _parse(definition: object) -> Fault:
    source = _fields("a fault", definition, required={"do"}, optional={"match", "times", "skip"})
    match = _fields("match", source.get("match", {}), optional={"method", "path"})
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
    _fields("do", step, required={"kind", "seconds"}, optional={"when"})
    seconds = step["seconds"]
    fits = type(seconds) in {int, float} and math.isfinite(seconds) and 0 <= seconds <= _LONGEST
    if not fits:
        raise FaultError(f"do.seconds must be a number from 0 to {_LONGEST:g}, not {seconds!r}")
    return Delay(seconds, _when(step))


def _respond(step: dict[str, Any]) -> Respond:
    _fields("do", step, required={"kind", "status"}, optional={"body", "headers", "when"})
    status = _whole("do.status", step["status"], 200, 599)
    headers = step.get("headers", {})
    if not isinstance(headers, dict) or not all(_is_header(*pair) for pair in headers.items()):
        raise FaultError(f"do.headers must be an object of names and strings, not {headers!r}")
    body = step.get("body", "")
    text = body if isinstance(body, str) else json.dumps(body)
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise FaultError("do.body must be text that UTF-8 can encode") from error
    return Respond(status, raw, headers, _when(step))


def _is_header(name: object, value: object) -> bool:
    texts = (name, value)
    return bool(name) and all(
        isinstance(text, str) and text.isascii() and text.isprintable() for text in texts
    )


def _cut(step: dict[str, Any]) -> Cut:
    _fields("do", step, required={"kind"}, optional={"when"})
    return Cut(_when(step))


def _slow(step: dict[str, Any]) -> Slow:
    _fields("do", step, required={"kind", "bytesPerSecond"})
    return Slow(_whole("do.bytesPerSecond", step["bytesPerSecond"], 1, 10**12))


def _cut_body(step: dict[str, Any]) -> CutBody:
    _fields("do", step, required={"kind", "afterBytes"})
    return CutBody(_whole("do.afterBytes", step["afterBytes"], 0, 10**12))


_ACTIONS: dict[str, Callable[[dict[str, Any]], Action]] = {
    "delay": _delay,
    "answer": _respond,
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


def _fields(
    name: str, value: object, *, required: set[str] | None = None, optional: set[str] | None = None
) -> dict[str, Any]:
    needed, known = required or set(), (required or set()) | (optional or set())
    if not isinstance(value, dict):
        raise FaultError(f"{name} must be a JSON object, not {value!r}")
    for missing in sorted(needed - value.keys()):
        raise FaultError(f"{name} must have the field {missing!r}")
    for unknown in sorted(value.keys() - known):
        names = ", ".join(sorted(known))
        raise FaultError(f"{name} has no field {unknown!r}; its fields are {names}")
    return value
