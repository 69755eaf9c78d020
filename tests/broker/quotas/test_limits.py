"""The claim that narrows a caller's limits: it can reduce them, and never widen them."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.quotas.limits import Limits

BASE = Limits(1000, ("video/*", "audio/mpeg"), frozenset({"ours"}), 10, 100, None)

TYPES = st.sampled_from(
    ["*/*", "video/*", "audio/*", "image/*", "video/mp4", "VIDEO/MP4", "audio/mpeg", "image/png"]
)
COUNTS = st.integers(min_value=0, max_value=2**70)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "maxBytes": COUNTS,
        "contentTypes": st.lists(TYPES, max_size=5),
        "projectId": st.text(min_size=1) | st.lists(st.text(min_size=1)),
        "maxOpen": COUNTS,
        "perDay": COUNTS,
        "bytesPerDay": COUNTS,
    },
)
ALLOWED = st.builds(
    Limits,
    COUNTS,
    st.lists(TYPES.map(str.lower), min_size=1, max_size=5).map(tuple),
    st.frozensets(st.text(min_size=1)),
    COUNTS,
    COUNTS,
    st.none() | COUNTS,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
CONCRETE = ["video/mp4", "video/webm", "audio/mpeg", "image/png", "text/html", "x/y"]


def is_within(narrow: Limits, wide: Limits) -> bool:
    """Whether the narrow limits allow nothing that the wide ones forbid, projects aside."""
    return (
        narrow.max_upload_bytes <= wide.max_upload_bytes
        and narrow.max_open_uploads <= wide.max_open_uploads
        and narrow.uploads_per_day <= wide.uploads_per_day
        and (
            wide.bytes_per_day is None
            or (narrow.bytes_per_day is not None and narrow.bytes_per_day <= wide.bytes_per_day)
        )
        and all(wide.accepts(kind) for kind in CONCRETE if narrow.accepts(kind))
    )


@example(
    Limits(0, ("video/*", "video/mp4", "*/*"), frozenset(), 0, 0, 0),
    {"contentTypes": ["video/*", "*/*"]},
)
@given(ALLOWED, CLAIMS)
def test_claim_never_widens_limits(allowed: Limits, claim: dict[str, object]) -> None:
    """No claim allows what the settings forbid."""
    narrowed = allowed.narrowed(claim)
    assert is_within(narrowed, allowed)
    assert narrowed.narrowed(claim) == narrowed


@given(ALLOWED, CLAIMS)
def test_claim_decides_projects(allowed: Limits, claim: dict[str, object]) -> None:
    """If the claim names projects, only those are allowed; otherwise those of the settings."""
    named = claim.get("projectId")
    theirs = {named} if isinstance(named, str) else named
    expected = allowed.project_ids if theirs is None else set(theirs)  # type: ignore[call-overload]
    assert allowed.narrowed(claim).project_ids == expected


@given(ALLOWED, CLAIMS)
def test_limits_obey_claim(allowed: Limits, claim: dict[str, object]) -> None:
    """No setting allows what the claim forbids."""
    huge = Limits(2**80, ("*/*",), frozenset(), 2**80, 2**80, None)
    assert is_within(allowed.narrowed(claim), huge.narrowed(claim))


@given(JSON | st.dictionaries(st.sampled_from(["maxBytes", "contentTypes", "projectId"]), JSON))
def test_any_claim_narrows_or_is_refused(claim: object) -> None:
    """A claim of any shape either narrows the limits or is refused as malformed."""
    with contextlib.suppress(ValueError):
        narrowed = BASE.narrowed(claim)
        assert is_within(narrowed, BASE)
        assert isinstance(claim, dict)
        assert "projectId" in claim or narrowed.project_ids == BASE.project_ids


@pytest.mark.parametrize(
    "claim",
    [
        None,
        [],
        "maxBytes",
        True,
        {"maxbytes": 5},
        {"maxBytes": 5, "more": 1},
        {"maxBytes": -1},
        {"maxBytes": True},
        {"maxBytes": 1.5},
        {"maxBytes": float("inf")},
        {"maxBytes": "5"},
        {"maxBytes": None},
        {"maxOpen": False},
        {"perDay": -1},
        {"bytesPerDay": "1e3"},
        {"contentTypes": "video/*"},
        {"contentTypes": ["video"]},
        {"contentTypes": ["*/mp4"]},
        {"contentTypes": ["video/mp4\n"]},
        {"contentTypes": [1]},
        {"projectId": ""},
        {"projectId": 5},
        {"projectId": ["a", ""]},
        {"projectId": {"a": 1}},
    ],
)
def test_malformed_claim_is_refused(claim: object) -> None:
    """A claim that can't be parsed is refused with the expected form."""
    with pytest.raises(ValueError, match="must be"):
        BASE.narrowed(claim)


def test_content_types_intersect() -> None:
    """Of two types of which one includes the other, the narrower counts."""
    assert BASE.narrowed({"contentTypes": ["*/*"]}) == BASE
    inner = {"contentTypes": ["video/mp4", "audio/*", "image/*"]}
    assert BASE.narrowed(inner).content_types == ("video/mp4", "audio/mpeg")
    assert BASE.narrowed({"contentTypes": ["image/png"]}).content_types == ()


def test_claim_replaces_projects() -> None:
    """The claim's projects replace those of the settings."""
    assert BASE.narrowed({}).project_ids == {"ours"}
    assert BASE.narrowed({"projectId": "theirs"}).project_ids == {"theirs"}
    assert BASE.narrowed({"projectId": ["a", "b"]}).project_ids == {"a", "b"}
    assert BASE.narrowed({"projectId": []}).project_ids == set()
