"""Every step that calls Sync, against every way in which Sync can fail."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.faults.faulty_broker import (
    DAY,
    LIST,
    NOWHERE,
    PRESIGN,
    REGISTER,
    SETTLED,
    Caller,
    FaultyBroker,
    assert_settled,
)
from tests.support.running_broker import SHORT

HTML = "<!doctype html><title>Bad gateway</title>"
HALF = '{"id": "550e8400-e29b-41d4-a716-4466554400'
NONSENSE = {
    PRESIGN: {"uploadUrl": 5, "url": [], "expiresIn": "soon"},
    REGISTER: {"id": 5, "url": {}, "type": []},
    LIST: {"items": [{"id": 5, "url": [], "type": {}, "createdAt": 7}], "nextCursor": None},
}


@dataclass(frozen=True)
class Fault:
    """One way in which Sync fails.

    Attributes:
        name: For the test's id.
        code: The error code of the broker's response.
        status: The status of the broker's response.
        action: What Sync does; None for a refused connection.
        clear: Whether Sync has certainly done nothing.
        done: Whether Sync does the work in spite of the fault.
    """

    name: str
    code: str
    status: int
    action: Callable[[tuple[str, str]], dict[str, Any]] | None
    clear: bool = False
    done: bool = False


def responding(status: int, body: Any = None, **headers: str) -> Callable[..., dict[str, Any]]:
    """Return a response that is the same for each step."""
    content = {"message": "trouble", "statusCode": status} if body is None else body
    return lambda _step: {
        "kind": "answer",
        "status": status,
        "body": content,
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
    }


def _faults() -> list[Fault]:
    ambiguous: dict[str, tuple[str, int, Callable[..., dict[str, Any]]]] = {
        "delay": ("upstream_timeout", 504, lambda _: {"kind": "delay", "seconds": 2.2}),
        "500": ("upstream_fault", 502, responding(500)),
        "502": ("upstream_fault", 502, responding(502, HTML)),
        "503": ("upstream_fault", 502, responding(503, Retry_After="3")),
        "504": ("upstream_timeout", 504, responding(504)),
        "html": ("upstream_fault", 502, responding(200, HTML, Content_Type="text/html")),
        "truncated": ("upstream_fault", 502, responding(201, HALF)),
        "types": (
            "upstream_fault",
            502,
            lambda step: {"kind": "answer", "status": 201, "body": NONSENSE[step]},
        ),
        "reset": ("upstream_fault", 502, lambda _: {"kind": "cut"}),
    }
    found = [
        Fault("429", "upstream_busy", 503, responding(429), clear=True),
        Fault("429-wait", "upstream_busy", 503, responding(429, Retry_After="7"), clear=True),
        Fault("refused", "upstream_unreachable", 502, None, clear=True),
    ]
    for when in ("before", "after"):
        for name, (code, status, action) in ambiguous.items():
            found.append(Fault(f"{name}-{when}", code, status, action, done=when == "after"))
    return found


FAULTS = [pytest.param(fault, id=fault.name) for fault in _faults()]


def order_fault(
    broker: FaultyBroker, fault: Fault, step: tuple[str, str], times: int | None
) -> None:
    """Let Sync fail at a step from now on."""
    if fault.action is None:
        broker.start_container(NOWHERE)
    else:
        if "delay" in fault.name:
            broker.timeouts = SHORT
            broker.start_container()
        when = {"when": "after" if fault.done else "before"}
        broker.upstream.order({**fault.action(step), **when}, *step, times=times)


def assert_reported(response: requests.Response, fault: Fault) -> None:
    """Assert that a response reports the fault."""
    assert (response.status_code, response.json()["code"]) == (fault.status, fault.code)
    if fault.code == "upstream_busy":
        assert response.headers["Retry-After"] == ("7" if fault.name == "429-wait" else "10")


def assert_unknown(response: requests.Response) -> None:
    """Assert that a response reports an outcome that is still unknown."""
    assert response.status_code == 202, response.text
    assert response.json()["status"] == "registering"
    assert response.json()["asset"] is None
    assert response.headers["Retry-After"] == "5"


@pytest.mark.parametrize("fault", FAULTS)
def test_presign_fault_leaves_no_upload(broker: FaultyBroker, fault: Fault) -> None:
    """A presign that fails is reported, leaves no upload behind, and works again afterwards."""
    caller = Caller(broker)
    order_fault(broker, fault, PRESIGN, None)
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5, "name": "refused"}
    assert_reported(caller.call("POST", "/uploads", json=body), fault)
    assert caller.uploads() == []
    broker.heal()
    broker.clock.advance(60)  # After a 429 the limiter refuses every request for a while.
    assert caller.call("GET", "/limits").json()["openUploads"]["left"] == 1000
    caller.complete(caller.land("second"))
    assert_settled(broker, [caller])


@pytest.mark.parametrize("fault", FAULTS)
def test_renew_fault_changes_nothing(broker: FaultyBroker, fault: Fault) -> None:
    """A renewal that fails changes nothing, and bytes at the old URL count."""
    caller = Caller(broker)
    upload = caller.land("renewed")
    broker.clock.advance(1900)
    order_fault(broker, fault, PRESIGN, None)
    assert_reported(caller.call("POST", f"/uploads/{upload['id']}/renew"), fault)
    assert caller.status(upload) == "pending"
    broker.heal()
    broker.clock.advance(60)  # After a 429, as above.
    again = caller.call("POST", f"/uploads/{upload['id']}/renew")
    assert again.status_code == 200
    assert again.json()["uploadUrl"] != upload["uploadUrl"]
    assert caller.complete(upload).status_code == 200
    assert_settled(broker, [caller])


@pytest.mark.parametrize("fault", FAULTS)
def test_register_fault_makes_one_asset(broker: FaultyBroker, fault: Fault) -> None:
    """A registration that fails is refused clearly, found at once, or reconciled later."""
    caller = Caller(broker)
    upload = caller.land("registered")
    order_fault(broker, fault, REGISTER, 1)
    response = caller.complete(upload)
    if fault.clear:
        assert_reported(response, fault)
        assert caller.status(upload) == "pending"
    elif fault.done:
        assert response.status_code == 200
        assert caller.status(upload) == "registered"
    else:
        assert_unknown(response)
    broker.heal()
    sent = broker.count_posts()
    if not fault.clear:
        caller.complete(upload)
        assert broker.count_posts() == sent == 1
    broker.clock.advance(SETTLED)
    assert caller.complete(upload).status_code == 200
    assert_settled(broker, [caller])


@pytest.mark.parametrize("fault", FAULTS)
def test_public_url_fault_makes_one_asset(broker: FaultyBroker, fault: Fault) -> None:
    """A public URL's failed registration is taken back, found at once, or reconciled later."""
    caller = Caller(broker)
    url = broker.upstream.upload().replace("127.0.0.1", "localhost")
    order_fault(broker, fault, REGISTER, 1)
    response = caller.post_url(url, "public")
    if fault.clear:
        assert_reported(response, fault)
        assert caller.uploads() == []
        broker.heal()
        broker.clock.advance(10)  # After a 429 the broker registers nothing for a while.
        assert caller.post_url(url, "public").status_code == 201
    elif fault.done:
        assert response.status_code == 201
    else:
        assert_unknown(response)
        assert response.headers["Location"].endswith(f"/uploads/{response.json()['id']}")
    caller.landed_names.add("public")
    broker.heal()
    broker.clock.advance(SETTLED)
    [upload] = caller.uploads()
    assert caller.complete(upload).status_code == 200
    assert_settled(broker, [caller])


@pytest.mark.parametrize("fault", [one for one in FAULTS if not str(one.id).endswith("-after")])
@pytest.mark.parametrize("made", [True, False], ids=["made", "not-made"])
def test_no_second_post_while_list_fails(broker: FaultyBroker, fault: Fault, made: bool) -> None:  # noqa: FBT001 - a parameter
    """While the list can't be read nobody POSTs again, however late it is."""
    caller = Caller(broker)
    upload = caller.land("listed")
    broker.upstream.order({"kind": "cut", "when": "after" if made else "before"}, *REGISTER)
    if fault.action is None:
        broker.upstream.order({"kind": "answer", "status": 500}, *LIST, times=2)
    else:
        order_fault(broker, fault, LIST, None)
    assert_unknown(caller.complete(upload))
    if fault.action is None:
        broker.start_container(NOWHERE)
    broker.clock.advance(SETTLED)
    assert_unknown(caller.complete(upload))
    assert broker.count_posts() == 1
    broker.heal()
    assert caller.complete(upload).status_code == 200
    assert broker.count_posts() == (1 if made else 2)
    assert_settled(broker, [caller])


@pytest.mark.parametrize("fault", FAULTS)
def test_sweep_retries_after_fault(broker: FaultyBroker, fault: Fault) -> None:
    """Later sweeps finish what one sweep can't register, without a browser."""
    caller = Caller(broker)
    upload = caller.land("swept")
    broker.clock.advance(61)
    order_fault(broker, fault, REGISTER, 1)
    assert broker.sweep().found == 1
    if fault.clear:
        assert caller.status(upload) == "pending"
    else:
        assert caller.status(upload) == ("registered" if fault.done else "registering")
    broker.heal()
    broker.sweep_all()
    assert caller.status(upload) == "registered"
    broker.clock.advance(DAY)
    assert_settled(broker, [caller])
