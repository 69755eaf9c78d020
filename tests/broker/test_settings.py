"""The settings: closed unless set, and every mistake told at once."""

import pytest

from chalicelib import settings
from chalicelib.errors import Misconfigured

GOOD = {
    "AUTH_MODE": "jwt",
    "JWT_SECRET": "s" * 32,
    "SYNC_API_KEY": "the-key",
    "UPLOADS_TABLE": "uploads",
}


def test_defaults() -> None:
    """Four settings are enough; the rest has the documented defaults."""
    chosen = settings.load(GOOD)
    assert chosen.sync_base_url == "https://api.sync.so"
    assert chosen.max_upload_bytes == 5_368_709_120
    assert chosen.allowed_content_types == ("video/*", "audio/*", "image/*")
    assert chosen.allowed_origins == ()
    assert chosen.settle_seconds == 90


def test_nothing_set() -> None:
    """Everything that is missing is told at once, by its name."""
    with pytest.raises(Misconfigured) as caught:
        settings.load({})
    for name in GOOD:
        assert f"{name} is not set" in caught.value.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH_MODE", "open"),
        ("AUTH_MODE", "none"),
        ("JWT_SECRET", "s" * 31),
        ("SYNC_BASE_URL", "http://api.sync.so"),
        ("SYNC_BASE_URL", "api.sync.so"),
        ("SYNC_BASE_URL", "https://api.sync.so?x=1"),
        ("SYNC_STORAGE_HOSTS", "https://assets.sync.so"),
        ("SYNC_STORAGE_HOSTS", ","),
        ("ALLOWED_ORIGINS", "https://a.example,*"),
        ("ALLOWED_ORIGINS", "https://*.example.com"),
        ("ALLOWED_ORIGINS", "https://a.example/"),
        ("ALLOWED_ORIGINS", "a.example"),
        ("ALLOWED_ORIGINS", "null"),
        ("PUBLIC_URL_EXCEPTIONS", "*"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("MAX_UPLOAD_BYTES", "5368709121"),
        ("MAX_UPLOAD_BYTES", "5 GB"),
        ("MAX_UPLOAD_BYTES", "²"),
        ("ALLOWED_CONTENT_TYPES", "video"),
        ("ALLOWED_CONTENT_TYPES", "*/mp4"),
        ("SETTLE_SECONDS", "-1"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_refused(name: str, value: str) -> None:
    """A value that can't be right is told by the variable's name, and its text is not repeated."""
    with pytest.raises(Misconfigured) as caught:
        settings.load({**GOOD, name: value})
    assert caught.value.detail.startswith(f"{name} is not valid: it must be ")
    assert ";" not in caught.value.detail


def test_secrets_masked() -> None:
    """What is secret does not show when the object is printed."""
    shown = repr(settings.load(GOOD))
    assert "the-key" not in shown
    assert "s" * 32 not in shown
    assert "uploads" in shown
