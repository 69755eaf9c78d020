"""The demo's settings, read from its environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from chalicelib.core import urls
from sandbox import origins


class SettingsError(Exception):
    """A setting is missing or invalid."""


@dataclass(frozen=True)
class Settings:
    """The ports of the sandbox's parts, and how tokens are signed."""

    demo_port: int
    broker_port: int
    upstream_port: int
    origins: tuple[str, ...]  # of the pages that may have tokens
    jwt_secret: str = field(repr=False)
    jwt_issuer: str | None
    jwt_audience: str | None
    jwt_audience_claim: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings.

        Raises:
            SettingsError: A setting is missing or invalid; the message names it.
        """
        secret = environment.get("JWT_SECRET", "")
        if not secret:
            raise SettingsError("JWT_SECRET is not set; the broker checks tokens with it")
        demo_port = _port(environment, "DEMO_PORT", 8080)
        return cls(
            demo_port=demo_port,
            broker_port=_port(environment, "BROKER_PORT", 8000),
            upstream_port=_port(environment, "UPSTREAM_PORT", 8001),
            origins=_origins(environment, demo_port),
            # During a rotation the broker accepts two secrets, so the first one is enough.
            jwt_secret=secret.partition(",")[0].strip(),
            jwt_issuer=environment.get("JWT_ISSUER") or None,
            # The broker may accept several audiences; the first one is enough.
            jwt_audience=next(iter(urls.items(environment.get("JWT_AUDIENCE", ""))), None),
            jwt_audience_claim=environment.get("JWT_AUDIENCE_CLAIM") or "aud",
        )


def _origins(environment: Mapping[str, str], demo_port: int) -> tuple[str, ...]:
    try:
        return origins.of_pages(environment, demo_port)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):  # noqa: PLR2004 - the range of ports.
        raise SettingsError(f"{name} must be a port from 1 to 65535, not {text!r}")
    return int(text)
