"""Every step that calls sync., against every way in which sync. can fail."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.faults.stand import (
    DAY,
    LOOK,
    NOWHERE,
    PRESIGN,
    REGISTER,
    SETTLED,
    Caller,
    Stand,
    assert_settled,
)

HTML = "<!doctype html><title>Bad gateway</title>"
HALF = '{"id": "550e8400-e29b-41d4-a716-4466554400'
NONSENSE = {
    PRESIGN: {"uploadUrl": 5, "url": [], "expiresIn": "soon"},
    REGISTER: {"id": 5, "url": {}, "type": []},
    LOOK: {"items": [{"id": 5, "url": [], "type": {}, "createdAt": 7}], "nextCursor": None},
}


@dataclass(frozen=True)
class Fault:
    """One way in which sync. fails.

    Attributes:
        name: For the test's id.
        code: What the broker makes of it.
        status: As `code`.
        action: What sync. does; None for a refused connection.
        clear: Whether it is plain that nothing was done.
        done: Whether the work is done in spite of it.
    """

    name: str
    code: str
    status: int
    action: Callable[[tuple[str, str]], dict[str, Any]] | None
    clear: bool = False
    done: bool = False


def answered(status: int, body: Any = None, **headers: str) -> Callable[..., dict[str, Any]]:
    """Make an answer the same for each step."""
    content = {"message": "trouble", "statusCode": status} if body is None else body
    return lambda _step: {
        "kind": "answer",
        "status": status,
        "body": content,
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
    }


def _faults() -> list[Fault]:
    unclear: dict[str, tuple[str, int, Callable[..., dict[str, Any]]]] = {
        "delay": ("upstream_timeout", 504, lambda _: {"kind": "delay", "seconds": 2.2}),
        "500": ("upstream_fault", 502, answered(500)),
        "502": ("upstream_fault", 502, answered(502, HTML)),
        "503": ("upstream_fault", 502, answered(503, Retry_After="3")),
        "504": ("upstream_timeout", 504, answered(504)),
        "html": ("upstream_fault", 502, answered(200, HTML, Content_Type="text/html")),
        "truncated": ("upstream_fault", 502, answered(201, HALF)),
        "types": (
            "upstream_fault",
            502,
            lambda step: {"kind": "answer", "status": 201, "body": NONSENSE[step]},
        ),
        "reset": ("upstream_fault", 502, lambda _: {"kind": "cut"}),
    }
    found = [
        Fault("429", "upstream_busy", 503, answered(429), clear=True),
        Fault("429-wait", "upstream_busy", 503, answered(429, Retry_After="7"), clear=True),
        Fault("refused", "upstream_unreachable", 502, None, clear=True),
    ]
    for when in ("before", "after"):
        for name, (code, status, action) in unclear.items():
            found.append(Fault(f"{name}-{when}", code, status, action, done=when == "after"))
    return found


FAULTS = [pytest.param(fault, id=fault.name) for fault in _faults()]


def strike(stand: Stand, fault: Fault, step: tuple[str, str], times: int | None) -> None:
    """Let sync. fail at a step from now on."""
    if fault.action is None:
        stand.point(NOWHERE)
    else:
        when = {"when": "after" if fault.done else "before"}
        stand.upstream.order({**fault.action(step), **when}, *step, times=times)


def assert_told(answer: requests.Response, fault: Fault) -> None:
    """Compare an answer with what the fault has to be told as."""
    assert (answer.status_code, answer.json()["code"]) == (fault.status, fault.code)
    if fault.code == "upstream_busy":
        assert answer.headers["Retry-After"] == ("7" if fault.name == "429-wait" else "10")


def assert_unknown(answer: requests.Response) -> None:
    """Check an answer that says: its outcome is being found out."""
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "registering"
    assert answer.json()["asset"] is None
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize("fault", FAULTS)
def test_presign_step(stand: Stand, fault: Fault) -> None:
    """A presign that fails is told, leaves no upload behind, and works again afterwards."""
    caller = Caller(stand)
    strike(stand, fault, PRESIGN, None)
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5, "name": "refused"}
    assert_told(caller.call("POST", "/uploads", json=body), fault)
    assert caller.uploads() == []
    stand.heal()
    stand.clock.advance(60)  # After a 429 the line lets nobody through for a while.
    assert caller.call("GET", "/limits").json()["openUploads"]["left"] == 1000
    caller.complete(caller.land("second"))
    assert_settled(stand, [caller])


@pytest.mark.parametrize("fault", FAULTS)
def test_renew_step(stand: Stand, fault: Fault) -> None:
    """A renewal that fails leaves the upload as it was, and bytes at the old address count."""
    caller = Caller(stand)
    upload = caller.land("renewed")
    stand.clock.advance(1900)
    strike(stand, fault, PRESIGN, None)
    assert_told(caller.call("POST", f"/uploads/{upload['id']}/renew"), fault)
    assert caller.status(upload) == "pending"
    stand.heal()
    stand.clock.advance(60)  # As above.
    again = caller.call("POST", f"/uploads/{upload['id']}/renew")
    assert again.status_code == 200
    assert again.json()["uploadUrl"] != upload["uploadUrl"]
    assert caller.complete(upload).status_code == 200
    assert_settled(stand, [caller])


@pytest.mark.parametrize("fault", FAULTS)
def test_register_step(stand: Stand, fault: Fault) -> None:
    """A registration that fails is refused clearly, found at once, or found out later."""
    caller = Caller(stand)
    upload = caller.land("registered")
    strike(stand, fault, REGISTER, 1)
    answer = caller.complete(upload)
    if fault.clear:
        assert_told(answer, fault)
        assert caller.status(upload) == "pending"
    elif fault.done:
        assert answer.status_code == 200
        assert caller.status(upload) == "registered"
    else:
        assert_unknown(answer)
    stand.heal()
    sent = stand.posts()
    if not fault.clear:
        caller.complete(upload)
        assert stand.posts() == sent == 1
    stand.clock.advance(SETTLED)
    assert caller.complete(upload).status_code == 200
    assert_settled(stand, [caller])


@pytest.mark.parametrize("fault", FAULTS)
def test_public_url_step(stand: Stand, fault: Fault) -> None:
    """A public URL's registration that fails is taken back, found at once, or found out later."""
    caller = Caller(stand)
    url = stand.upstream.upload().replace("127.0.0.1", "localhost")
    strike(stand, fault, REGISTER, 1)
    answer = caller.post_url(url, "public")
    if fault.clear:
        assert_told(answer, fault)
        assert caller.uploads() == []
        stand.heal()
        stand.clock.advance(10)  # After a 429 nothing is registered for a while.
        assert caller.post_url(url, "public").status_code == 201
    elif fault.done:
        assert answer.status_code == 201
    else:
        assert_unknown(answer)
        assert answer.headers["Location"].endswith(f"/uploads/{answer.json()['id']}")
    caller.landed_names.add("public")
    stand.heal()
    stand.clock.advance(SETTLED)
    [upload] = caller.uploads()
    assert caller.complete(upload).status_code == 200
    assert_settled(stand, [caller])


@pytest.mark.parametrize("fault", [one for one in FAULTS if not str(one.id).endswith("-after")])
@pytest.mark.parametrize("made", [True, False], ids=["made", "not-made"])
def test_look_step(stand: Stand, fault: Fault, made: bool) -> None:  # noqa: FBT001 - a parameter
    """While the list can't be read nobody POSTs again, however late it is."""
    caller = Caller(stand)
    upload = caller.land("looked for")
    stand.upstream.order({"kind": "cut", "when": "after" if made else "before"}, *REGISTER)
    if fault.action is None:
        stand.upstream.order({"kind": "answer", "status": 500}, *LOOK, times=2)
    else:
        strike(stand, fault, LOOK, None)
    assert_unknown(caller.complete(upload))
    if fault.action is None:
        stand.point(NOWHERE)
    stand.clock.advance(SETTLED)
    assert_unknown(caller.complete(upload))
    assert stand.posts() == 1
    stand.heal()
    assert caller.complete(upload).status_code == 200
    assert stand.posts() == (1 if made else 2)
    assert_settled(stand, [caller])


@pytest.mark.parametrize("fault", FAULTS)
def test_sweep_step(stand: Stand, fault: Fault) -> None:
    """What the sweep can't register is finished by later sweeps, without its browser."""
    caller = Caller(stand)
    upload = caller.land("swept")
    stand.clock.advance(61)
    strike(stand, fault, REGISTER, 1)
    assert stand.sweep().found == 1
    if fault.clear:
        assert caller.status(upload) == "pending"
    else:
        assert caller.status(upload) == ("registered" if fault.done else "registering")
    stand.heal()
    stand.sweep_all()
    assert caller.status(upload) == "registered"
    stand.clock.advance(DAY)
    assert_settled(stand, [caller])
