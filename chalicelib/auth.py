"""From a bearer token to a caller."""

import hashlib
from typing import Any

import jwt

from chalicelib import errors
from chalicelib.callers import Caller, Limits
from chalicelib.keys import Secret
from chalicelib.settings import jwt_secrets

LEEWAY_SECONDS = 10  # how far the clock of the app's backend may be off
MAX_TOKEN_BYTES = 8192


class Authenticator:
    """Verifies bearer tokens that the app's own backend signed with a shared secret (HS256).

    Args:
        secret: The shared secret, or two while one is rotated.
        issuer: What `iss` must be, or None where any will do.
        audience: What `aud` must be or hold, or None where the token must have none.
        limits: What every caller may do.
    """

    def __init__(
        self, secret: Secret, issuer: str | None, audience: str | None, limits: Limits
    ) -> None:
        self._secret = secret
        self._issuer = issuer
        self._audience = audience
        self._limits = limits

    def caller(self, authorization: str | None) -> Caller:
        """Return who sent the request.

        Args:
            authorization: The `Authorization` header, or None if there is none.

        Raises:
            Unauthorized: The token is absent, malformed, forged, expired, not for this broker, or
                says nobody's name. Which of these is told only where the signature holds.
        """
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_BYTES:
            raise _refused("Send a token: Authorization: Bearer <token>.", "")
        claims = self._claims(token)
        subject = claims["sub"]
        if not isinstance(subject, str) or not subject:
            raise _refused("The token names nobody in `sub`.", "invalid_token")
        return Caller(_hash(str(claims.get("iss", "")), subject), self._limits)

    def _claims(self, token: str) -> dict[str, Any]:
        """Verify a token with each secret that is accepted; a new one may have come meanwhile."""
        value = self._secret.current()
        try:
            return self._verify(token, jwt_secrets(value))
        except jwt.InvalidSignatureError as error:
            if not self._secret.refresh(value):
                raise _refused("The token is not valid here.", "invalid_token") from error
        try:
            return self._verify(token, jwt_secrets(self._secret.current()))
        except jwt.InvalidSignatureError as error:
            raise _refused("The token is not valid here.", "invalid_token") from error

    def _verify(self, token: str, secrets: tuple[str, ...]) -> dict[str, Any]:
        """Verify a token; only a wrong signature is worth a look at the next secret."""
        last = jwt.InvalidSignatureError()
        for secret in secrets:
            try:
                # The algorithm is fixed here and never taken from the token.
                return jwt.decode(
                    token,
                    secret,
                    algorithms=["HS256"],
                    issuer=self._issuer,
                    audience=self._audience,
                    leeway=LEEWAY_SECONDS,
                    options={"require": ["exp", "sub"]},
                )
            except jwt.InvalidSignatureError as error:
                last = error
            except jwt.ExpiredSignatureError as error:
                raise _refused("The token has expired.", "invalid_token") from error
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
                raise _refused("The token is not valid here.", "invalid_token") from error
        raise last


def _hash(issuer: str, subject: str) -> str:
    """Name a caller without telling who it is; the length keeps issuer and subject apart."""
    text = f"{len(issuer)}:{issuer}{subject}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _refused(detail: str, error: str) -> errors.Unauthorized:
    """RFC 6750, section 3: a request without a token is told the scheme and nothing else."""
    challenge = 'Bearer realm="sync upload broker"' + (f', error="{error}"' if error else "")
    return errors.Unauthorized(detail, headers={"WWW-Authenticate": challenge})
