"""The environment, read in one function into one frozen object.

`docs/configuration.md` lists every variable with its default and unit.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from chalicelib.errors import Misconfigured

T = TypeVar("T")

GIB = 1024**3
MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: a key for HS256 is at least as long as its hash.
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_TYPE = re.compile(r"(\*/\*|[a-z0-9.+-]+/(\*|[a-z0-9.+-]+))")


@dataclass(frozen=True)
class Settings:
    """All that an operator can set.

    What is secret does not show in the object's `repr`.
    """

    uploads_table: str
    auth_mode: str
    sync_api_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    jwt_issuer: str | None
    jwt_audience: str | None
    sync_base_url: str
    sync_storage_hosts: tuple[str, ...]
    allowed_origins: tuple[str, ...]
    allowed_project_ids: frozenset[str]
    max_upload_bytes: int
    allowed_content_types: tuple[str, ...]
    public_url_exceptions: frozenset[str]
    settle_seconds: int
    log_level: str


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    Args:
        environ: Environment variables by name.

    Raises:
        Misconfigured: Its detail lists everything that is wrong, each with the variable's name
            and what would be right.
    """
    reader = _Reader(environ)
    settings = Settings(
        uploads_table=reader.text("UPLOADS_TABLE", "the name of the DynamoDB table"),
        auth_mode=reader.one_of("AUTH_MODE", ("jwt",)),
        sync_api_key=reader.text("SYNC_API_KEY", "sync.'s API key"),
        jwt_secret=reader.value("JWT_SECRET", _secret, None),
        jwt_issuer=environ.get("JWT_ISSUER") or None,
        jwt_audience=environ.get("JWT_AUDIENCE") or None,
        sync_base_url=reader.value("SYNC_BASE_URL", _base_url, "https://api.sync.so"),
        sync_storage_hosts=reader.value(
            "SYNC_STORAGE_HOSTS", _hosts, "assets.sync.so,uploads.sync.so"
        ),
        allowed_origins=reader.value("ALLOWED_ORIGINS", _origins, ""),
        allowed_project_ids=reader.value(
            "ALLOWED_PROJECT_IDS", lambda value: frozenset(_items(value)), ""
        ),
        max_upload_bytes=reader.value(
            "MAX_UPLOAD_BYTES", lambda value: _whole(value, 1, 5 * GIB), str(5 * GIB)
        ),
        allowed_content_types=reader.value(
            "ALLOWED_CONTENT_TYPES", _content_types, "video/*,audio/*,image/*"
        ),
        public_url_exceptions=reader.value(
            "PUBLIC_URL_EXCEPTIONS", lambda value: frozenset(_exact_origins(value)), ""
        ),
        settle_seconds=reader.value("SETTLE_SECONDS", lambda value: _whole(value, 1, 3600), "90"),
        log_level=reader.one_of("LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
    )
    if reader.problems:
        raise Misconfigured("; ".join(reader.problems))
    return settings


class _Reader:
    """Reads one variable after the other and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def value(self, name: str, parse: Callable[[str], T], default: str | None) -> T:
        """Parse a variable; `parse` raises ValueError with what would be right."""
        raw = self._environ.get(name) or default or ""
        try:
            return parse(raw)
        except ValueError as error:
            state = "is not set" if not self._environ.get(name) else "is not valid"
            self.problems.append(f"{name} {state}: it must be {error}")
            # The settings are never handed out once there is a problem, so no value is needed.
            return parse(default) if default is not None else None  # type: ignore[return-value]

    def text(self, name: str, meaning: str) -> str:
        """Read a variable that must be there."""

        def parse(value: str) -> str:
            if not value.strip():
                raise ValueError(meaning)
            return value.strip()

        return self.value(name, parse, None)

    def one_of(self, name: str, choices: tuple[str, ...]) -> str:
        """Read a variable with a closed list of values; the first one is the default.

        AUTH_MODE is the exception: without it the broker serves nobody.
        """

        def parse(value: str) -> str:
            if value not in choices:
                raise ValueError("one of " + ", ".join(choices))
            return value

        return self.value(name, parse, None if name == "AUTH_MODE" else choices[0])


def _items(value: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in value.split(",") if item.strip())


def _whole(value: str, low: int, high: int) -> int:
    if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise ValueError(f"a whole number from {low} to {high}")
    return int(value)


def _secret(value: str) -> str:
    if len(value.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"a secret of at least {MIN_SECRET_BYTES} bytes")
    return value


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if (parts.scheme != "https" and not local) or not parts.hostname or parts.query:
        raise ValueError("an https URL without a query (http is accepted on loopback)")
    return value.rstrip("/")


def _hosts(value: str) -> tuple[str, ...]:
    hosts = tuple(item.lower() for item in _items(value))
    if not hosts or any("/" in host for host in hosts):
        raise ValueError("a comma list of host names, each with a port if it is not the usual one")
    return hosts


def _origins(value: str) -> tuple[str, ...]:
    return ("*",) if value.strip() == "*" else _exact_origins(value)


def _exact_origins(value: str) -> tuple[str, ...]:
    origins = _items(value)
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError("a comma list of origins such as https://app.example.com")
    return origins


def _content_types(value: str) -> tuple[str, ...]:
    types = tuple(item.lower() for item in _items(value))
    if not types or not all(_TYPE.fullmatch(item) for item in types):
        raise ValueError("a comma list of content types such as video/*,audio/mpeg")
    return types
