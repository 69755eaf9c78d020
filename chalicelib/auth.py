"""From a bearer token to a caller."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jwt
from jwt.exceptions import InvalidSubjectError

from chalicelib import errors
from chalicelib.callers import Caller, Limits
from chalicelib.keys import Key, Secret
from chalicelib.settings import jwt_secrets

LEEWAY_SECONDS = 10  # how far the clock of the app's backend may be off
MAX_TOKEN_BYTES = 8192
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1

# What is told to somebody whose token bears a signature that holds.
_REASONS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "The token has expired.",
    jwt.ImmatureSignatureError: "The token is not valid yet.",
    jwt.InvalidAudienceError: "The token is for another audience.",
    jwt.InvalidIssuerError: "The token is from another issuer.",
    InvalidSubjectError: "The token names nobody in `sub`.",
    jwt.MissingRequiredClaimError: "The token lacks a claim that is required here.",
}

# Another key may be the right one, and one that can't be used must not lock it out.
_NOT_THIS_KEY = (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidKeyError)

# From issuer and subject to an id that tells neither: `caller_ids.CallerIds.of` is one.
CallerId = Callable[[str, str], str]


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

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    def keys(self, header: Mapping[str, Any]) -> Iterator[Key]:  # noqa: ARG002 - as in Keys
        """Yield the secrets; if none of them held, there may be a new one meanwhile."""
        value = self._secret.current()
        yield from (Key(secret, "HS256") for secret in jwt_secrets(value))
        if self._secret.refresh(value):
            yield from (Key(secret, "HS256") for secret in jwt_secrets(self._secret.current()))


@dataclass(frozen=True)
class Rules:
    """What a token must say beside its signature.

    Attributes:
        issuer: What `iss` must be, or None where any will do.
        audience: What the audience must be or hold, or None where the token must have no `aud`.
        audience_claim: The claim that holds the audience; another one than `aud` must equal it.
        limits_claim: The claim that narrows the caller's limits, where a token has it.
    """

    issuer: str | None = None
    audience: str | None = None
    audience_claim: str = "aud"
    limits_claim: str = "upload"

    @property
    def is_in_aud(self) -> bool:
        """Whether the audience is where RFC 7519 has it."""
        return self.audience_claim == "aud" or self.audience is None


class Authenticator:
    """Verifies bearer tokens.

    Args:
        keys: What verifies their signatures.
        rules: What they must say.
        limits: What every caller may do.
        caller_id: Names a caller by issuer and subject.
    """

    def __init__(self, keys: Keys, rules: Rules, limits: Limits, caller_id: CallerId) -> None:
        self._keys = keys
        self._rules = rules
        self._limits = limits
        self._caller_id = caller_id

    def caller(self, authorization: str | None) -> Caller:
        """Return who sent the request.

        Args:
            authorization: The `Authorization` header, or None if there is none.

        Raises:
            Unauthorized: The token is absent, malformed, forged, expired, not for this broker, or
                says nobody's name. Which of these is told only where the signature holds.
            SecretsUnavailable: What verifies it can't be read now.
            StoreUnavailable: What names the caller can't be read now.
        """
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        # Two headers that were joined by a comma on the way are malformed, like everything else.
        is_token = len(token) <= MAX_TOKEN_BYTES and _TOKEN.fullmatch(token)
        if scheme.lower() != "bearer" or not is_token:
            raise _refused("Send a token: Authorization: Bearer <token>.", "")
        claims = self._claims(token)
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject:
            raise _refused("The token names nobody in `sub`.")
        limits = self._limits_of(claims)
        # Named last, so that a token which does not hold never makes the broker read its table.
        return Caller(self._caller_id(str(claims.get("iss", "")), subject), limits)

    def _limits_of(self, claims: Mapping[str, Any]) -> Limits:
        name = self._rules.limits_claim
        if name not in claims:
            return self._limits
        try:
            return self._limits.narrowed(claims[name])
        except ValueError as error:
            # To pass over it would give the caller more than the app's backend meant to.
            raise _refused(f"The token's claim `{name}` is malformed: {error}.") from error

    def _claims(self, token: str) -> dict[str, Any]:
        """Verify a token by each key that may have signed it."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") in self._keys.algorithms:
                for key in self._keys.keys(header):
                    try:
                        return self._verify(token, key)
                    except _NOT_THIS_KEY:
                        continue
        except (jwt.PyJWTError, ArithmeticError, ValueError, TypeError, RecursionError) as error:
            detail = _REASONS.get(type(error), "The token is not valid here.")
            raise _refused(detail) from error
        raise _refused("The token is not valid here.")

    def _verify(self, token: str, key: Key) -> dict[str, Any]:
        rules = self._rules
        claims: dict[str, Any] = jwt.decode(
            token,
            key.value,
            # A key has one algorithm, which is never taken from the token.
            algorithms=[key.algorithm],
            issuer=rules.issuer,
            audience=rules.audience if rules.is_in_aud else None,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "sub"], "verify_aud": rules.is_in_aud},
        )
        if not rules.is_in_aud and claims.get(rules.audience_claim) != rules.audience:
            raise jwt.InvalidAudienceError
        for name in ("exp", "nbf"):
            value = claims.get(name, 0)
            # PyJWT takes digits in a string for a time; RFC 7519, section 2, does not.
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise jwt.DecodeError(f"{name} must be a number")
        return claims


class Everybody:
    """Takes everybody for one caller, with a token or without: for the sandbox alone."""

    def __init__(self, limits: Limits, caller_id: CallerId) -> None:
        self._limits = limits
        self._caller_id = caller_id

    def caller(self, authorization: str | None) -> Caller:  # noqa: ARG002 - it does not matter
        """Return the one caller."""
        return Caller(self._caller_id("", "everybody"), self._limits)


def _refused(detail: str, error: str = "invalid_token") -> errors.Unauthorized:
    """RFC 6750, section 3: a request without a token is told the scheme and nothing else."""
    challenge = 'Bearer realm="sync upload broker"' + (f', error="{error}"' if error else "")
    return errors.Unauthorized(detail, headers={"WWW-Authenticate": challenge})
