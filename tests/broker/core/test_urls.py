"""Spellings of one URL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from chalicelib.core.urls import canonical


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HTTPS://Media.Example.COM", "https://media.example.com/"),
        ("https://a.example:443/x", "https://a.example/x"),
        ("http://a.example:443/x", "http://a.example:443/x"),
        ("https://a.example:/x", "https://a.example/x"),
        ("https://a.example/b/./c/../d", "https://a.example/b/d"),
        ("https://a.example/b/..", "https://a.example/"),
        ("https://a.example/../../b/.", "https://a.example/b/"),
        ("https://a.example//b//c", "https://a.example//b//c"),
        ("https://a.example/%7eb%2fc%2Fd", "https://a.example/~b%2Fc%2Fd"),
        ('https://a.example/"b"<c>', "https://a.example/%22b%22%3Cc%3E"),
        ("https://a.example/%e3%82", "https://a.example/%E3%82"),
        ("https://a.example/b?c=%2f&d=%7E#e", "https://a.example/b?c=%2F&d=~"),
        ("https://a.example/%2e%2e/b", "https://a.example/b"),
        ("https://[2606:4700::1111]:443/b", "https://[2606:4700::1111]/b"),
        ("https://a.example:x/b", "https://a.example:x/b"),
        ("not a URL", "not a URL"),
        ("", ""),
    ],
)
def test_spellings(text: str, expected: str) -> None:
    """What a parser may change makes no difference, and what it may not does."""
    assert canonical(text) == expected
    assert canonical(expected) == expected


@given(
    st.from_regex(
        r"https?://[a-z0-9]{1,5}\.example(:[0-9]{1,4})?(/[!-$&-~]{0,30})?", fullmatch=True
    )
)
def test_as_another_library(text: str) -> None:
    """What another library writes for a URL is the same URL."""
    try:
        other = str(URL(text).with_fragment(None))
    except ValueError:
        return
    assert canonical(other) == canonical(text)


@given(st.text())
def test_any_text(text: str) -> None:
    """It never fails, and changes nothing twice."""
    assert canonical(canonical(text)) == canonical(text)
