"""The broker's own reading of its schemas is the library's."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from chalicelib import json_schema, validation

REQUESTS = ("new-upload", "new-asset")
MEMBERS = sorted({name for one in REQUESTS for name in validation.schema(one)["properties"]})
SAMPLES = ["", "a.mp4", "a/b", "a\n", "video/mp4", "video/webm; codecs=vp9", "VIDEO", "x" * 256]
SAMPLES += ["https://media.example.com/a.mp4", "x" * 2049, "\u2028"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.sampled_from([0, 1, 1.0, 5368709120, 5368709121]),
    st.sampled_from(SAMPLES),
    st.text(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
DOCUMENTS = st.dictionaries(st.sampled_from(MEMBERS) | st.text(max_size=4), VALUES)


@pytest.mark.parametrize("name", REQUESTS)
@given(document=DOCUMENTS | VALUES)
def test_same_as_library(name: str, document: Any) -> None:
    """The same rules are broken, at the same places, in the same order."""
    schema = validation.schema(name)
    ours = [(one.path, one.keyword) for one in json_schema.violations(schema, document)]
    library = Draft202012Validator(schema).iter_errors(document)
    theirs = [(tuple(error.path), str(error.validator)) for error in library]
    # The library tells each missing member by an error of its own.
    assert list(dict.fromkeys(ours)) == list(dict.fromkeys(theirs))


def test_unknown_keyword() -> None:
    """A keyword that is not known here is never passed over."""
    with pytest.raises(NotImplementedError, match="multipleOf"):
        list(json_schema.violations({"multipleOf": 2}, 3))
