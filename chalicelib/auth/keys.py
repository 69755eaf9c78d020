"""The keys that verify the signatures of tokens."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from chalicelib.aws.secrets import CachedSecret
from chalicelib.core.settings import jwt_secrets


class Key(NamedTuple):
    """A key that verifies signatures, and all names of its one algorithm."""

    value: Any
    algorithms: tuple[str, ...]


class Keys(Protocol):
    """A source of keys: `SharedSecret` or `jwks.Jwks`."""

    @property
    def algorithms(self) -> frozenset[str]:
        """The algorithms of all keys that it may have."""

    def prepare(self) -> None:
        """Read the keys before there is a request."""

    def keys(self, header: Mapping[str, Any]) -> Iterable[Key]:
        """Return the keys to try. The header is only a hint: its signature is not verified."""


class SharedSecret:
    """The secret that the app's backend signs tokens with (HS256), or two during a rotation."""

    algorithms = frozenset({"HS256"})

    def __init__(self, secret: CachedSecret) -> None:
        self._secret = secret

    def prepare(self) -> None:
        """Read the secret."""
        self._secret.current()

    def keys(self, header: Mapping[str, Any]) -> Iterator[Key]:  # noqa: ARG002 - as in Keys
        """Yield the secrets, then new ones if all have failed and the parameter has changed."""
        value = self._secret.current()
        yield from (Key(secret, ("HS256",)) for secret in jwt_secrets(value))
        if self._secret.refresh(value):
            yield from (Key(secret, ("HS256",)) for secret in jwt_secrets(self._secret.current()))
