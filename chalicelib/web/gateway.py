"""API Gateway's events.

Chalice does not check an event: a field that is missing, or of another type, raises before any
route is called, and an event without a route gets a 500 in another form. API Gateway sends all
fields, but the console's test button and other event sources do not, and nobody should get a stack
trace.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from chalice import Chalice
from chalice.app import Request

from chalicelib.core.types import Json
from chalicelib.web.router import Host, unknown_route


class App(Chalice):
    """Chalice, for events of any shape.

    Args:
        name: The app's name.
        host: What serves the routes.
    """

    def __init__(self, name: str, host: Host[Any]) -> None:
        super().__init__(app_name=name)
        self._host = host

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        """Return the response to one event."""
        made = regular(event)
        asked = made["requestContext"]
        self.lambda_context, self.current_request = context, Request(made)
        route = self.routes.get(asked["resourcePath"], {}).get(asked["httpMethod"])
        if route is None:
            response = unknown_route(self.current_request, self._host.allowed_origins)
        else:
            # Chalice would also look for middleware, CORS and binary bodies, which no route has.
            params = {name: made["pathParameters"][name] for name in route.view_args}
            response = route.view_function(**params)
        document: Json = response.to_dict()
        return document


def regular(event: Any) -> Json:
    """Return an event as API Gateway documents it for a REST API's Lambda proxy.

    A header that was sent several times becomes one with commas (RFC 9110, section 5.3). API
    Gateway would pass only the last one, while another server may use the first.
    """
    given = _mapping(event)
    context = _mapping(given.get("requestContext"))
    route, method, body = context.get("resourcePath"), context.get("httpMethod"), given.get("body")
    several, single = _texts(given.get("multiValueHeaders")), _texts(given.get("headers"))
    query = _lists(given.get("multiValueQueryStringParameters"))
    named = _mapping(given.get("pathParameters"))
    return {
        **given,
        "requestContext": {
            **context,
            "resourcePath": route if isinstance(route, str) else "",
            "httpMethod": method if isinstance(method, str) else "",
        },
        "headers": {name: ", ".join(values) for name, values in (single | several).items()},
        "multiValueQueryStringParameters": query or None,
        "pathParameters": defaultdict(str, {n: v for n, v in named.items() if isinstance(v, str)}),
        "stageVariables": given.get("stageVariables"),
        "body": body if isinstance(body, str | bytes) else None,
    }


def _mapping(value: Any) -> Json:
    """Return the entries of a mapping whose keys are texts; none of any other value."""
    if not isinstance(value, Mapping):
        return {}
    return {name: item for name, item in value.items() if isinstance(name, str)}


def _texts(value: Any) -> dict[str, list[str]]:
    """Return the texts of headers by their names in lower case; equal names share a list."""
    found: dict[str, list[str]] = {}
    for name, given in _mapping(value).items():
        values = given if isinstance(given, list) else [given]
        if texts := [one for one in values if isinstance(one, str)]:
            found.setdefault(name.lower(), []).extend(texts)
    return found


def _lists(value: Any) -> dict[str, list[str]]:
    """Return the texts of each name; a name without a text is left out."""
    given = {name: item for name, item in _mapping(value).items() if isinstance(item, list)}
    found = {name: [one for one in item if isinstance(one, str)] for name, item in given.items()}
    return {name: texts for name, texts in found.items() if texts}
