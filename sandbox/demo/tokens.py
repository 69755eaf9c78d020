"""Plays the app's backend: it knows who is signed in, and gives them a token for the broker."""

import re
import time

import jwt

from sandbox.demo.settings import Settings

LIFETIME = 3600  # seconds
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)


class SubjectError(ValueError):
    """Nobody could be signed in under this name."""


def issue(subject: str, settings: Settings) -> str:
    """Sign a token that the broker takes for this user.

    Raises:
        SubjectError: When the subject is no name of 1 to 64 plain characters.
    """
    if not _SUBJECT.fullmatch(subject):
        raise SubjectError(
            "The parameter sub has to be a user's name: 1 to 64 letters, digits or . _ @ -"
        )
    now = int(time.time())
    claims: dict[str, str | int] = {"sub": subject, "iat": now, "exp": now + LIFETIME}
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience:
        claims[settings.jwt_audience_claim] = settings.jwt_audience
    return jwt.encode(claims, settings.jwt_secret, algorithm="HS256")
