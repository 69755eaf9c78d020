"""Cursors: the broker accepts its own, and refuses any that DynamoDB would fail on."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aws import codec
from chalicelib.core import errors

OWNER = "a" * 32
LISTS = (f"uploads#{OWNER}", f"assets#{OWNER}")
IDS = st.text("0123456789abcdef", min_size=32, max_size=32)
TIMES = st.integers(0, 10**15 - 1)
# The text that DynamoDB can store: everything but surrogates.
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
)
LONG = st.text(max_size=20).flatmap(lambda one: st.integers(0, 400).map(lambda n: one * n))


def written(parts: Any) -> str:
    """Encode anything as a cursor is encoded."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@given(created=TIMES, upload_id=IDS)
def test_upload_cursor_leads_back(created: int, upload_id: str) -> None:
    """The cursor of an upload in the list leads back to that upload."""
    keys = codec.list_keys(LISTS[0], created, upload_id)
    item = codec.values({**keys, "pk": f"upload#{upload_id}"})
    assert codec.start_key(LISTS[0], codec.cursor(item)) == item


@given(registered=TIMES, upload_id=IDS, asset_id=WORDS)
def test_asset_cursor_leads_back(registered: int, upload_id: str, asset_id: str) -> None:
    """The cursor of an asset leads back to that asset, whatever its id is."""
    keys = codec.list_keys(LISTS[1], registered, upload_id)
    item = codec.values({**keys, "pk": f"asset#{OWNER}#{asset_id}"})
    assert codec.start_key(LISTS[1], codec.cursor(item)) == item


@given(
    list_key=st.sampled_from(LISTS),
    text=st.text()
    | LONG
    | JSON.map(written)
    | st.tuples(LONG, LONG).map(written)
    | st.tuples(IDS.map(lambda one: f"{1:015d}#{one}"), LONG).map(written)
    | st.tuples(st.just(f"{1:015d}#{OWNER}"), LONG.map(f"asset#{OWNER}#".__add__)).map(written),
)
def test_any_cursor_is_a_key_or_refused(list_key: str, text: str) -> None:
    """Any text is refused, or gives a key that is in the caller's list and valid in DynamoDB."""
    try:
        key = codec.plain(codec.start_key(list_key, text))
    except errors.InvalidInput:
        return
    assert key["listKey"] == list_key
    assert len(key["listOrder"]) == 48
    assert len(key["pk"].encode()) <= 2048
    assert key["pk"].startswith(("upload#", f"asset#{OWNER}#"))


@pytest.mark.parametrize("list_key", LISTS)
def test_endless_cursor_is_refused(list_key: str) -> None:
    """Brackets that would exhaust the parser, and a megabyte of text, are refused too."""
    nested = base64.urlsafe_b64encode(b"[" * 3000).decode()
    for text in (nested, "W" * 10**6):
        with pytest.raises(errors.InvalidInput):
            codec.start_key(list_key, text)
