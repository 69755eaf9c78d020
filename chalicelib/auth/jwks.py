"""An identity provider's public keys: fetched once, kept, fetched again when they may have changed.

Everybody can make up a token that names a key which does not exist, so how often that leads to a
request to the provider is bounded; and a provider that is down locks nobody out whose key is known.
"""

import json
import threading
from collections.abc import Mapping
from typing import Any

import requests
from jwt import PyJWTError, algorithms
from urllib3.exceptions import HTTPError

from chalicelib.auth.keys import Key
from chalicelib.core import errors, log
from chalicelib.core.allowance import Allowance
from chalicelib.core.clock import Clock

KEEP_SECONDS = 600.0  # how long a withdrawn key is still accepted
RETRY_SECONDS = 30.0  # when a timed refresh that failed is tried again
FETCH_SECONDS = 5.0  # the whole answer must be there by then
CONNECT_SECONDS = 2.0
MAX_BYTES = 256 * 1024  # a set of five RSA keys has about 4 kB
MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
_PUBLIC = ("kty", "crv", "n", "e", "x", "y")  # all fields that make a public key


class Jwks:
    """The keys at one address.

    Args:
        url: Where the JSON Web Key Set is.
        clock: The time.
        seconds: How long one fetch may take.

    Raises:
        Misconfigured: PyJWT can't verify such signatures, because `cryptography` is not installed.
    """

    algorithms = frozenset({"RS256", "ES256", "EdDSA", "Ed25519"})

    def __init__(
        self,
        url: str,
        clock: Clock,
        seconds: float = FETCH_SECONDS,
    ) -> None:
        if not algorithms.has_crypto:
            raise errors.Misconfigured(
                "JWT_JWKS_URL is not usable: the package cryptography must be in requirements.txt"
            )
        self._url = url
        self._clock = clock
        self._seconds = seconds
        self._keys: dict[str | None, list[Key]] = {}
        self._all: list[Key] = []
        self._due = clock.monotonic()
        self._has_failed = True
        self._fetches = 0
        self._allowance = Allowance(clock)
        self._lock = threading.Lock()

    def keys(self, header: Mapping[str, Any]) -> list[Key]:
        """Return the keys that may have signed a token: none, one, or several of one name.

        Args:
            header: The token's header. Only `kid` is looked at: `jku`, `x5u` and `jwk` let the
                sender choose the key.

        Raises:
            SecretsUnavailable: The key is not known, and the provider can't be asked now.
        """
        kid = header.get("kid")
        seen = self._fetches
        if self._clock.monotonic() >= self._due:
            # Requests that have keys keep using them while one of them fetches.
            self._refresh(seen, wait=not self._all, is_due=True)
        found = self._known(kid)
        if not found and self._fetches == seen:
            self._refresh(seen, wait=True, is_due=False)
            found = self._known(kid)
        if not found and self._has_failed:
            raise errors.SecretsUnavailable(
                "This service can't check who you are. Try again in a moment."
            )
        return found

    def _known(self, kid: str | None) -> list[Key]:
        if kid is None:
            return self._all if len(self._all) == 1 else []
        return self._keys.get(kid, [])

    def _refresh(self, seen: int, *, wait: bool, is_due: bool) -> None:
        """Fetch the keys, unless another request did so while this one waited.

        Args:
            seen: How many fetches there had been when this request came.
            wait: Whether to wait for another request that is fetching.
            is_due: Whether they are fetched for their age; otherwise for an unknown `kid`, and
                then every fetch serves all who look for a new key.
        """
        if not self._lock.acquire(blocking=wait):
            return
        try:
            if self._fetches == seen and (is_due or self._allowance.take()):
                self._fetch()
                self._fetches += 1
        finally:
            self._lock.release()

    def _fetch(self) -> None:
        """Replace the keys; where that fails, keep them."""
        try:
            found = _parse(self._download())
        except (requests.RequestException, HTTPError, OSError, ValueError, RecursionError) as error:
            self._has_failed = True
            self._due = self._clock.monotonic() + RETRY_SECONDS
            log.event("jwks_not_read", level=40, reason=type(error).__name__)
            return
        by_kid: dict[str | None, list[Key]] = {}
        for kid, key in found:
            by_kid.setdefault(kid, []).append(key)
        self._keys, self._all = by_kid, [key for _, key in found]
        self._has_failed = False
        self._due = self._clock.monotonic() + KEEP_SECONDS
        if not found:
            log.event("jwks_without_keys", level=40)

    def _download(self) -> bytes:
        deadline = self._clock.monotonic() + self._seconds
        with requests.Session() as session:
            # Neither proxies nor .netrc of the machine have a part in this.
            session.trust_env = False
            with session.get(
                self._url,
                headers={"accept": "application/json", "accept-encoding": "identity"},
                timeout=(min(CONNECT_SECONDS, self._seconds), self._seconds),
                # What the operator set is where the keys are; nobody may point elsewhere.
                allow_redirects=False,
                stream=True,
            ) as response:
                if response.status_code != requests.codes.ok:
                    raise ValueError(f"status {response.status_code}")
                content = bytearray()
                # A read that waited for a full block would let a trickle outlast the deadline.
                while chunk := response.raw.read1(16384):
                    content += chunk
                    if len(content) > MAX_BYTES or self._clock.monotonic() > deadline:
                        raise ValueError("the answer has no end")
        return bytes(content)


def _parse(content: bytes) -> list[tuple[str | None, Key]]:
    """Read a set (RFC 7517, section 5); a key that can't be used is passed over."""
    document = json.loads(content)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JSON Web Key Set")  # noqa: TRY004 - what is wrong is the data
    return [
        (entry["kid"] if isinstance(entry.get("kid"), str) else None, key)
        for entry in entries
        if isinstance(entry, dict) and (key := _key(entry)) is not None
    ]


def _key(entry: dict[str, Any]) -> Key | None:
    """Make a key of one entry; None for what must not, or can't, verify a token here."""
    # The algorithm follows from the key's own type, and from nothing that a token says.
    reader: Any
    names: tuple[str, ...]
    match entry:
        case {"kty": "RSA", "n": str(), "e": str()}:
            reader, names = algorithms.RSAAlgorithm, ("RS256",)
        case {"kty": "EC", "crv": "P-256", "x": str(), "y": str()}:
            reader, names = algorithms.ECAlgorithm, ("ES256",)
        case {"kty": "OKP", "crv": "Ed25519", "x": str()}:
            # One algorithm: EdDSA (RFC 8037) leaves the curve open, Ed25519 (RFC 9864) names it.
            reader, names = algorithms.OKPAlgorithm, ("EdDSA", "Ed25519")
        case _:
            return None
    operations = entry.get("key_ops")
    if (
        entry.get("use", "sig") != "sig"
        or entry.get("alg", names[0]) not in names
        or (isinstance(operations, list) and "verify" not in operations)
        or "d" in entry  # With its private part published, the key proves nothing.
    ):
        return None
    try:
        value = reader.from_jwk({name: entry[name] for name in _PUBLIC if name in entry})
    except (PyJWTError, ValueError):
        return None
    if names == ("RS256",) and value.key_size < MIN_RSA_BITS:
        return None
    return Key(value, names)
