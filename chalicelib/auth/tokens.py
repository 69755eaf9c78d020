"""Bearer tokens: verified, and turned into callers."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import jwt

from chalicelib.auth.caller import Caller, CallerId
from chalicelib.auth.claims import Rules, TokenRefusedError, shown
from chalicelib.auth.keys import Keys
from chalicelib.core import errors, log
from chalicelib.core.clock import Clock
from chalicelib.quotas.limits import Limits

MAX_TOKEN_BYTES = 8192
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
_HOW = "Authorization: Bearer <token>"
# RFC 6750, section 3: without a token, the challenge has no error code.
_CHALLENGE = 'Bearer realm="sync upload broker"'
_WITHOUT_TOKEN = frozenset({"no_token", "other_scheme"})
_UNREADABLE = (jwt.PyJWTError, ArithmeticError, ValueError, TypeError, RecursionError)

_jws = jwt.PyJWS()
if jwt.algorithms.has_crypto:
    # RFC 9864's name for EdDSA with the curve Ed25519; PyJWT has only the older name.
    _jws.register_algorithm("Ed25519", jwt.algorithms.OKPAlgorithm())


class Authenticator:
    """Verifies bearer tokens.

    Args:
        keys: The keys that verify their signatures.
        rules: The rules for their claims.
        limits: The limits of every caller, which a token may narrow.
        caller_id: Returns the id for an issuer and a subject.
        clock: The time.
    """

    def __init__(
        self,
        keys: Keys,
        rules: Rules,
        limits: Limits,
        caller_id: CallerId,
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._rules = rules
        self._limits = limits
        self._caller_id = caller_id
        self._clock = clock

    def prepare(self) -> None:
        """Read the keys, so that the first request need not.

        Raises:
            BrokerError: They can't be read now, or their content is wrong.
        """
        self._keys.prepare()

    def caller(self, authorization: str | None) -> Caller:
        """Return the caller who sent a request.

        Args:
            authorization: The `Authorization` header, or None if the request has none.

        Raises:
            Unauthorized: There is no token, or it is refused. The reason is logged and returned.
                Claims are checked only after the signature.
            SecretsUnavailable: The keys can't be read now.
            StoreUnavailable: The secret of the caller ids can't be read now.
        """
        try:
            claims = self._claims(_token(authorization))
            limits = self._limits_of(claims)
        except TokenRefusedError as refusal:
            request_id = log.request_id()
            log.event(
                "token_refused", requestId=request_id, reason=refusal.reason, **refusal.fields
            )
            is_bare = refusal.reason in _WITHOUT_TOKEN
            challenge = _CHALLENGE if is_bare else f'{_CHALLENGE}, error="invalid_token"'
            headers = {"WWW-Authenticate": challenge}
            raise errors.Unauthorized(refusal.detail, headers=headers) from refusal
        # The id comes last, so that a refused token never makes the broker read its table.
        return Caller(self._caller_id(claims.get("iss", ""), claims["sub"]), limits)

    def _limits_of(self, claims: Mapping[str, Any]) -> Limits:
        name = self._rules.limits_claim
        if name not in claims:
            return self._limits
        try:
            return self._limits.narrowed(claims[name])
        except ValueError as error:
            # If it were ignored, the caller would have more than the app's backend grants.
            detail = f"The token's claim `{name}` is malformed: {error}."
            raise TokenRefusedError(
                "malformed_limits", detail, claim=name, problem=str(error)
            ) from error

    def _claims(self, token: str) -> dict[str, Any]:
        """Return a token's claims after checking its signature and them."""
        header = _header(token)
        if shown(header.get("alg")) not in self._keys.algorithms:
            raise _other_algorithm(shown(header.get("alg")), self._keys.algorithms)
        payload = self._payload(token, header)
        try:
            claims = json.loads(payload)
        except (ValueError, RecursionError):
            claims = None
        if not isinstance(claims, dict):
            detail = "The token's payload is not a JSON object."
            raise TokenRefusedError("malformed_payload", detail)
        self._rules.check(claims, self._clock.now() / 1000)
        return claims

    def _payload(self, token: str, header: Mapping[str, Any]) -> bytes:
        """Return a token's payload if one of the keys verifies its signature."""
        refusal: TokenRefusedError | None = None
        for key in self._keys.keys(header):
            if header["alg"] not in key.algorithms:
                if refusal is not None and refusal.reason == "wrong_signature":
                    continue  # That reason is the more precise one.
                refusal = TokenRefusedError(
                    "algorithm_of_other_key",
                    "The token is signed with another algorithm than its key (`kid`) is for.",
                    kid=shown(header.get("kid")),
                    alg=shown(header["alg"]),
                    expected=", ".join(key.algorithms),
                )
                continue
            try:
                # The algorithm is the key's. It is never taken from the token.
                content = _jws.decode_complete(token, key.value, algorithms=list(key.algorithms))
            # The next key may be the right one, even if PyJWT can't use this one.
            except (jwt.InvalidSignatureError, jwt.InvalidKeyError):
                refusal = TokenRefusedError(
                    "wrong_signature",
                    "The token's signature is not valid here.",
                    kid=shown(header.get("kid")),
                    alg=shown(header["alg"]),
                )
            except jwt.DecodeError as error:
                raise _malformed_token(token) from error
            except _UNREADABLE as error:
                raise _malformed_header(error) from error
            else:
                payload: bytes = content["payload"]
                return payload
        raise refusal or _without_key(header)


def _without_key(header: Mapping[str, Any]) -> TokenRefusedError:
    if "kid" not in header:
        return TokenRefusedError(
            "missing_kid",
            "The token does not name the key that signed it (`kid`).",
            alg=shown(header["alg"]),
        )
    return TokenRefusedError(
        "unknown_key",
        "The token is signed with a key that this broker does not accept.",
        kid=shown(header["kid"]),
        alg=shown(header["alg"]),
    )


def _token(authorization: str | None) -> str:
    """Return the token of an `Authorization` header."""
    header = (authorization or "").strip()
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if not header:
        raise TokenRefusedError("no_token", f"Send a token: {_HOW}.")
    if "," in header:
        # Several headers arrive as one with commas, and no token has a comma.
        detail = f"There are several Authorization headers, or one has a comma. Send one: {_HOW}."
        raise TokenRefusedError("several_headers", detail)
    if scheme.lower() != "bearer":
        # This may be a token without its scheme, so it is not logged.
        raise TokenRefusedError("other_scheme", f"Send the token with the scheme Bearer: {_HOW}.")
    if not token:
        raise TokenRefusedError("no_token", f"The token after Bearer is empty. Send one: {_HOW}.")
    if token.partition(" ")[0].lower() == "bearer":
        detail = f"The word Bearer is there twice. Send the token after one: {_HOW}."
        raise TokenRefusedError("bearer_twice", detail)
    if len(token) > MAX_TOKEN_BYTES:
        detail = f"The token is longer than {MAX_TOKEN_BYTES:,} bytes."
        raise TokenRefusedError("too_long", detail, length=len(token))
    if not _TOKEN.fullmatch(token):
        detail = "The token has characters that no token has, such as a space or a quote."
        raise TokenRefusedError("malformed_token", detail, length=len(token))
    return token


def _header(token: str) -> Mapping[str, Any]:
    """Return the header of a token. Its signature is not verified yet."""
    try:
        header, _, _ = token.split(".")
        return _read_header(header)
    except (jwt.DecodeError, ArithmeticError, ValueError, TypeError, RecursionError) as error:
        raise _malformed_token(token) from error
    except jwt.PyJWTError as error:
        raise _malformed_header(error) from error


@lru_cache(maxsize=32)  # the tokens of one key have the same header
def _read_header(segment: str) -> Mapping[str, Any]:
    """Return the header in the first part of a token, checked by PyJWT beside an empty payload."""
    return _jws.get_unverified_header(f"{segment}..")


def _other_algorithm(shown_algorithm: str, accepted: Iterable[str]) -> TokenRefusedError:
    details = {
        "(absent)": "The token's header does not name the algorithm that signed it (`alg`).",
        "none": "The token is not signed (its `alg` is `none`).",
    }
    other = "The token is signed with an algorithm that this broker does not accept."
    return TokenRefusedError(
        "algorithm_not_accepted",
        details.get(shown_algorithm.lower(), other),
        alg=shown_algorithm,
        expected=", ".join(sorted(accepted)),
    )


def _malformed_token(token: str) -> TokenRefusedError:
    return TokenRefusedError("malformed_token", "The token is not a JWT.", length=len(token))


def _malformed_header(error: Exception) -> TokenRefusedError:
    detail = "The token's header has a `kid`, `crit` or `b64` that this broker does not accept."
    return TokenRefusedError("malformed_header", detail, problem=shown(str(error)))
