"""The marks by which the probe recognizes what it has made: random, in names and in content."""

import io
import re
import secrets
import wave

from chalicelib.core.types import Json

PREFIX = "sync-upload-broker-probe-"
CONTENT_TYPE = "audio/wav"
ASSET_TYPE = "AUDIO"
_NAME = re.compile(rf"\s*{PREFIX}[0-9a-f]{{16}}\s*")
_SAMPLES = 256  # bytes of sound, at 8 kHz: a file of 300 bytes


def new_run() -> str:
    """Return the mark of a run."""
    return secrets.token_hex(8)


def asset_name(run: str) -> str:
    """Return the name of a run's assets. It shows whether Sync trims names."""
    return f" {PREFIX}{run} "


def file_name(run: str, number: int) -> str:
    """Return a file's name. Its parentheses show whether Sync changes the spelling of URLs."""
    return f"{PREFIX}{run}({number}).wav"


def content() -> bytes:
    """Return a valid sound file that no other run has."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(secrets.token_bytes(_SAMPLES))
    return file.getvalue()


def has_mark(asset: Json, mark: str) -> bool:
    """Whether the name or the URL of an asset has a mark."""
    return any(mark in str(asset.get(field) or "") for field in ("name", "url"))


def is_named_by_probe(asset: Json) -> bool:
    """Whether an asset has the name that a run of the probe gives."""
    return _NAME.fullmatch(str(asset.get("name") or "")) is not None
