"""Spellings of one URL."""

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
def test_normalized_url(text: str, expected: str) -> None:
    """The case of the host, the usual port and a missing path make no difference."""
    assert normalized(text) == expected
    assert normalized(expected) == expected


@settings(deadline=None)
@given(st.text())
def test_normalizing_any_text(text: str) -> None:
    """It never fails, and changes nothing twice."""
    assert normalized(normalized(text)) == normalized(text)
