"""The environment, read in one function into one frozen object.

`docs/configuration.md` lists every variable with its default and unit.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from chalicelib.core import media_types, urls
from chalicelib.core.clock import DAY_SECONDS
from chalicelib.core.errors import Misconfigured

T = TypeVar("T")

MOST_PER_MINUTE = 300  # permits of a rate limiter; `ratelimit/limiter.py` has the reason
LARGEST = 5 * 1024**3  # bytes of a file at Sync
MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: a key for HS256 is at least as long as its hash.
# PyJWT takes no such key for a shared secret: whoever knows the public one could sign with it.
_ASYMMETRIC = re.compile(r"----[- ]BEGIN |^(ssh-(ed25519|rsa|dss)|ecdsa-sha2-nistp)")
_MAX_DIGITS = 20


_TOKENS = ("JWT_SECRET", "JWT_SECRET_PARAMETER", "JWT_JWKS_URL")  # what verifies them


@dataclass(frozen=True)
class Settings:
    """The settings that an operator can choose; `docs/configuration.md` explains each one.

    Secrets are left out of the object's `repr`. A secret is either a field, or the value of an SSM
    parameter whose name is a field; the other field is None.
    """

    uploads_table: str
    auth_mode: str
    sync_api_key: str | None = field(repr=False)
    sync_api_key_parameter: str | None
    jwt_secret: str | None = field(repr=False)
    jwt_secret_parameter: str | None
    jwt_jwks_url: str | None
    jwt_issuer: str | None
    jwt_audience: tuple[str, ...]
    jwt_audience_claim: str
    limits_claim: str
    sync_base_url: str
    sync_storage_hosts: tuple[str, ...]
    storage_relay: str | None
    allowed_origins: tuple[str, ...]
    allowed_project_ids: frozenset[str]
    max_upload_bytes: int
    allowed_content_types: tuple[str, ...]
    public_url_exceptions: frozenset[str]
    max_open_uploads: int
    uploads_per_day: int
    bytes_per_day: int | None
    settle_seconds: int
    upload_window_seconds: int
    sweep_registers_per_minute: int
    registrations_per_minute: int
    presigns_per_minute: int
    log_level: str


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    Args:
        environ: Environment variables by name.

    Raises:
        Misconfigured: The detail lists everything that is wrong, each with the variable's name and
            what would be right.
    """
    reader = _Reader(environ)
    settings = Settings(
        uploads_table=reader.text("UPLOADS_TABLE", "the name of the DynamoDB table"),
        auth_mode=reader.one_of("AUTH_MODE", ("jwt", "open"), None),
        sync_api_key=reader.value("SYNC_API_KEY", _optional(api_key), ""),
        sync_api_key_parameter=reader.value("SYNC_API_KEY_PARAMETER", _optional(_exact), ""),
        jwt_secret=reader.value("JWT_SECRET", _optional(jwt_secret), ""),
        jwt_secret_parameter=reader.value("JWT_SECRET_PARAMETER", _optional(_exact), ""),
        jwt_jwks_url=reader.value("JWT_JWKS_URL", _optional(urls.url), ""),
        jwt_issuer=reader.value("JWT_ISSUER", _optional(_exact), ""),
        jwt_audience=reader.value("JWT_AUDIENCE", _audiences, ""),
        jwt_audience_claim=reader.value("JWT_AUDIENCE_CLAIM", _exact, "aud"),
        limits_claim=reader.value("LIMITS_CLAIM", _exact, "upload"),
        sync_base_url=reader.value("SYNC_BASE_URL", urls.base_url, "https://api.sync.so"),
        sync_storage_hosts=reader.value(
            "SYNC_STORAGE_HOSTS", urls.hosts, "assets.sync.so,uploads.sync.so"
        ),
        storage_relay=reader.value("STORAGE_RELAY", _optional(urls.secure_origin), ""),
        allowed_origins=reader.value("ALLOWED_ORIGINS", urls.origins, ""),
        allowed_project_ids=reader.value(
            "ALLOWED_PROJECT_IDS", lambda value: frozenset(urls.items(value)), ""
        ),
        max_upload_bytes=reader.whole("MAX_UPLOAD_BYTES", 1, LARGEST, LARGEST),
        allowed_content_types=reader.value(
            "ALLOWED_CONTENT_TYPES", _content_types, "video/*,audio/*,image/*"
        ),
        public_url_exceptions=reader.value(
            "PUBLIC_URL_EXCEPTIONS", lambda value: frozenset(urls.exact_origins(value)), ""
        ),
        max_open_uploads=reader.whole("MAX_OPEN_UPLOADS", 1, 10**6, 1000),
        uploads_per_day=reader.whole("UPLOADS_PER_DAY", 1, 10**9, 10_000),
        bytes_per_day=reader.value(
            "BYTES_PER_DAY", _optional(lambda value: _whole(value, 1, 10**18)), ""
        ),
        settle_seconds=reader.whole("SETTLE_SECONDS", 1, 3600, 90),
        upload_window_seconds=reader.whole(
            "UPLOAD_WINDOW_SECONDS", 60, 7 * DAY_SECONDS, DAY_SECONDS
        ),
        presigns_per_minute=reader.per_minute("PRESIGNS_PER_MINUTE", 120),
        sweep_registers_per_minute=reader.whole("SWEEP_REGISTERS_PER_MINUTE", 1, 10_000, 60),
        registrations_per_minute=reader.per_minute("REGISTRATIONS_PER_MINUTE", 300),
        log_level=reader.one_of("LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR"), "INFO"),
    )
    reader.problems += _contradictions(environ)
    if reader.problems:
        raise Misconfigured("; ".join(reader.problems))
    return settings


def origins(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the allowed origins alone; none if they are not valid."""
    try:
        return urls.origins(environ.get("ALLOWED_ORIGINS", ""))
    except ValueError:
        return ()


def _contradictions(environ: Mapping[str, str]) -> list[str]:
    """Return which settings are missing beside others, or exclude each other."""
    is_set = {name for name, value in environ.items() if value}
    problems = [_exactly_one(is_set, ("SYNC_API_KEY", "SYNC_API_KEY_PARAMETER"))]
    problems += _open_mode(environ, is_set) if environ.get("AUTH_MODE") == "open" else _jwt(is_set)
    is_lambda = "AWS_LAMBDA_FUNCTION_NAME" in is_set
    if is_lambda and environ.get("JWT_JWKS_URL", "").startswith("http:"):
        problems.append("JWT_JWKS_URL is not valid: it must be https outside the sandbox")
    return [problem for problem in problems if problem]


def _open_mode(environ: Mapping[str, str], is_set: set[str]) -> list[str]:
    """Return which settings would open a broker that is not the sandbox's."""
    problems = [
        f"{name} is not valid: it must not be set while AUTH_MODE is open"
        for name in (*_TOKENS, "JWT_ISSUER", "JWT_AUDIENCE", "JWT_AUDIENCE_CLAIM")
        if name in is_set
    ]
    if environ.get("ALLOWED_ORIGINS", "").strip() == "*":
        # Any page that the developer looks at could upload.
        problems.append("ALLOWED_ORIGINS is not valid: it must be a list while AUTH_MODE is open")
    try:
        host = urlsplit(environ.get("SYNC_BASE_URL", "")).hostname
    except ValueError:
        host = None
    if "AWS_LAMBDA_FUNCTION_NAME" in is_set or host not in urls.LOOPBACK:
        problems.append("AUTH_MODE is not valid: it must be jwt outside the sandbox")
    return problems


def _jwt(is_set: set[str]) -> list[str]:
    """Return what is missing to verify tokens, which every mode but the open one does."""
    # Anybody may have an account with a public identity provider. Only issuer and audience
    # distinguish this app's users from all others.
    needed = {
        "JWT_ISSUER": ("JWT_JWKS_URL",),
        "JWT_AUDIENCE": ("JWT_JWKS_URL", "JWT_AUDIENCE_CLAIM"),
    }
    return [
        _exactly_one(is_set, _TOKENS),
        *(
            f"{name} is not set: it must be set together with {other}"
            for name, others in needed.items()
            for other in others
            if other in is_set and name not in is_set
        ),
    ]


def _exactly_one(is_set: set[str], names: tuple[str, ...]) -> str:
    found = [name for name in names if name in is_set]
    if len(found) == 1:
        return ""
    if not found:
        return f"{names[0]} is not set: it must be set, or one of {', '.join(names[1:])}"
    return f"{found[0]} is not valid: it must be the only one of {', '.join(names)}"


class _Reader:
    """Reads variables, and collects what is wrong with them."""

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
            # With a problem no settings are returned, so the value is not used.
            return parse(default) if default is not None else None  # type: ignore[return-value]

    def text(self, name: str, meaning: str) -> str:
        """Read a variable that is required."""

        def parse(value: str) -> str:
            if not value.strip():
                raise ValueError(meaning)
            return value.strip()

        return self.value(name, parse, None)

    def one_of(self, name: str, choices: tuple[str, ...], default: str | None) -> str:
        """Read a variable with a closed list of values; without a default it is required."""

        def parse(value: str) -> str:
            if value not in choices:
                raise ValueError("one of " + ", ".join(choices))
            return value

        return self.value(name, parse, default)

    def whole(self, name: str, low: int, high: int, default: int) -> int:
        """Read a whole number between two bounds."""
        return self.value(name, lambda value: _whole(value, low, high), str(default))

    def per_minute(self, name: str, default: int) -> int:
        """Read the budget of a rate limiter, which is one item in DynamoDB."""

        def parse(value: str) -> int:
            try:
                return _whole(value, 1, MOST_PER_MINUTE)
            except ValueError as error:
                reason = "one item of DynamoDB can't be written often enough for more"
                raise ValueError(f"{error}, since {reason}") from None

        return self.value(name, parse, str(default))


def api_key(value: str) -> str:
    """Check an API key, wherever it comes from: it must fit into a header.

    JSON escapes quotes and backslashes, so a key with one could not be found and masked in a
    response that repeats it.
    """
    if not value or not value.isascii() or not value.isprintable() or set(value) & set(' "\\'):
        raise ValueError("Sync's API key, in ASCII without spaces, quotes and backslashes")
    return value


def jwt_secret(value: str) -> str:
    """Check the secrets that tokens are signed with, wherever they come from."""
    secrets = jwt_secrets(value)
    if len(secrets) > 2 or any(len(one.encode()) < MIN_SECRET_BYTES for one in secrets):  # noqa: PLR2004 - while one is rotated
        raise ValueError(f"a secret of at least {MIN_SECRET_BYTES} bytes, or two with a comma")
    if any(_ASYMMETRIC.search(secret) for secret in secrets):
        raise ValueError("a random text, for the keys of key pairs there is JWT_JWKS_URL")
    return value


def jwt_secrets(value: str) -> tuple[str, ...]:
    """Split the secrets of which each is accepted: one, or two while one is rotated."""
    return tuple(secret.strip() for secret in value.split(","))


def _optional(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    return lambda value: parse(value) if value else None


def _exact(value: str) -> str:
    if value != value.strip() or not value.isprintable():
        raise ValueError("a text without spaces around it")
    return value


def _audiences(value: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(urls.items(value)))
    # A value of commas alone would mean tokens without an audience.
    if not value.isprintable() or (value and not found):
        raise ValueError("a comma list of audiences, such as https://app.example.com")
    return found


def _whole(value: str, low: int, high: int) -> int:
    is_number = value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS
    if not is_number or not low <= int(value) <= high:
        raise ValueError(f"a whole number from {low} to {high}")
    return int(value)


def _content_types(value: str) -> tuple[str, ...]:
    try:
        types = dict.fromkeys(media_types.accepted(item) for item in urls.items(value))
    except ValueError:
        types = {}
    if not types:
        raise ValueError("a comma list of content types such as video/*,audio/mpeg")
    return tuple(types)
