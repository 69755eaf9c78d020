"""Transitions: which changes can't be built, and in which order an upload's URLs are tried."""

from dataclasses import replace

import pytest

from chalicelib.uploads import transitions
from chalicelib.uploads.models import Status, Target, Upload


@pytest.mark.parametrize(
    ("condition", "values"),
    [
        ("#owner = :owner", {"owner": "pending"}),
        ("#owner = :owner AND #status = :at", {"owner": "pending", "at": "registered"}),
        ("#status = :a OR #status = :b", {"a": "pending", "b": "registered"}),
        ("attribute_exists(#pk)", {}),
    ],
)
def test_illegal_transition_is_refused(condition: str, values: dict[str, str]) -> None:
    """A change is refused if a state in its condition does not lead to the new state."""
    with pytest.raises(ValueError, match="no transition leads to cancelled"):
        transitions.change("x", condition, values, {"status": "cancelled"})


def test_legal_transition_is_built() -> None:
    """Only the states in the condition count, not the other values."""
    values = {"owner": "registered", "pending": "pending"}
    made = transitions.change("x", transitions.OWN_PENDING, values, {"status": "cancelled"})
    assert made.pk == "upload#x"


@pytest.mark.parametrize(
    ("tried", "order"),
    [((), (2, 1, 0)), ((2,), (1, 0, 2)), ((1, 2), (0, 2)), ((0, 1), (2,))],
)
def test_newest_url_is_tried_first(tried: tuple[int, ...], order: tuple[int, ...]) -> None:
    """The newest URL is tried first, and last if there was no time for the others before."""
    targets = tuple(Target(f"https://a.example/{one}", "", 0, 0) for one in range(3))
    upload = Upload("x", "o", Status.PENDING, 0, 0, "VIDEO", 1, targets=targets)
    assert replace(upload, tried=tried).untried == order
