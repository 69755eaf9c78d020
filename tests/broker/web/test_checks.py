"""The generated checks of bodies accept what jsonschema accepts, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from chalicelib import schemas
from chalicelib.schemas.checks import CHECKS

VALID = {
    "new-upload": {
        "fileName": "clip.mp4",
        "contentType": "video/mp4",
        "size": 5,
        "type": "VIDEO",
        "name": "Take 1",
        "projectId": "p-1",
    },
    "new-asset": {
        "url": "https://media.example.com/a.mp4",
        "type": "VIDEO",
        "name": "Take 1",
        "projectId": "p-1",
    },
}
# Around the limits of lengths and sizes, and the characters at the edges of the patterns.
LENGTHS = (0, 1, 254, 255, 256, 2047, 2048, 2049)
CHARACTERS = "\x00\x08\t\n\x1f ~\x7f\x80\x9f\xa0\u061c\u200e\u200f\u2028\u202e\u2066\u2069/\\é😀\r"
NUMBERS = (-1, 0, 1, 1.0, 1.5, 5_368_709_120, 5_368_709_121, 1e300, True, False)
TEXTS = (
    st.sampled_from([*("a" * length for length in LENGTHS), *CHARACTERS, "VIDEO", "IMAGE"])
    | st.text(CHARACTERS, max_size=4)
    | st.sampled_from(CHARACTERS).map(lambda last: f"a{last}")
)
JSON = st.recursive(
    st.none() | st.sampled_from(NUMBERS) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def documents(draw: st.DrawFn, name: str) -> Any:
    """Return a valid body with some fields replaced, removed or added; sometimes no object."""
    document: dict[str, Any] = dict(VALID[name])
    for field in draw(st.lists(st.sampled_from(sorted(document)), max_size=2, unique=True)):
        if draw(st.booleans()):
            document[field] = draw(TEXTS | JSON)
        else:
            del document[field]
    if draw(st.integers(0, 9)) == 0:
        document[draw(TEXTS)] = draw(JSON)
    return draw(JSON) if draw(st.integers(0, 19)) == 0 else document


@pytest.mark.parametrize("name", CHECKS)
@given(data=st.data())
def test_check_agrees_with_jsonschema(name: str, data: st.DataObject) -> None:
    """For any body the generated check and jsonschema agree."""
    # As the broker reads it.
    document = json.loads(json.dumps(data.draw(documents(name))))
    reference = Draft202012Validator(schemas.load(name)).is_valid(document)
    assert CHECKS[name](document) == reference


@pytest.mark.parametrize("name", CHECKS)
def test_check_uses_every_rule(name: str) -> None:
    """A body that breaks one rule of one field is refused, whichever rule it is."""
    schema, valid = schemas.load(name), VALID[name]
    assert CHECKS[name](valid)
    broken: list[Any] = [[], None, {**valid, "other": 1}]
    broken += [{**valid, field: []} for field in valid]
    broken += [{n: v for n, v in valid.items() if n != field} for field in schema["required"]]
    for field, rules in schema["properties"].items():
        if "minLength" in rules:
            broken.append({**valid, field: "a" * (rules["minLength"] - 1)})
        if "maxLength" in rules:
            broken.append({**valid, field: "a" * (rules["maxLength"] + 1)})
        if "pattern" in rules:
            broken += [{**valid, field: "a\n"}, {**valid, field: "\x00a"}]
        if "enum" in rules:
            broken.append({**valid, field: "video"})
        if "minimum" in rules:
            broken.append({**valid, field: rules["minimum"] - 1})
            broken.append({**valid, field: rules["maximum"] + 1})
            broken += [{**valid, field: value} for value in (1.5, True, "1")]
    assert [one for one in broken if CHECKS[name](one)] == []
