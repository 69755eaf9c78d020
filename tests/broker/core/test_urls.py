"""Different spellings of one URL are normalized to the same text, and their host is read."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.urls import host, normalized


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://Bucket.S3.example/a?b#c", "bucket.s3.example"),
        ("HTTP://127.0.0.1:9000", "127.0.0.1:9000"),
        ("https://[2606:4700::1111]:443/b", "[2606:4700::1111]:443"),
        ("https://a_b.example?c", "a_b.example"),
        ("https://a.example\\@b.example/", None),
        ("https://a@b.example/", None),
        ("https://a.example:x/", None),
        ("https://[::1", None),
        ("https:///path", None),
        ("ftp://a.example/", None),
        ("/path", None),
        ("", None),
    ],
)
def test_host_is_read(text: str, expected: str | None) -> None:
    """The host of an http URL has its port, if there is one; another text has none."""
    assert host(text) == expected


@settings(deadline=None)
@given(st.from_regex(r"https?://[a-z0-9_.:\[\]@-]{1,12}[/?#]?.{0,5}", fullmatch=True))
def test_host_is_that_of_the_standard_library(text: str) -> None:
    """A host that is found is the one that others would connect to."""
    if found := host(text):
        assert found == urlsplit(text).netloc.lower()
