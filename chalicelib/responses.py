"""The edge: what every route has in common, around what each one does.

Every answer of the app passes here: request id, caller, CORS, errors as problem+json, one log
line. Chalice's middleware sees no exception of a view, so each view is wrapped instead.
"""

import json
import math
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from chalice import Blueprint, Response

from chalicelib.auth import open_mode
from chalicelib.auth.caller import Caller
from chalicelib.core import errors, log
from chalicelib.core.types import Json

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key, Upload-Ticket, traceparent"
EXPOSED_HEADERS = "Link, Location, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id"
PREFLIGHT_SECONDS = 7200  # what Chromium keeps at most
MAX_INSTANCE = 512  # characters of the path in a problem
DEFAULT_RETRY_AFTER = 5  # seconds, where a 429 or 503 knows no better
_PREFLIGHT = {
    # Every method on every path: a browser sends, and can read the 405 of, only what is listed.
    "Access-Control-Allow-Methods": ", ".join((*METHODS, "OPTIONS")),
    "Access-Control-Allow-Headers": ALLOWED_HEADERS,
    "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
}
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True)
class Request:
    """What a route gets to see.

    Attributes:
        caller: Who asks; a public route does not look at it.
        body: The raw body, empty if there is none.
        headers: By their names in lower case.
        query: The last value of each parameter.
        params: The path's parameters.
        prefix: What stands before the routes' paths outside: the gateway's stage, or nothing.
    """

    caller: Caller
    body: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str]
    params: Mapping[str, str]
    prefix: str


@dataclass(frozen=True)
class Answer:
    """What a route answers: `body` is written as JSON, None as nothing at all."""

    status: int
    body: Json | None = None
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Answer]


@dataclass(frozen=True)
class Operation:
    """One method of one path, as the router, the OpenAPI document and the tests see it.

    Attributes:
        method: HTTP method.
        path: The route's pattern.
        handler: What it does; its docstring is its description.
        answers: Name of the schema by status; None for an answer without a body.
        body: Name of the request's schema, or None.
        problems: What can go wrong here, beside what can go wrong everywhere.
        is_public: Whether no token is needed.
        is_list: Whether it takes `limit` and `cursor`.
        is_in_line: Whether it may have to wait for its turn, and takes `Upload-Ticket`.
    """

    method: str
    path: str
    handler: Handler
    answers: dict[int, str | None]
    body: str | None = None
    problems: tuple[type[errors.BrokerError], ...] = ()
    is_public: bool = False
    is_list: bool = False
    is_in_line: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods that it is called by: HEAD is as GET, without the body."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


class Authenticator(Protocol):
    """Tells who sent a request; `auth.Authenticator` is one."""

    def caller(self, authorization: str | None) -> Caller:
        """Return the caller, or raise Unauthorized."""


class Edge(Protocol):
    """What the edge needs of the wired broker."""

    @property
    def authenticator(self) -> Authenticator:
        """Who tells callers from strangers."""

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a token."""


class Routes:
    """The operations of one blueprint.

    Args:
        name: The blueprint's module.
        edge: Returns the wired broker; raises Misconfigured when there is none.
        origins: Returns the origins that a browser may call from, or the one `*`; also when there
            is no broker, so that a browser can read that there is none.
    """

    def __init__(
        self, name: str, edge: Callable[[], Edge], origins: Callable[[], tuple[str, ...]]
    ) -> None:
        self._blueprint = Blueprint(name)
        self._edge = edge
        self._origins = origins
        self.operations: list[Operation] = []

    def operation(
        self, method: str, path: str, answers: dict[int, str | None], **more: Any
    ) -> Callable[[Handler], Handler]:
        """Declare an operation; the further arguments are those of `Operation`."""

        def declare(handler: Handler) -> Handler:
            self.operations.append(Operation(method, path, handler, answers, **more))
            return handler

        return declare

    def blueprint(self) -> Blueprint:
        """Register the operations, and on each path the preflight and the 405 for all else."""
        for path in dict.fromkeys(operation.path for operation in self.operations):
            here = [operation for operation in self.operations if operation.path == path]
            methods = [method for operation in here for method in operation.methods]
            for operation in here:
                self._register(path, list(operation.methods), self._serve(operation, methods))
            rest = [method for method in METHODS if method not in methods]
            self._register(path, [*rest, "OPTIONS"], self._serve(None, methods))
        return self._blueprint

    def _register(self, path: str, methods: list[str], view: Callable[..., Response]) -> None:
        # The edge reads the body itself, so that its refusals have one shape: hence `*/*`.
        self._blueprint.route(path, methods=methods, content_types=["*/*"])(view)

    def _serve(self, operation: Operation | None, methods: list[str]) -> Callable[..., Response]:
        def view(**params: str) -> Response:
            event = self._blueprint.current_request
            return _respond(event, self._edge, self._origins, operation, methods, params)

        return view


def stray(event: Any, origins: Callable[[], tuple[str, ...]]) -> Response:
    """Answer an event that names no route of the app."""

    def nobody() -> Edge:
        raise errors.NotFound("There is no such route.")

    return _respond(event, nobody, origins, None, [], {})


def _respond(  # noqa: PLR0913, PLR0917 - what a request is answered by
    event: Any,
    edge: Callable[[], Edge],
    origins: Callable[[], tuple[str, ...]],
    operation: Operation | None,
    methods: list[str],
    params: Mapping[str, str],
) -> Response:
    """Answer one request, whatever happens."""
    record = log.RequestRecord(
        request_id=_request_id(event.context.get("requestId")),
        method=event.method,
        # What no route has may be anything that a caller wrote.
        route=event.path if methods else "",
        started=time.monotonic(),
    )
    log.start(record)
    headers: dict[str, str | list[str]] = {"Vary": "Origin"}
    try:
        granted = _cors(event.headers.get("origin"), origins())
        headers |= granted
        if methods and operation is None and event.method == "OPTIONS":
            # An origin that may not call is told nothing.
            answer = Answer(204, None, dict(_PREFLIGHT) if granted else {})
        else:
            broker = edge()
            if broker.is_open:
                open_mode.refuse(_headers(event), origins())
            answer = _dispatch(event, broker, operation, methods, params)
        # As ASCII: what sync. says may hold half of a character, which UTF-8 can't carry.
        text = "" if answer.body is None else json.dumps(answer.body)
        media_type = "application/json"
    except Exception as error:  # noqa: BLE001 - nothing may leave without the edge's headers
        answer = _problem(error, event, record.request_id)
        text = json.dumps(answer.body)
        media_type = "application/problem+json"
    if text:
        headers["Content-Type"] = media_type
    headers |= {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Request-Id": record.request_id,
        **answer.headers,
    }
    log.finish(record, answer.status)
    # The answer to HEAD has no body; one would be read as the next answer on the connection.
    return Response(
        body="" if event.method == "HEAD" else text, status_code=answer.status, headers=headers
    )


def _dispatch(
    event: Any,
    broker: Edge,
    operation: Operation | None,
    methods: list[str],
    params: Mapping[str, str],
) -> Answer:
    allow = ", ".join([*methods, "OPTIONS"])
    if operation is None:
        raise errors.MethodNotAllowed(f"Use one of {allow}.", headers={"Allow": allow})
    headers = _headers(event)
    caller = _NOBODY
    if not operation.is_public:
        caller = broker.authenticator.caller(headers.get("authorization"))
        log.note(caller=caller.id)
    query = event.query_params
    request = Request(
        caller=caller,
        body=_body(event),
        headers=headers,
        query={name: query[name] for name in query} if query else {},
        params=params,
        prefix=_prefix(event),
    )
    return operation.handler(request)


def _headers(event: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in (event.headers or {}).items()}


def _request_id(given: object) -> str:
    """Take the gateway's id of the request; there is none on one's own machine."""
    return given if isinstance(given, str) and _ID.fullmatch(given) else secrets.token_hex(16)


def _body(event: Any) -> bytes:
    try:
        return bytes(event.raw_body)
    except (ValueError, TypeError, AttributeError) as error:
        raise errors.InvalidJson("The body can't be decoded.") from error


def _prefix(event: Any) -> str:
    """Find the stage, or the custom domain's base path, before the route's own path."""
    outside, inside = str(event.context.get("path") or ""), str(event.path)
    parts = outside.rstrip("/").split("/")
    prefix = "/".join(parts[: len(parts) - inside.rstrip("/").count("/")])
    return prefix if _PREFIX.fullmatch(prefix) else ""


def _instance(event: Any) -> str:
    """Write the request's path; two slashes at its front would make it another host's address."""
    path = str(event.context.get("path") or event.path)[:MAX_INSTANCE]
    return "/" + quote(path.lstrip("/"), safe="/%~", errors="replace")


def _cors(origin: str | None, allowed: tuple[str, ...]) -> dict[str, str]:
    if allowed == ("*",):
        granted = "*"
    elif origin is not None and origin in allowed:
        granted = origin
    else:
        return {}
    return {
        "Access-Control-Allow-Origin": granted,
        "Access-Control-Expose-Headers": EXPOSED_HEADERS,
    }


def _problem(error: Exception, event: Any, request_id: str) -> Answer:
    """Turn any failure into an answer; only a BrokerError's words go out."""
    if not isinstance(error, errors.BrokerError):
        log.failure("unexpected", error)
        error = errors.InternalError("The request failed inside the broker.")
    log.note(code=error.code)
    body = problem(error) | {
        "instance": _instance(event),
        "requestId": request_id,
    }
    headers = dict(error.headers)
    retry_after = error.retry_after
    if retry_after is None and error.status in {429, 503}:
        retry_after = DEFAULT_RETRY_AFTER
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    return Answer(error.status, body, headers)


def problem(error: errors.BrokerError) -> Json:
    """Write an error by RFC 9457, without what belongs to one request."""
    body: Json = {
        "type": f"urn:sync-upload-broker:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail or error.title,
        "code": error.code,
        "retryable": error.retryable,
    }
    if error.errors:
        body["errors"] = list(error.errors)
    return body | error.members


class _Nobody:
    """Stands for the caller of a public route: to ask it for anything is a defect."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a public route has no caller, so no {name}")


_NOBODY: Any = _Nobody()
