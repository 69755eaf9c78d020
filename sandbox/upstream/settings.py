"""What the environment decides, read once when the process starts."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.upstream.behavior import Behavior, BehaviorError

# The bind address is no setting: the sandbox plays a paid service without real secrets.
HOST = "127.0.0.1"
_PORT = re.compile(r"[0-9]{1,5}")


class SettingsError(Exception):
    """A variable of the environment has a value that cannot be used."""


@dataclass(frozen=True)
class Settings:
    """The process's settings.

    Attributes:
        port: TCP port, 1 to 65535 (`UPSTREAM_PORT`).
        folder: Where objects and the database live (`$SANDBOX_DIR/upstream`).
        api_key: The one key that is accepted in `x-api-key` (`SYNC_API_KEY`).
        behavior: What it behaves like until told otherwise (`SANDBOX_BEHAVIOR`).
    """

    port: int
    folder: Path
    api_key: str = field(repr=False)
    behavior: Behavior

    @property
    def origin(self) -> str:
        """Scheme, host and port of every URL that is handed out."""
        return f"http://{HOST}:{self.port}"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables.

    Raises:
        SettingsError: A variable cannot be used; the message names it.
    """
    port = environment.get("UPSTREAM_PORT") or "8001"
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:  # noqa: PLR2004 - the last TCP port
        raise SettingsError(f"UPSTREAM_PORT must be a port from 1 to 65535, not {port!r}")
    return Settings(
        port=int(port),
        folder=Path(environment.get("SANDBOX_DIR") or ".sandbox") / "upstream",
        api_key=environment.get("SYNC_API_KEY") or "sandbox-key",
        behavior=_read_behavior(environment.get("SANDBOX_BEHAVIOR") or "{}"),
    )


def _read_behavior(text: str) -> Behavior:
    try:
        return Behavior().changed(json.loads(text))
    except (ValueError, BehaviorError) as error:
        raise SettingsError(f"SANDBOX_BEHAVIOR cannot be used: {error}") from error
