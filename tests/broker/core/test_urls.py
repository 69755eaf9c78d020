"""Different spellings of one URL are normalized to the same text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.urls import normalized


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HTTPS://Media.Example.COM", "https://media.example.com/"),
        ("https://a.example:443/x", "https://a.example/x"),
        ("http://a.example:443/x", "http://a.example:443/x"),
        ("https://a.example:/x", "https://a.example/x"),
        ("https://a.example/B?c=D#e", "https://a.example/B?c=D"),
        ("https://[2606:4700::1111]:443/b", "https://[2606:4700::1111]/b"),
        ("https://a.example:x/b", "https://a.example:x/b"),
        ("not a URL", "not a URL"),
        ("", ""),
    ],
)
def test_url_is_normalized(text: str, expected: str) -> None:
    """The case of the host, the default port and a missing path make no difference."""
    assert normalized(text) == expected
    assert normalized(expected) == expected


@settings(deadline=None)
@given(st.text())
def test_any_text_is_normalized_once(text: str) -> None:
    """Normalizing never fails, and a second time changes nothing."""
    assert normalized(normalized(text)) == normalized(text)
