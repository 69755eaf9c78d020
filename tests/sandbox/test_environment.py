"""What each part of the sandbox is told."""

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


def test_emulator_knows_nothing() -> None:
    """The emulator's environment holds its own settings, and no path but into its own folder."""
    told = environment.for_dynamodb(PORTS, FOLDER)
    assert told["SERVICES"] == "dynamodb"
    for name in ("HOME", "TMPDIR", "STATE_DIR"):
        assert told[name].startswith("/data/dynamodb")
    assert not [name for name in told if "KEY" in name or "SECRET" in name or "TOKEN" in name]


@pytest.mark.parametrize("mode", ["jwt", "open"])
def test_default_origins(mode: str) -> None:
    """The demo page and the usual development servers may call the broker, and nobody else."""
    allowed = broker(AUTH_MODE=mode)["ALLOWED_ORIGINS"].split(",")
    assert set(allowed) == {*DEMO, *DEFAULT}


def test_own_origins() -> None:
    """Other pages take the place of those defaults; `ALLOWED_ORIGINS` adds to them."""
    page = "http://localhost:9000"
    told = broker(SANDBOX_ORIGINS=f" {page} ", ALLOWED_ORIGINS="https://app.example")
    assert set(told["ALLOWED_ORIGINS"].split(",")) == {"https://app.example", *DEMO, page}
    assert origins.read(told) == (page,)
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
def test_strange_origins(text: str) -> None:
    """Only origins of this machine are pages that may have tokens."""
    with pytest.raises(ValueError, match="SANDBOX_ORIGINS"):
        origins.read({"SANDBOX_ORIGINS": text})


@pytest.mark.parametrize(
    "text", ["https://localhost:5173", "http://[::1]:3000", "http://localhost"]
)
def test_own_machine_origins(text: str) -> None:
    """Any origin of this machine may be listed, with TLS and without."""
    assert origins.read({"SANDBOX_ORIGINS": text}) == (text,)


def test_key() -> None:
    """The folder's key is told where the environment has none, and not beside a parameter's."""
    assert broker()["SYNC_API_KEY"] == "the-key"
    assert broker(SYNC_API_KEY="mine")["SYNC_API_KEY"] == "mine"
    assert "SYNC_API_KEY" not in broker(SYNC_API_KEY_PARAMETER="/key")


def test_temporary_files_stay_inside() -> None:
    """No part writes into the common temporary folder."""
    assert broker(TMPDIR="/tmp")["TMPDIR"] == "/data/tmp"  # noqa: S108 - it must not be taken
