"""Log lines carry metrics in CloudWatch's format, and each metric's value is in its line."""

from typing import Any

import pytest

from chalicelib.core import log, metrics
from tests.support.running_broker import Api, RunningBroker
from tests.support.upstream_process import RunningUpstream

UNITS = {"Count", "Milliseconds", "Seconds", "Bytes"}


@pytest.fixture
def api(broker: RunningBroker) -> Api:
    """A caller of a broker whose log is read by CloudWatch."""
    log.configure("INFO", broker.log, table="uploads-prod")
    return Api(broker)


def values(broker: RunningBroker) -> dict[str, list[float]]:
    """Return the metrics' values by name and dimensions, as CloudWatch reads them."""
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


def test_registered_file_is_counted(api: Api, broker: RunningBroker) -> None:
    """A registered file is counted in each state, with its real size and Sync's latency."""
    upload = api.registered(b"seven b")
    api.line(api.call("GET", f"/uploads/{upload['id']}"))
    found = values(broker)
    assert found["uploads pending"] == [1]
    assert found["uploads registering"] == [1]
    assert found["uploads registered"] == [1]
    assert found["bytes"] == [7]
    # The read made no call to Sync, so it adds no latency.
    assert len(found["upstreamMs"]) == 2
    assert len(found["durationMs"]) == 3


def test_refusal_is_counted_by_code(api: Api, broker: RunningBroker) -> None:
    """A refusal is counted by its code."""
    response = api.call("POST", "/uploads", json={})
    api.line(response)
    assert values(broker)["refusals invalid_input"] == [1]


@pytest.mark.parametrize(
    ("status", "code"), [(401, "upstream_unauthorized"), (429, "upstream_busy")]
)
def test_sync_error_is_counted_by_code(
    api: Api, broker: RunningBroker, upstream: RunningUpstream, status: int, code: str
) -> None:
    """Sync's error is counted by its code."""
    upload = api.landed()
    response: dict[str, Any] = {"kind": "answer", "status": status, "body": {"message": "no"}}
    upstream.order(response, "POST", "/v2/assets", times=1)
    api.line(api.complete(upload))
    found = values(broker)
    assert found[f"upstreamErrors {code}"] == [1]
    assert found[f"refusals {code}"] == [1]


@pytest.mark.usefixtures("nothing_due")
def test_sweep_is_counted(api: Api, broker: RunningBroker) -> None:
    """A sweep counts its due and recovered uploads, and how long they had been due."""
    api.landed()
    broker.clock.advance(120)
    broker.sweep()
    found = values(broker)
    assert found["recovered"] == [1]
    assert found["found"][0] >= found["settled"][0] >= 1
    assert found["backlog"] == [0]
    assert found["lateSeconds"][0] >= 60


def test_return_to_pending_is_counted(api: Api, broker: RunningBroker) -> None:
    """The transition back to pending is counted too."""
    api.complete(api.begin())
    found = values(broker)
    assert found["uploads pending"] == [1, 1]
    assert found["uploads registering"] == [1]


def test_local_log_has_no_metrics(broker: RunningBroker) -> None:
    """A local broker's log lines have no metrics."""
    caller = Api(broker)
    assert "_aws" not in caller.line(caller.call("GET", "/limits"))
