"""The faults that the state machine draws: crashes, faults of Sync, and undocumented behavior."""

from typing import Any

from hypothesis import strategies as st

from tests.machine.operation import Interruption
from tests.machine.system import LONGER_THAN_SHORT

Order = tuple[str, str, dict[str, Any]]

_REGISTER = ("POST", "/v2/assets")
_OTHERS = (("GET", "/v2/assets"), ("POST", "/v2/assets/upload"), ("DELETE", "/v2/assets/*"))
# Faults with an ambiguous outcome: Sync has done the work or not, and the response does not show
# it.
_AMBIGUOUS: tuple[dict[str, Any], ...] = (
    {"kind": "cut", "when": "before"},
    {"kind": "cut", "when": "after"},
    {"kind": "answer", "status": 500, "when": "before"},
    {"kind": "answer", "status": 500, "when": "after"},
    {"kind": "answer", "status": 503, "body": "<html>", "when": "after"},
    {"kind": "answer", "status": 200, "body": "<html>", "when": "before"},
    {"kind": "answer", "status": 201, "body": '{"id": "a', "when": "after"},
    {"kind": "answer", "status": 201, "body": {"id": 5}, "when": "after"},
)
# An undocumented refusal, which may therefore mean "not uploaded yet".
ODD: dict[str, Any] = {"kind": "answer", "status": 409, "body": {"message": "not now"}}
# Refusals that show that Sync did nothing.
_REFUSED: tuple[dict[str, Any], ...] = (
    {"kind": "answer", "status": 429, "headers": {"Retry-After": "7"}},
    {"kind": "answer", "status": 429},
    {"kind": "answer", "status": 401},
    ODD,
)
FINAL = {"kind": "answer", "status": 422, "body": {"errorCode": "file_not_in_org_storage"}}
_SLOW: tuple[dict[str, Any], ...] = (
    {"kind": "delay", "seconds": LONGER_THAN_SHORT, "when": "before"},
    {"kind": "delay", "seconds": LONGER_THAN_SHORT, "when": "after"},
)

_registering: list[Order] = [
    (*_REGISTER, fault) for fault in (*_AMBIGUOUS, *_AMBIGUOUS, *_REFUSED, FINAL, *_SLOW)
]
_orders = list(_registering)
_orders += [
    (*call, fault) for call in _OTHERS for fault in (_AMBIGUOUS[0], _AMBIGUOUS[3], _REFUSED[0])
]
orders = st.sampled_from(_orders)
registering = st.one_of(st.none(), st.sampled_from(_registering))

# A `complete` makes three calls, and a few more if it reconciles.
_calls = st.sampled_from((1, 2, 2, 2, 3, 3, 4, 5))
interruptions = st.one_of(
    st.none(),
    st.builds(
        Interruption,
        kind=st.sampled_from(("kill", "hold", "lose", "repeat")),
        nth=_calls,
        after=st.booleans(),
    ),
)
holds = st.builds(Interruption, kind=st.just("hold"), nth=_calls, after=st.booleans())
# The actions of others while an operation is held.
meanwhile = st.lists(
    st.sampled_from(("complete", "complete", "cancel", "renew", "sweep", "put", "wait")),
    min_size=1,
    max_size=3,
)

# Undocumented behavior may be either way, and may change while the broker runs.
behaviors = st.sampled_from(
    (
        ("unnamedAsset", "fileName"),
        ("unnamedAsset", "null"),
        ("duplicateUrl", "same"),
        ("duplicateUrl", "new"),
        ("assetUrl", "absent"),
        ("assetUrl", "same"),
        ("notUploadedStatus", 404),
        ("notUploadedStatus", 422),
        ("notUploadedCode", False),
        ("optionalFields", "missing"),
    )
)
