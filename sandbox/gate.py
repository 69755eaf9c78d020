"""Decides which requests may reach the sandbox's ports. Pure, and uses the standard library only.

Every web page in the developer's browser can send requests to a port on loopback, and the sandbox
asks for no password. But a page can't forge these headers:

    Host             the host in the requested URL; a foreign name means DNS rebinding
    Origin           the page whose script or form sends the request; any page may be `null`
    Sec-Fetch-Site   whether another site caused the request; sent with each request to loopback
    Referer          the page that caused the request; it may be missing but not forged

Programs (curl, boto3, the SDKs) send only `Host`. Old browsers don't send `Sec-Fetch-Site`, but
they send `Origin` with each call that a script or a form can make.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

STATUS = 403
# There are no CORS headers, so a refused page can't read the reason.
HEADERS = {
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    # A browser that shows the response must not request an icon from this port.
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "no-store",
    "Connection": "close",
}
STORAGE_PATHS = ("/storage/", "/assets/", "/media/", "/thumbnails/", "/outputs/")

_NAMES = ("127.0.0.1", "localhost")
_DEFAULT_PORT = 80  # browsers leave it out of `Host` and `Origin`
_MULTIPART = "multipart/form-data"
# A form, or a script without a preflight, can send these types.
_FORM_TYPES = {"application/x-www-form-urlencoded", _MULTIPART, "text/plain"}
_ADVICE = "docs/sandbox.md lists which pages may call what, and how to add yours."


@dataclass(frozen=True)
class Rule:
    """The rule for some paths of a port.

    Attributes:
        origins: The origins whose scripts may call them; `*` means all.
        is_media: Whether links and elements (`<img>`, `<video>`) of these origins may load them,
            although such requests have no `Origin`.
        needs_json: Whether a body must be declared as JSON.
        is_dynamodb: Whether only calls of DynamoDB by an SDK may pass.
    """

    origins: frozenset[str] = frozenset()
    is_media: bool = False
    needs_json: bool = False
    is_dynamodb: bool = False

    def allows(self, origin: str) -> bool:
        """Whether a page of this origin may call."""
        return origin in self.origins or ("*" in self.origins and origin != "null")


@dataclass(frozen=True)
class Gate:
    """The rules of one port.

    Attributes:
        port: The port that it protects.
        areas: Paths and their rules; a path that ends in `/` covers all paths below it.
        rest: The rule for every other path.
    """

    port: int
    areas: tuple[tuple[str, Rule], ...]
    rest: Rule

    def refusal(self, method: str, target: str, headers: Iterable[tuple[str, str]]) -> str | None:
        """Return why a request is refused, or None if it may pass.

        Args:
            method: The HTTP method.
            target: Path and query as they were sent.
            headers: Names and values; a repeated header is in it repeatedly.
        """
        sent: dict[str, list[str]] = {}
        for name, value in headers:
            sent.setdefault(name.lower(), []).append(value.strip())
        rule = self._rule_of(target.partition("?")[0])
        return (
            self._refuse_host(sent)
            or (None if target.startswith("/") else "Send only the path, without scheme and host.")
            or (_refuse_non_dynamodb(method, target, sent) if rule.is_dynamodb else None)
            or _refuse_page(rule, method, sent)
            or _refuse_form(rule, method, sent)
        )

    def _rule_of(self, path: str) -> Rule:
        # A server might resolve dots to another path, so such a path gets the strictest rule.
        if {".", ".."} & set(unquote(path).split("/")):
            return self.rest
        for start, rule in self.areas:
            if path == start or (start.endswith("/") and path.startswith(start)):
                return rule
        return self.rest

    def _refuse_host(self, sent: dict[str, list[str]]) -> str | None:
        own = [origin.removeprefix("http://") for origin in origins_at(self.port)]
        hosts = sent.get("host", [])
        if len(hosts) == 1 and hosts[0] in own:
            return None
        return (
            f"This port responds under {own[0]} and {own[1]} only: call it by one of these names."
        )


def origins_at(port: int) -> tuple[str, ...]:
    """Return the two origins that a page on a port of this machine can have."""
    suffix = "" if port == _DEFAULT_PORT else f":{port}"
    return tuple(f"http://{name}{suffix}" for name in _NAMES)


def broker_gate(port: int, origins: Iterable[str]) -> Gate:
    """Return the broker's gate."""
    return Gate(port, (), Rule(frozenset(origins)))


def upstream_gate(port: int, origins: Iterable[str]) -> Gate:
    """Return the upstream's gate: pages may use only its storage, as with the vendor."""
    storage = Rule(frozenset(origins), is_media=True)
    control = Rule(needs_json=True)
    areas = [*((path, storage) for path in STORAGE_PATHS), ("/_sandbox/", control)]
    return Gate(port, tuple(areas), Rule())


def dynamodb_gate(port: int) -> Gate:
    """Return the gate of the DynamoDB emulator, which no page may call."""
    return Gate(port, (), Rule(is_dynamodb=True))


def demo_gate(port: int, origins: Iterable[str]) -> Gate:
    """Return the demo's gate: these origins may get tokens; only its own page may use the rest."""
    return Gate(port, (("/token", Rule(frozenset(origins))),), Rule(frozenset(origins_at(port))))


def _refuse_page(rule: Rule, method: str, sent: dict[str, list[str]]) -> str | None:
    if origins := sent.get("origin"):
        is_allowed = len(origins) == 1 and rule.allows(origins[0])
        which = "Pages of this origin" if rule.origins else "Pages"
        return None if is_allowed else f"{which} may not call this. {_ADVICE}"
    is_own = sent.get("sec-fetch-site", ["none"]) in (["same-origin"], ["none"])
    is_load = rule.is_media and method in {"GET", "HEAD"} and rule.allows(_referrer(sent))
    if is_own or is_load:
        return None
    if sent.get("sec-fetch-mode") == ["navigate"]:
        return (
            "A page of another site sent your browser here. If you want to see this, paste the"
            " URL into the address bar."
        )
    return f"A page of another site caused this request. {_ADVICE}"


def _referrer(sent: dict[str, list[str]]) -> str:
    """Return the origin of the page that caused a request, or `null` if `Referer` names none."""
    try:
        (referrer,) = sent.get("referer", [])
        parts = urlsplit(referrer)
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else "null"


def _refuse_form(rule: Rule, method: str, sent: dict[str, list[str]]) -> str | None:
    types = [value.partition(";")[0].strip().lower() for value in sent.get("content-type", [])]
    has_body = "transfer-encoding" in sent or sent.get("content-length", ["0"]) != ["0"]
    if rule.needs_json and has_body and types != ["application/json"]:
        return "A body must be sent as application/json; `curl --json` does it."
    is_sdk_upload = types == [_MULTIPART] and "x-api-key" in sent
    if method == "POST" and _FORM_TYPES.intersection(types) and not is_sdk_upload:
        return (
            "A web page's form could send this, so it is refused. Send JSON as application/json;"
            " `curl --json` does it."
        )
    return None


def _refuse_non_dynamodb(method: str, target: str, sent: dict[str, list[str]]) -> str | None:
    operations = sent.get("x-amz-target", [])
    is_call = (
        method == "POST"
        and target == "/"
        and len(operations) == 1
        and operations[0].startswith("DynamoDB_20120810.")
        and sent.get("content-type") == ["application/x-amz-json-1.0"]
    )
    # A browser adds one of these headers to every request of a page, and no SDK does.
    if is_call and not sent.keys() & {"origin", "sec-fetch-site"}:
        return None
    return "This port takes DynamoDB's own calls from programs, such as boto3 makes, nothing else."
