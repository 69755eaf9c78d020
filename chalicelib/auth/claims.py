"""The rules for a token's claims, and the exception for refused tokens. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LEEWAY_SECONDS = 10  # by how much the clock of the app's backend may differ
MAX_SHOWN = 200  # characters of one claim in the log
_TIMES = ("exp", "nbf", "iat")


class TokenRefusedError(Exception):
    """The `Authorization` header, or the token in it, is refused.

    Attributes:
        reason: The reason, for the operator's log; `docs/operations.md` lists all.
        detail: The reason, for the caller.
        fields: Further fields of the log line. Text of a token is in them only as `shown`.
    """

    def __init__(self, reason: str, detail: str, **fields: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.fields = fields


@dataclass(frozen=True)
class Rules:
    """The rules for a token's claims.

    Attributes:
        issuer: The required `iss`, or None if any issuer is accepted.
        audiences: The accepted audiences. If there are none, the token must have no `aud`.
        audience_claim: The claim with the audience. Only `aud` may be a list.
        limits_claim: The optional claim that narrows the caller's limits.
    """

    issuer: str | None = None
    audiences: tuple[str, ...] = ()
    audience_claim: str = "aud"
    limits_claim: str = "upload"

    def check(self, claims: Mapping[str, Any], now: float) -> None:
        """Check the claims of a token whose signature is valid.

        Args:
            claims: The token's claims.
            now: Seconds since 1970.

        Raises:
            TokenRefusedError: A claim is missing or malformed, or its value is not accepted.
        """
        _check_times(claims, now)
        if self.issuer is not None:
            _require(claims, "iss")
        if not isinstance(claims.get("iss", ""), str):
            raise _malformed("iss", "text")
        if self.issuer is not None and claims["iss"] != self.issuer:
            raise TokenRefusedError(
                "wrong_issuer",
                "The token is from another issuer.",
                claim="iss",
                expected=shown(self.issuer),
                seen=shown(claims["iss"]),
            )
        self._check_audience(claims)
        _require(claims, "sub")
        if not isinstance(claims["sub"], str):
            raise _malformed("sub", "text")
        if not claims["sub"]:
            raise TokenRefusedError("empty_claim", "The token's `sub` is empty.", claim="sub")

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        name = self.audience_claim
        if self.audiences:
            _require(claims, name)
        found: Any = claims.get(name) or []
        named = found if name == "aud" and isinstance(found, list) else [found]
        if not all(isinstance(one, str) for one in named):
            raise _malformed(name, "text or a list of texts" if name == "aud" else "text")
        is_right = bool(set(named) & set(self.audiences)) if self.audiences else not named
        if not is_right:
            raise TokenRefusedError(
                "wrong_audience",
                "The token is for another audience.",
                claim=name,
                expected=shown(", ".join(self.audiences)),
                seen=shown(", ".join(named)),
            )


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    _require(claims, "exp")
    for name in _TIMES:
        # Python's JSON has NaN and Infinity, and its booleans are integers.
        value = claims.get(name, 0)
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if not is_number and not (isinstance(value, float) and math.isfinite(value)):
            raise _malformed(name, "a number")
    if claims["exp"] <= now - LEEWAY_SECONDS:
        raise TokenRefusedError("expired", "The token has expired.", claim="exp")
    for name in ("nbf", "iat"):
        if claims.get(name, 0) > now + LEEWAY_SECONDS:
            raise TokenRefusedError("not_yet_valid", "The token is not valid yet.", claim=name)


def _require(claims: Mapping[str, Any], name: str) -> None:
    if name not in claims:
        raise TokenRefusedError("missing_claim", f"The token lacks the claim `{name}`.", claim=name)


def _malformed(name: str, kind: str) -> TokenRefusedError:
    detail = f"The token's `{name}` must be {kind}."
    return TokenRefusedError("malformed_claim", detail, claim=name)


def shown(value: object) -> str:
    """Return a token's text as it may be logged: short and in printable ASCII."""
    if value is None:
        return "(absent)"
    if not isinstance(value, str):
        return "(not text)"
    text = "".join(one if one.isascii() and one.isprintable() else "?" for one in value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
