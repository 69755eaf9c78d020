"""The lines carry metrics where CloudWatch reads them, and each metric is in its line."""

from typing import Any

import pytest

from chalicelib.core import log, metrics
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream

UNITS = {"Count", "Milliseconds", "Seconds", "Bytes"}


@pytest.fixture
def api(broker: RunningBroker) -> Api:
    """A caller of a broker whose log CloudWatch reads."""
    log.configure("INFO", broker.log, table="uploads-prod")
    return Api(broker)


def values(broker: RunningBroker) -> dict[str, list[float]]:
    """Read the metrics as CloudWatch does: by their name and what tells them apart."""
    found: dict[str, list[float]] = {}
    for event in metrics.GROUPS:
        for line in broker.lines(event):
            for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
                assert directive["Namespace"] == metrics.NAMESPACE
                (dimensions,) = directive["Dimensions"]
                assert line[dimensions[0]] == "uploads-prod"
                assert all(isinstance(line[name], str) for name in dimensions)
                for metric in directive["Metrics"]:
                    assert metric["Unit"] in UNITS
                    name = " ".join([metric["Name"], *(line[one] for one in dimensions[1:])])
                    found.setdefault(name, []).append(line[metric["Name"]])
    return found


def test_way_of_a_file(api: Api, broker: RunningBroker) -> None:
    """Begun and registered, with its real size and what sync. took."""
    upload = api.registered(b"seven b")
    api.line(api.call("GET", f"/uploads/{upload['id']}"))
    found = values(broker)
    assert found["uploads pending"] == [1]
    assert found["uploads registering"] == [1]
    assert found["uploads registered"] == [1]
    assert found["bytes"] == [7]
    assert found["requests"] == [1, 1, 1]
    assert found["faults"] == [0, 0, 0]
    # Reading asked sync. nothing, so it says nothing about sync.'s latency.
    assert len(found["upstreamMs"]) == 2
    assert len(found["durationMs"]) == 3


def test_refusals(api: Api, broker: RunningBroker) -> None:
    """By their code."""
    answer = api.call("POST", "/uploads", json={})
    api.line(answer)
    assert values(broker)["refusals invalid_input"] == [1]


@pytest.mark.parametrize(
    ("status", "code"), [(401, "upstream_unauthorized"), (429, "upstream_busy")]
)
def test_sync_refuses(
    api: Api, broker: RunningBroker, upstream: RunningUpstream, status: int, code: str
) -> None:
    """What sync. answers is counted by its meaning, and is the broker's fault to its callers."""
    upload = api.landed()
    answer: dict[str, Any] = {"kind": "answer", "status": status, "body": {"message": "no"}}
    upstream.order(answer, "POST", "/v2/assets", times=1)
    api.line(api.complete(upload))
    found = values(broker)
    assert found[f"upstreamErrors {code}"] == [1]
    assert found[f"refusals {code}"] == [1]
    assert found["faults"] == [0, 1]


@pytest.mark.usefixtures("nothing_due")
def test_sweep(api: Api, broker: RunningBroker) -> None:
    """How much was left behind, for how long, and what was recovered."""
    api.landed()
    broker.clock.advance(120)
    broker.sweep()
    found = values(broker)
    assert found["recovered"] == [1]
    assert found["found"][0] >= found["settled"][0] >= 1
    assert found["backlog"] == [0]
    assert found["oldestSeconds"][0] >= 120


def test_not_uploaded(api: Api, broker: RunningBroker) -> None:
    """The way back to pending is counted too."""
    api.complete(api.begin())
    found = values(broker)
    assert found["uploads pending"] == [1, 1]
    assert found["uploads registering"] == [1]


def test_nowhere_else(broker: RunningBroker) -> None:
    """On one's own machine the lines are as short as before."""
    caller = Api(broker)
    assert "_aws" not in caller.line(caller.call("GET", "/limits"))
