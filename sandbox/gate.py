"""Who may reach the sandbox's ports, decided before anything is done. Pure, standard library alone.

A port on loopback is open to every web page that the developer looks at: a browser sends what the
page asks for, and the sandbox asks nobody for a password. What a page can't do is lie about itself.

    Host             the name in the page's URL; a foreign name was made to point to this machine
    Origin           the page that a script's call or a form comes from; `null` may be any page
    Sec-Fetch-Site   sent to loopback with every request: whether another site caused it
    Referer          a page can leave it out, but can't name another page in it

Programs (curl, boto3, the SDKs) send none of these but `Host`. Old browsers know no
`Sec-Fetch-Site`; they still name the origin of every call that a script or a form can make.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

STATUS = 403
# No CORS: the page that is kept out can't even read why.
HEADERS = {
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    # Where a browser shows it, it must not even ask this port for an icon.
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "no-store",
    "Connection": "close",
}
STORAGE_PATHS = ("/storage/", "/assets/", "/media/", "/thumbnails/", "/outputs/")

_NAMES = ("127.0.0.1", "localhost")
_USUAL_PORT = 80  # browsers leave it out of `Host` and `Origin`
_MULTIPART = "multipart/form-data"
# What a form, or a script without asking first, can send.
_FORM_TYPES = {"application/x-www-form-urlencoded", _MULTIPART, "text/plain"}
_ADVICE = "docs/sandbox.md says which pages may call what, and how to name yours."


@dataclass(frozen=True)
class Rule:
    """What holds for some paths of a port.

    Attributes:
        origins: The pages whose scripts may call them; `*` stands for all.
        is_media: Whether elements of these pages (`<img>`, `<video>`) and links may load them,
            which name no origin.
        needs_json: Whether a body must be declared as JSON.
        is_dynamodb: Whether nothing passes but an SDK's call of DynamoDB.
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
        port: The port that it stands before.
        areas: Paths and their rules; a path that ends in `/` stands for all beneath it.
        rest: The rule of every other path.
    """

    port: int
    areas: tuple[tuple[str, Rule], ...]
    rest: Rule

    def refusal(self, method: str, target: str, headers: Iterable[tuple[str, str]]) -> str | None:
        """Return why a request is refused, or None if it may pass.

        Args:
            method: The HTTP method.
            target: Path and query as they were sent.
            headers: Names and values; a header that came twice is in it twice.
        """
        sent: dict[str, list[str]] = {}
        for name, value in headers:
            sent.setdefault(name.lower(), []).append(value.strip())
        rule = self._rule_of(target.partition("?")[0])
        return (
            self._misnamed(sent)
            or (None if target.startswith("/") else "Send the path alone, without scheme and host.")
            or (_no_dynamodb_call(method, target, sent) if rule.is_dynamodb else None)
            or _foreign_page(rule, method, sent)
            or _form(rule, method, sent)
        )

    def _rule_of(self, path: str) -> Rule:
        # What a server might read as another path gets the strictest rule.
        if {".", ".."} & set(unquote(path).split("/")):
            return self.rest
        for start, rule in self.areas:
            if path == start or (start.endswith("/") and path.startswith(start)):
                return rule
        return self.rest

    def _misnamed(self, sent: dict[str, list[str]]) -> str | None:
        own = [origin.removeprefix("http://") for origin in origins_at(self.port)]
        hosts = sent.get("host", [])
        if len(hosts) == 1 and hosts[0] in own:
            return None
        return f"This port answers under {own[0]} and {own[1]} only: call it by one of these names."


def origins_at(port: int) -> tuple[str, ...]:
    """Return the two origins that a page on a port of this machine can have."""
    suffix = "" if port == _USUAL_PORT else f":{port}"
    return tuple(f"http://{name}{suffix}" for name in _NAMES)


def before_broker(port: int, origins: Iterable[str]) -> Gate:
    """Return the broker's gate."""
    return Gate(port, (), Rule(frozenset(origins)))


def before_upstream(port: int, origins: Iterable[str]) -> Gate:
    """Return the gate of the upstream: only its storage is for pages, as the vendor's is."""
    storage = Rule(frozenset(origins), is_media=True)
    control = Rule(needs_json=True)
    areas = [*((path, storage) for path in STORAGE_PATHS), ("/_sandbox/", control)]
    return Gate(port, tuple(areas), Rule())


def before_dynamodb(port: int) -> Gate:
    """Return the gate of the DynamoDB emulator, which no page has any business with."""
    return Gate(port, (), Rule(is_dynamodb=True))


def before_demo(port: int, origins: Iterable[str]) -> Gate:
    """Return the demo's gate: its tokens are for all pages in use, the rest for its own page."""
    return Gate(port, (("/token", Rule(frozenset(origins))),), Rule(frozenset(origins_at(port))))


def _foreign_page(rule: Rule, method: str, sent: dict[str, list[str]]) -> str | None:
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
            " address into the address bar."
        )
    return f"A page of another site caused this request. {_ADVICE}"


def _referrer(sent: dict[str, list[str]]) -> str:
    """Return the origin of the page that caused a request, or `null` where it names none."""
    try:
        (referrer,) = sent.get("referer", [])
        parts = urlsplit(referrer)
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else "null"


def _form(rule: Rule, method: str, sent: dict[str, list[str]]) -> str | None:
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


def _no_dynamodb_call(method: str, target: str, sent: dict[str, list[str]]) -> str | None:
    operations = sent.get("x-amz-target", [])
    is_call = (
        method == "POST"
        and target == "/"
        and len(operations) == 1
        and operations[0].startswith("DynamoDB_20120810.")
        and sent.get("content-type") == ["application/x-amz-json-1.0"]
    )
    # A page that a browser shows can be told by these, whatever else it sends.
    if is_call and not sent.keys() & {"origin", "sec-fetch-site"}:
        return None
    return "This port takes DynamoDB's own calls from programs, such as boto3 makes, nothing else."
