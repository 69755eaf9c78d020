"""Requests and responses of the routes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chalicelib.auth.caller import Caller
from chalicelib.core.types import Json


@dataclass(frozen=True)
class Request:
    """A request.

    Attributes:
        caller: Who sent it; a public route does not use it.
        body: The raw body; empty for a request without one.
        headers: By their names in lower case.
        query: The last value of each parameter.
        params: The path's parameters.
        prefix: What precedes the routes' paths from outside: the gateway's stage, or nothing.
    """

    caller: Caller
    body: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str]
    params: Mapping[str, str]
    prefix: str


@dataclass(frozen=True)
class Response:
    """A response.

    Attributes:
        status: HTTP status.
        body: Sent as JSON; None for an empty body.
        headers: Headers beside those that every response has.
    """

    status: int
    body: Json | None = None
    headers: dict[str, str] = field(default_factory=dict)
