"""The environment of each part of the sandbox."""

from pathlib import Path

import pytest

from sandbox import environment, origins
from sandbox.ports import Ports

PORTS = Ports(broker=1, upstream=2, dynamodb=3, demo=4)
FOLDER = Path("/data")
DEMO = ("http://127.0.0.1:4", "http://localhost:4")
DEFAULT = {
    f"http://{name}:{port}" for name in ("127.0.0.1", "localhost") for port in (3000, 4173, 5173)
}


def broker(**environ: str) -> dict[str, str]:
    """Return the broker's environment."""
    return environment.for_broker(environ, PORTS, FOLDER, "the-key")


def test_emulator_environment_is_isolated() -> None:
    """The emulator's environment has only its own settings and paths in its own folder."""
    values = environment.for_dynamodb(PORTS, FOLDER)
    assert values["SERVICES"] == "dynamodb"
    for name in ("HOME", "TMPDIR", "STATE_DIR"):
        assert values[name].startswith("/data/dynamodb")
    assert not [name for name in values if "KEY" in name or "SECRET" in name or "TOKEN" in name]


@pytest.mark.parametrize("mode", ["jwt", "open"])
def test_default_origins(mode: str) -> None:
    """By default only the demo page and the usual development servers may call the broker."""
    allowed = broker(AUTH_MODE=mode)["ALLOWED_ORIGINS"].split(",")
    assert set(allowed) == {*DEMO, *DEFAULT}


def test_sandbox_origins_replace_defaults() -> None:
    """`SANDBOX_ORIGINS` replaces the default origins; `ALLOWED_ORIGINS` adds to them."""
    page = "http://localhost:9000"
    values = broker(SANDBOX_ORIGINS=f" {page} ", ALLOWED_ORIGINS="https://app.example")
    assert set(values["ALLOWED_ORIGINS"].split(",")) == {"https://app.example", *DEMO, page}
    assert origins.read(values) == (page,)
    assert broker(ALLOWED_ORIGINS="*")["ALLOWED_ORIGINS"] == "*"


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "null",
        "localhost:3000",
        "http://localhost:3000/",
        "http://192.168.0.2:3000",
        "https://app.example.com",
        "http://localhost.example:3000",
        "http://127.0.0.1:3000,x",
    ],
)
def test_remote_origins_are_invalid(text: str) -> None:
    """Only origins of this machine may be in `SANDBOX_ORIGINS`."""
    with pytest.raises(ValueError, match="SANDBOX_ORIGINS"):
        origins.read({"SANDBOX_ORIGINS": text})


@pytest.mark.parametrize(
    "text", ["https://localhost:5173", "http://[::1]:3000", "http://localhost"]
)
def test_loopback_origins_are_valid(text: str) -> None:
    """Any origin of this machine may be in `SANDBOX_ORIGINS`, with and without TLS."""
    assert origins.read({"SANDBOX_ORIGINS": text}) == (text,)


def test_broker_gets_the_folders_key() -> None:
    """The broker gets the folder's key unless the environment has a key or a parameter for it."""
    assert broker()["SYNC_API_KEY"] == "the-key"
    assert broker(SYNC_API_KEY="mine")["SYNC_API_KEY"] == "mine"
    assert "SYNC_API_KEY" not in broker(SYNC_API_KEY_PARAMETER="/key")


def test_temporary_files_stay_in_folder() -> None:
    """All parts write temporary files into the sandbox's folder."""
    assert broker(TMPDIR="/tmp")["TMPDIR"] == "/data/tmp"  # noqa: S108 - it must not be used
