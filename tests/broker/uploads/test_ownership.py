"""Another caller's upload looks, in every state, like one that does not exist, and is unchanged."""

import pytest

from chalicelib.uploads.models import Status
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream

CALLS = [
    ("GET", "/uploads/{}"),
    ("POST", "/uploads/{}/complete"),
    ("POST", "/uploads/{}/renew"),
    ("DELETE", "/uploads/{}"),
]
STATES = ["pending", "landed", "registering", "registered", "failed", "cancelled", "expired"]


def in_state(api: Api, upstream: RunningUpstream, state: str) -> str:
    """Bring an upload into a state; return its id."""
    upload = api.begin() if state in {"pending", "expired"} else api.landed()
    if state == "registering":
        upstream.order({"kind": "cut"}, "POST", "/v2/assets")
        assert api.complete(upload).status_code == 202
    elif state == "failed":
        upstream.behave(planMaxBytes=1)
        assert api.complete(upload).status_code == 413
    elif state == "registered":
        assert api.complete(upload).status_code == 200
    elif state == "cancelled":
        assert api.call("DELETE", f"/uploads/{upload['id']}").status_code == 204
    elif state == "expired":
        for _ in range(2):
            api.broker.clock.advance(20_000)
            api.broker.sweep()
    upload_id: str = upload["id"]
    return upload_id


@pytest.mark.usefixtures("nothing_due")
@pytest.mark.parametrize("state", STATES)
def test_other_caller_sees_no_upload(
    api: Api, broker: RunningBroker, upstream: RunningUpstream, state: str
) -> None:
    """No call of another caller distinguishes the upload from an unknown id, or changes it."""
    upload_id = in_state(api, upstream, state)
    before = api.call("GET", f"/uploads/{upload_id}").json()
    assert before["status"] == {"landed": Status.PENDING}.get(state, state)
    before_calls = len(upstream.journal())
    other = Api(broker)
    for method, path in CALLS:
        real = other.call(method, path.format(upload_id))
        made_up = other.call(method, path.format("0" * 32))
        assert real.status_code == made_up.status_code == 404
        bodies = [response.json() for response in (real, made_up)]
        for body in bodies:
            del body["instance"], body["requestId"]
        assert bodies[0] == bodies[1]
        calls = [other.line(response)["dynamodbCalls"] for response in (real, made_up)]
        assert calls[0] == calls[1]
    assert other.call("GET", "/uploads").json() == {"items": []}
    assert api.call("GET", f"/uploads/{upload_id}").json() == before
    assert len(upstream.journal()) == before_calls
    if state == "landed":
        assert api.complete(before).status_code == 200
