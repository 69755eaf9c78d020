"""Which public URLs may be registered. Hosts are not resolved, since Sync fetches the URLs."""

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

# The last label of names that only mean something inside a network (RFC 6761, 6762, 8375).
_PRIVATE_SUFFIXES = frozenset(
    {
        "localhost",
        "localdomain",
        "local",
        "internal",
        "intranet",
        "lan",
        "home",
        "corp",
        "private",
        "svc",
        "cluster",
        "test",
        "invalid",
        "arpa",
        "onion",
    }
)
# The addresses of hosts. Other addresses contain a second address, or belong to one network.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Networks of IANA's registries of special-purpose addresses that `is_global` accepts in some
# release of Python: most of 192.0.0.0/24 and all of 3fff::/20 in 3.11.2, parts of 2001::/23 in
# later ones.
_NOT_PUBLIC_IPV4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "168.63.129.16/32",  # no registry's, but Azure's: its host agent
        "192.0.0.0/24",  # IETF protocol assignments (RFC 6890)
        "192.31.196.0/24",  # AS112: answers of whoever runs a node in this network (RFC 7535)
        "192.52.193.0/24",  # AMT relays (RFC 7450)
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "192.175.48.0/24",  # AS112 (RFC 7534)
    )
)
_NOT_PUBLIC_IPV6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # IETF protocol assignments (RFC 2928), Teredo's embedded IPv4 among them
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4: carries an IPv4 address (RFC 3056)
        "2620:4f:8000::/48",  # AS112 (RFC 7534)
        "3fff::/20",  # documentation (RFC 9637)
    )
)
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # RFC 5214: upper half of an interface that carries IPv4
_IN_STORAGE = "must not be in Sync's own storage: upload the file instead"
_NOT_PLAIN = "must be plain ASCII without spaces or backslashes, as new URL(url).href writes it"
_NOT_ABSOLUTE = "must be an absolute URL, such as https://media.example.com/speaker.mp4"
_CREDENTIALS = "must not hold credentials"
_ESCAPED = "must name its host plainly, without escapes"
_NOT_PUBLIC = "must name a public host"
_NO_URL = "must be a URL"
# The same reasons for end users who have pasted a link.
_IN_WORDS = {
    _IN_STORAGE: "points to a file that Sync keeps itself. Upload the file instead",
    _NOT_PLAIN: "has a space or a letter that links can't have. Copy it from the address bar",
    _NOT_ABSOLUTE: "is not complete. It must begin with https:// and the name of a site",
    _CREDENTIALS: "has a user name or a password in it",
    _ESCAPED: "has an unusual spelling. Copy it from the address bar",
    _NOT_PUBLIC: "does not lead to a public site",
    _NO_URL: "is not a link. Copy it from the address bar",
}
_BRACKETS = re.compile(r"[^\[\]]*|\[[^\[\]]*\](:[0-9]*)?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")


def refusal(url: str, storage_hosts: Collection[str], exceptions: Collection[str]) -> str | None:
    """Return why a URL may not be registered.

    Args:
        url: What the browser sent.
        storage_hosts: Hosts of Sync's storage, each with a port if it is not the usual one.
        exceptions: Exact origins that may be plain http, or local.

    Returns:
        What would be right, or None if the URL may be registered.
    """
    # Browsers and servers read these characters differently, so one may see another host.
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return _NOT_PLAIN
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return _NO_URL
    host = (parts.hostname or "").rstrip(".")
    is_exception = _origin(parts) in exceptions
    rules = (
        (not host, _NOT_ABSOLUTE),
        ("@" in parts.netloc, _CREDENTIALS),
        # Parsers differ about escapes, and about text beside the brackets.
        ("%" in parts.netloc or not _BRACKETS.fullmatch(parts.netloc), _ESCAPED),
        (_is_storage(host, port, parts.scheme, storage_hosts), _IN_STORAGE),
        (parts.scheme != "https" and not is_exception, "must be https"),
        (not is_exception and not _is_public(host), _NOT_PUBLIC),
    )
    return next((words for is_broken, words in rules if is_broken), None)


def in_words(reason: str) -> str:
    """Return a refusal as a sentence for end users."""
    return f"This link can't be added: it {_IN_WORDS.get(reason, reason)}."


def storage_refusal(url: str, storage_hosts: Collection[str]) -> str | None:
    """Return the refusal of a URL that is in Sync's storage; None for any other URL."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    return _IN_STORAGE if _is_storage(host, parts.port, parts.scheme, storage_hosts) else None


def _origin(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}".lower()


def _is_storage(host: str, port: int | None, scheme: str, storage_hosts: Collection[str]) -> bool:
    """Whether a host is one of the storage's. A storage host without a port includes all ports."""
    named = f"{host}:{port or (443 if scheme == 'https' else 80)}"
    return any(
        known.rstrip(".") == host or known in (named, f"[{host}]:{port}") for known in storage_hosts
    )


def _is_public(host: str) -> bool:
    """Whether a host is a public address, or a name that may have one."""
    try:
        return _is_public_address(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.split(".")
    # WHATWG URL, "ends in a number": every parser tries to read such a host as an IPv4 address in
    # decimal, octal, hexadecimal or short form. Nobody needs these spellings.
    if _NUMBER.fullmatch(labels[-1]):
        return False
    if len(labels) < 2 or labels[-1] in _PRIVATE_SUFFIXES:  # noqa: PLR2004 - a name with a dot
        return False
    return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels)  # noqa: PLR2004 - RFC 1035


def _is_public_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address belongs to one host in the public network, and contains no other one."""
    if isinstance(address, ipaddress.IPv4Address):
        is_special = any(address in network for network in _NOT_PUBLIC_IPV4)
    else:
        is_named = any(address in network for network in _NOT_PUBLIC_IPV6)
        is_isatap = (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP
        is_special = is_named or is_isatap or address not in _GLOBAL_UNICAST
    return address.is_global and not address.is_multicast and not is_special
