"""Routes: what they declare, and what is the same for all of them.

Every response passes here: request id, caller, CORS, errors as problem details, one log line.
Chalice's middleware sees no exception of a view, so each view is wrapped instead.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import chalice

from chalicelib.auth.caller import Caller
from chalicelib.core import errors, log
from chalicelib.web import cors, problems
from chalicelib.web.messages import Request, Response

MAX_INSTANCE = 512  # characters of the path in a problem
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")

Broker = TypeVar("Broker")
Handler = Callable[[Request, Broker], Response]


@dataclass(frozen=True)
class Host(Generic[Broker]):
    """The container that serves the routes.

    Attributes:
        broker: Returns the broker; raises Misconfigured if the settings are wrong.
        allowed_origins: Returns the origins that a browser may call from, or only `*`. They are
            known without a broker too, so that a browser can read that the settings are wrong.
        admit: Refuses a request by its headers, whatever its route.
        authenticate: Returns who sent a request; raises Unauthorized.
    """

    broker: Callable[[], Broker]
    allowed_origins: Callable[[], tuple[str, ...]]
    admit: Callable[[Broker, Mapping[str, str]], None]
    authenticate: Callable[[Broker, Mapping[str, str]], Caller]


@dataclass(frozen=True)
class Operation(Generic[Broker]):
    """One method of one path.

    Attributes:
        method: HTTP method.
        path: The route's pattern.
        id: The OpenAPI `operationId`. Generated clients use it, so it never changes.
        handler: What the operation does; the first line of its docstring is its summary.
        responses: Name of the schema by status; None for a response without a body, or with a body
            that has no schema.
        body: Name of the request's schema, or None.
        problems: What can fail here, beside what can fail everywhere.
        is_public: Whether no token is needed.
        is_list: Whether it takes `limit` and `cursor`.
        is_rate_limited: Whether it passes the rate limiter for presigns, and takes
            `Upload-Ticket`.
    """

    method: str
    path: str
    id: str
    handler: Handler[Broker]
    responses: dict[int, str | None]
    body: str | None = None
    problems: tuple[type[errors.BrokerError], ...] = ()
    is_public: bool = False
    is_list: bool = False
    is_rate_limited: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that call it: HEAD does what GET does, and its response has no body."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


class Routes(Generic[Broker]):
    """The operations of one module.

    Args:
        name: The module's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.operations: list[Operation[Broker]] = []

    def operation(
        self, method: str, path: str, id_: str, responses: dict[int, str | None], **more: Any
    ) -> Callable[[Handler[Broker]], Handler[Broker]]:
        """Declare an operation; the further arguments are those of `Operation`."""

        def declare(handler: Handler[Broker]) -> Handler[Broker]:
            self.operations.append(Operation(method, path, id_, handler, responses, **more))
            return handler

        return declare

    def blueprint(self, host: Host[Broker]) -> chalice.Blueprint:
        """Return the operations for Chalice, with a preflight and a 405 on each path."""
        blueprint = chalice.Blueprint(self._name)
        for path in dict.fromkeys(operation.path for operation in self.operations):
            here = [operation for operation in self.operations if operation.path == path]
            allowed = [method for operation in here for method in operation.methods]
            rest = [method for method in cors.METHODS if method not in allowed]
            views: list[tuple[Operation[Broker] | None, list[str]]] = [
                *((operation, list(operation.methods)) for operation in here),
                (None, [*rest, "OPTIONS"]),
            ]
            for operation, methods in views:
                view = _view(blueprint, host, operation, allowed)
                # The router reads the body, so that all its refusals have one form: hence `*/*`.
                blueprint.route(path, methods=methods, content_types=["*/*"])(view)
        return blueprint


def _view(
    blueprint: chalice.Blueprint,
    host: Host[Broker],
    operation: Operation[Broker] | None,
    allowed: list[str],
) -> Callable[..., chalice.Response]:
    def view(**params: str) -> chalice.Response:
        event = blueprint.current_request

        def serve() -> Response:
            if operation is None and event.method == "OPTIONS":
                granted = cors.headers(event.headers.get("origin"), host.allowed_origins())
                # An origin that may not call learns nothing.
                return Response(204, None, dict(cors.PREFLIGHT) if granted else {})
            broker = host.broker()
            headers = _headers(event)
            host.admit(broker, headers)
            if operation is None:
                allow = ", ".join([*allowed, "OPTIONS"])
                raise errors.MethodNotAllowed(f"Use one of {allow}.", headers={"Allow": allow})
            caller: Any = None  # A public route does not use it.
            if not operation.is_public:
                caller = host.authenticate(broker, headers)
                log.note(caller=caller.id)
            return operation.handler(_request(event, caller, headers, params), broker)

        return respond(event, host.allowed_origins, str(event.path), serve)

    return view


def unknown_route(event: Any, allowed_origins: Callable[[], tuple[str, ...]]) -> chalice.Response:
    """Return the response to an event that names no route of the app."""

    def serve() -> Response:
        raise errors.NotFound("There is no such route.")

    return respond(event, allowed_origins, "", serve)


def respond(
    event: Any,
    allowed_origins: Callable[[], tuple[str, ...]],
    route: str,
    serve: Callable[[], Response],
) -> chalice.Response:
    """Return the response to one request, and log it, whatever happens.

    Args:
        event: Chalice's request.
        allowed_origins: As those of `Host`.
        route: The route's pattern; empty for an unknown route, since a path may be any text.
        serve: Returns the operation's response, or raises.
    """
    record = log.RequestRecord(
        request_id=_request_id(event.context.get("requestId")),
        method=event.method,
        route=route,
        started=time.monotonic(),
    )
    log.start(record)
    headers: dict[str, str | list[str]] = {"Vary": "Origin"}
    try:
        headers |= cors.headers(event.headers.get("origin"), allowed_origins())
        response = serve()
        # As ASCII: Sync's texts may hold half of a surrogate pair, which UTF-8 can't carry.
        text = "" if response.body is None else json.dumps(response.body)
        media_type = "application/json"
    except Exception as error:  # noqa: BLE001 - every response needs the headers below
        response = problems.response(error, _instance(event), record.request_id)
        text = json.dumps(response.body)
        media_type = "application/problem+json"
    if text:
        headers["Content-Type"] = media_type
    headers |= {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Request-Id": record.request_id,
        **response.headers,
    }
    log.finish(record, response.status)
    # A body in the response to HEAD would be read as the connection's next response.
    body = "" if event.method == "HEAD" else text
    return chalice.Response(body=body, status_code=response.status, headers=headers)


def _request(
    event: Any, caller: Caller, headers: Mapping[str, str], params: Mapping[str, str]
) -> Request:
    query = event.query_params
    return Request(
        caller=caller,
        body=_body(event),
        headers=headers,
        query={name: query[name] for name in query} if query else {},
        params=params,
        prefix=_prefix(event),
    )


def _headers(event: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in event.headers.items()}


def _request_id(given: object) -> str:
    """Return the gateway's id of the request; a local gateway gives none."""
    return (
        given if isinstance(given, str) and _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    )


def _body(event: Any) -> bytes:
    try:
        return bytes(event.raw_body)
    except ValueError as error:
        raise errors.InvalidJson("The body can't be decoded.") from error


def _prefix(event: Any) -> str:
    """Return the stage, or the custom domain's base path, that precedes the route's path."""
    outside, inside = str(event.context.get("path") or ""), str(event.path)
    parts = outside.rstrip("/").split("/")
    prefix = "/".join(parts[: len(parts) - inside.rstrip("/").count("/")])
    return prefix if _PREFIX.fullmatch(prefix) else ""


def _instance(event: Any) -> str:
    """Return the request's path; two leading slashes would make it another host's URL."""
    path = str(event.context.get("path") or event.path)[:MAX_INSTANCE]
    return "/" + quote(path.lstrip("/"), safe="/%~", errors="replace")
