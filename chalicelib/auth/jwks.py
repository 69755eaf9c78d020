"""The public keys of an identity provider (a JSON Web Key Set): fetched, kept, refreshed.

PyJWT parses the keys. Its own client does not fetch them, because it follows redirects, obeys proxy
variables and reads without a bound.

Anybody can send a token that names a key which does not exist, so the number of requests that this
causes is bounded. If the provider is down, tokens of known keys are still accepted.
"""

import json
import logging
import threading
from collections.abc import Mapping
from typing import Any

import requests
from jwt import PyJWK, PyJWTError
from jwt.algorithms import has_crypto
from urllib3.exceptions import HTTPError

from chalicelib.auth.keys import Key
from chalicelib.core import errors, log
from chalicelib.core.allowance import Allowance
from chalicelib.core.clock import Clock

KEEP_SECONDS = 600.0  # for how long a withdrawn key is still accepted
RETRY_SECONDS = 30.0  # until the keys are fetched again after a failure
FETCH_SECONDS = 5.0  # until the whole response must have arrived
CONNECT_SECONDS = 2.0
MAX_BYTES = 256 * 1024  # a set of five RSA keys has about 4 kB
MIN_RSA_BITS = 2048  # RFC 7518, section 3.3


class Jwks:
    """The keys at one URL.

    Args:
        url: The URL of the JSON Web Key Set.
        clock: The time.
        seconds: How long one fetch may take.

    Raises:
        Misconfigured: `cryptography` is not installed, without which PyJWT can't verify signatures
            by public keys.
    """

    algorithms = frozenset({"RS256", "ES256", "EdDSA", "Ed25519"})

    def __init__(
        self,
        url: str,
        clock: Clock,
        seconds: float = FETCH_SECONDS,
    ) -> None:
        if not has_crypto:
            raise errors.Misconfigured(
                "JWT_JWKS_URL is not usable: the package cryptography must be in requirements.txt"
            )
        self._url = url
        self._clock = clock
        self._seconds = seconds
        self._keys: list[tuple[str | None, Key]] = []
        self._due = clock.monotonic()
        self._has_failed = True
        self._fetches = 0
        self._allowance = Allowance(clock)
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Fetch the keys."""
        self._refresh(self._fetches, wait=True, is_due=True)

    def keys(self, header: Mapping[str, Any]) -> list[Key]:
        """Return the keys that may have signed a token: none, one, or several with one `kid`.

        Args:
            header: The token's header. Only its `kid` is used. With `jku`, `x5u` and `jwk` the
                sender would choose the key.

        Raises:
            SecretsUnavailable: The key is not known, and the provider can't be reached.
        """
        kid = header.get("kid")
        seen = self._fetches
        if self._clock.monotonic() >= self._due:
            # While one request fetches the keys, the others use those that they have.
            self._refresh(seen, wait=not self._keys, is_due=True)
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
        if kid is None:  # then it can only be the one key of a set
            return [key for _, key in self._keys] if len(self._keys) == 1 else []
        return [key for key_id, key in self._keys if key_id == kid]

    def _refresh(self, seen: int, *, wait: bool, is_due: bool) -> None:
        """Fetch the keys, unless another request fetched them while this one waited.

        Args:
            seen: The number of fetches when this request began.
            wait: Whether to wait while another request fetches.
            is_due: Whether the keys are too old. Otherwise a `kid` is unknown, and the allowance
                bounds how often that causes a fetch.
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
        """Replace the keys, or keep them if that fails."""
        try:
            self._keys = _parse(self._download())
        except (requests.RequestException, HTTPError, OSError, ValueError, RecursionError) as error:
            self._has_failed = True
            self._due = self._clock.monotonic() + RETRY_SECONDS
            log.event("jwks_not_read", level=logging.ERROR, reason=type(error).__name__)
            return
        self._has_failed = False
        self._due = self._clock.monotonic() + KEEP_SECONDS
        if not self._keys:
            log.event("jwks_without_keys", level=logging.ERROR)

    def _download(self) -> bytes:
        deadline = self._clock.monotonic() + self._seconds
        with requests.Session() as session:
            session.trust_env = False  # neither proxies nor .netrc of the machine
            with session.get(
                self._url,
                headers={"accept": "application/json", "accept-encoding": "identity"},
                timeout=(min(CONNECT_SECONDS, self._seconds), self._seconds),
                allow_redirects=False,  # the keys are at the operator's URL and nowhere else
                stream=True,
            ) as response:
                if response.status_code != requests.codes.ok:
                    raise ValueError(f"status {response.status_code}")
                content = bytearray()
                # A read of a full block would let a trickle outlast the deadline.
                while chunk := response.raw.read1(16384):
                    content += chunk
                    if len(content) > MAX_BYTES or self._clock.monotonic() > deadline:
                        raise ValueError("the response is too large or too slow")
        return bytes(content)


def _parse(content: bytes) -> list[tuple[str | None, Key]]:
    """Return the usable keys of a set (RFC 7517, section 5), each with its `kid`."""
    document = json.loads(content)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a JSON Web Key Set")  # noqa: TRY004 - the data is wrong
    # PyJWKSet refuses a set without usable keys, which is how a provider withdraws all of them, and
    # passes over keys whose `alg` is Ed25519. So each key is parsed alone.
    return [
        (entry["kid"] if isinstance(entry.get("kid"), str) else None, key)
        for entry in entries
        if isinstance(entry, dict) and (key := _key(entry)) is not None
    ]


def _key(entry: dict[str, Any]) -> Key | None:
    """Return a key, or None if it can't be used or must not verify a token here."""
    # The algorithm follows from the key's type and curve, never from the token.
    names: tuple[str, ...]
    match entry:
        case {"kty": "RSA"}:
            names = ("RS256",)
        case {"kty": "EC", "crv": "P-256"}:
            names = ("ES256",)
        case {"kty": "OKP", "crv": "Ed25519"}:
            names = ("EdDSA", "Ed25519")  # the names of RFC 8037 and of RFC 9864
        case _:
            return None
    operations = entry.get("key_ops")
    if (
        entry.get("use", "sig") != "sig"
        or entry.get("alg", names[0]) not in names
        or (isinstance(operations, list) and "verify" not in operations)
        or "d" in entry  # the private key is published, so anybody can sign with it
    ):
        return None
    try:
        value = PyJWK(entry, names[0]).key
    except PyJWTError:
        return None
    if names == ("RS256",) and value.key_size < MIN_RSA_BITS:
        return None
    return Key(value, names)
