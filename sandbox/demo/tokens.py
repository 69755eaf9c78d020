"""Stands in for the app's backend, which gives a signed-in user a token for the broker."""

import re
import time

import jwt

from sandbox.demo.settings import Settings

LIFETIME = 3600  # seconds
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)


class SubjectError(ValueError):
    """The user's name is invalid."""


def issue(subject: str, settings: Settings) -> str:
    """Return a token that the broker accepts for this user.

    Raises:
        SubjectError: The subject is not a name of 1 to 64 plain characters.
    """
    if not _SUBJECT.fullmatch(subject):
        raise SubjectError(
            "The parameter sub must be a user's name: 1 to 64 letters, digits or . _ @ -"
        )
    now = int(time.time())
    claims: dict[str, str | int] = {"sub": subject, "iat": now, "exp": now + LIFETIME}
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience:
        claims[settings.jwt_audience_claim] = settings.jwt_audience
    return jwt.encode(claims, settings.jwt_secret, algorithm="HS256")
