"""What verifies the signature of a token."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from chalicelib.aws.secrets import CachedSecret
from chalicelib.core.settings import jwt_secrets


class Key(NamedTuple):
    """A key that verifies signatures, and all names of the one algorithm that it is for."""

    value: Any
    algorithms: tuple[str, ...]


class Keys(Protocol):
    """Knows what verifies a token: `SharedSecret` or `jwks.Jwks`."""

    @property
    def algorithms(self) -> frozenset[str]:
        """All algorithms that any of its keys may be used with."""

    def keys(self, header: Mapping[str, Any]) -> Iterable[Key]:
        """Return keys to try, the likelier first. The header is only a hint: nobody signed it."""


class SharedSecret:
    """A secret that the app's backend signs tokens with, or two while one is rotated (HS256)."""

    algorithms = frozenset({"HS256"})

    def __init__(self, secret: CachedSecret) -> None:
        self._secret = secret

    def keys(self, header: Mapping[str, Any]) -> Iterator[Key]:  # noqa: ARG002 - as in Keys
        """Yield the secrets; if none of them held, there may be a new one meanwhile."""
        value = self._secret.current()
        yield from (Key(secret, ("HS256",)) for secret in jwt_secrets(value))
        if self._secret.refresh(value):
            yield from (Key(secret, ("HS256",)) for secret in jwt_secrets(self._secret.current()))
