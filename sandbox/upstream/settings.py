"""The upstream's settings, read once from the environment."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chalicelib.core import urls
from sandbox import folder as data
from sandbox import origins
from sandbox.upstream.behavior import Behavior, BehaviorError

# There is no setting for another host: the sandbox has no real secrets, so only loopback is safe.
HOST = "127.0.0.1"
_PORT = re.compile(r"[0-9]{1,5}")


class SettingsError(Exception):
    """A variable of the environment is invalid."""


@dataclass(frozen=True)
class Settings:
    """The process's settings.

    Attributes:
        port: TCP port, 1 to 65535 (`UPSTREAM_PORT`).
        folder: The folder of the objects and the database (`$SANDBOX_DIR/upstream`).
        origins: The origins of the pages that may use the storage (`SANDBOX_ORIGINS`,
            `ALLOWED_ORIGINS`, and the demo page's); `*` means all.
        api_key: The only valid key in `x-api-key`.
        key_file: The file of that key; None if `SYNC_API_KEY` is set.
        behavior: The behaviours at the start (`SANDBOX_BEHAVIOR`, JSON or `@` and a file's name).
    """

    port: int
    folder: Path
    origins: tuple[str, ...]
    api_key: str = field(repr=False)
    behavior: Behavior
    key_file: Path | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port of the upstream's URLs."""
        return f"http://{HOST}:{self.port}"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings from environment variables.

    Raises:
        SettingsError: A variable is invalid; the message names it.
    """
    port = _read_port(environment, "UPSTREAM_PORT", "8001")
    demo_port = _read_port(environment, "DEMO_PORT", "8080")
    behavior = _read_behavior(environment.get("SANDBOX_BEHAVIOR") or "{}")
    folder = Path(environment.get("SANDBOX_DIR") or ".sandbox")
    given = environment.get("SYNC_API_KEY")
    return Settings(
        port=port,
        folder=folder / "upstream",
        origins=_read_origins(environment, demo_port),
        api_key=given or _key_of(folder),
        behavior=behavior,
        key_file=None if given else folder / "api-key",
    )


def _read_port(environment: Mapping[str, str], name: str, default: str) -> int:
    port = environment.get(name) or default
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:  # noqa: PLR2004 - the last TCP port
        raise SettingsError(f"{name} must be a port from 1 to 65535, not {port!r}")
    return int(port)


def _read_origins(environment: Mapping[str, str], demo_port: int) -> tuple[str, ...]:
    """Return the origins that may use the storage, including all that may call the broker."""
    try:
        pages = origins.of_pages(environment, demo_port)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    try:
        allowed = urls.origins(environment.get("ALLOWED_ORIGINS") or "")
    except ValueError as error:
        raise SettingsError(f"ALLOWED_ORIGINS must be {error}.") from error
    return tuple(dict.fromkeys([*pages, *allowed]))


def _key_of(folder: Path) -> str:
    try:
        data.prepare(folder)
        return data.api_key(folder)
    except (OSError, ValueError) as error:
        raise SettingsError(str(error)) from error


def _read_behavior(given: str) -> Behavior:
    """Return the behaviours of a JSON object, or of the file that is named after an `@`."""
    name, source = given.removeprefix("@"), "SANDBOX_BEHAVIOR"
    try:
        text = given
        if given.startswith("@"):
            source += f" names {name}, which"
            text = Path(name).read_text(encoding="utf-8")
        return Behavior().changed(json.loads(text))
    except OSError as error:
        raise SettingsError(f"{source} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError, BehaviorError) as error:
        raise SettingsError(f"{source} is invalid: {error}") from error
