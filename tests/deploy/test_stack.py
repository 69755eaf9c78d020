"""A deployed stack: requests pass through API Gateway and Lambda, with the secrets in SSM.

The emulator enforces the policies.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.deploy import ways
from tests.deploy.caller import Caller
from tests.support.emulated_aws import EmulatedAws, wait_until
from tests.support.project import ORIGIN, Project
from tests.support.running_broker import token
from tests.support.stack import Stack
from tests.support.upstream_process import ROOT, RunningUpstream


def test_stack_registers_upload_once(caller: Caller, upstream: RunningUpstream) -> None:
    """An upload becomes one asset, which the list and `GET /assets/{id}` return."""
    upload = caller.landed()
    response = caller.complete(upload)
    assert response.status_code == 200, response.text
    asset = response.json()["asset"]
    assert caller.complete(upload).json()["asset"] == asset
    assert [one["id"] for one in caller.call("GET", "/uploads").json()["items"]] == [upload["id"]]
    assert caller.call("GET", f"/assets/{asset['id']}").json()["id"] == upload["id"]
    assert upstream.outcomes().count(f"asset {asset['id']}") == 1


def test_location_includes_gateway_stage(caller: Caller) -> None:
    """`Location` includes the gateway's stage."""
    body = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
    response = caller.call("POST", "/uploads", json=body)
    assert response.headers["Location"] == f"/api/uploads/{response.json()['id']}"


def test_stack_renews_and_cancels(caller: Caller) -> None:
    """A pending upload keeps its upload URL while that is fresh, and can be cancelled."""
    upload = caller.begin()
    renewed = caller.call("POST", f"/uploads/{upload['id']}/renew").json()
    assert renewed["uploadUrl"] == upload["uploadUrl"]
    assert caller.call("DELETE", f"/uploads/{upload['id']}").status_code == 204
    assert caller.complete(upload).status_code == 410


def test_stack_registers_only_public_urls(caller: Caller, upstream: RunningUpstream) -> None:
    """The broker registers a public URL, and refuses a URL that is not public."""
    public = upstream.upload().replace("127.0.0.1", "localhost")
    response = caller.call("POST", "/assets", json={"url": public, "type": "VIDEO"})
    assert response.status_code == 201, response.text
    assert response.json()["asset"]["id"]
    refused = caller.call("POST", "/assets", json={"url": "http://127.0.0.1/x", "type": "VIDEO"})
    assert refused.status_code == 422


def test_idempotency_key_returns_same_upload(caller: Caller) -> None:
    """A request with the same Idempotency-Key returns the same upload."""
    headers = {"Idempotency-Key": "a-key"}
    body = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
    first, second = (caller.call("POST", "/uploads", json=body, headers=headers) for _ in "12")
    assert first.json()["id"] == second.json()["id"]


def test_missing_token_returns_401_with_cors(caller: Caller) -> None:
    """A request without a token returns a 401 that the app's page can read."""
    headers = {"Authorization": None, "Origin": ORIGIN}
    response = caller.call("GET", "/uploads", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_stack_allows_only_app_origin(stack: Stack) -> None:
    """A preflight is allowed only for the app's origin."""
    asked = {"Access-Control-Request-Method": "POST"}
    granted = requests.options(
        stack.url + "/uploads", headers={"Origin": ORIGIN} | asked, timeout=9
    )
    assert granted.status_code == 204
    assert granted.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Idempotency-Key" in granted.headers["Access-Control-Allow-Headers"]
    headers = {"Origin": "https://elsewhere.example.com"} | asked
    other = requests.options(stack.url + "/uploads", headers=headers, timeout=9)
    assert "Access-Control-Allow-Origin" not in other.headers


def test_stack_serves_root_and_head(stack: Stack) -> None:
    """The root names documents with the gateway's stage, and HEAD returns the headers of GET."""
    response = requests.get(stack.url + "/", timeout=9)
    assert response.status_code == 200
    assert (response.json()["health"], response.json()["openapi"]) == (
        "/api/health",
        "/api/openapi.json",
    )
    for path in ("/", "/health", "/openapi.json"):
        url = stack.url + path
        got, head = (requests.request(method, url, timeout=9) for method in ("GET", "HEAD"))
        assert (got.status_code, head.status_code) == (200, 200)
        assert head.headers["Content-Type"] == got.headers["Content-Type"]
        assert not head.content


def test_gateway_response_is_problem_with_cors(stack: Stack) -> None:
    """A response of the gateway itself is a problem that every page can read."""
    response = requests.get(stack.url + "/no/such/path", headers={"Origin": ORIGIN}, timeout=9)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    problem = response.json()
    assert (problem["status"], problem["code"]) == (404, "not_found")
    assert problem["requestId"] == response.headers["X-Request-Id"]


def test_emulator_enforces_policy(stack: Stack, caller: Caller, aws: EmulatedAws) -> None:
    """Without its policy, the broker can't read the table: the emulator enforces policies."""
    iam = aws.client("iam")
    role = stack.resource("ApiHandlerRole")
    attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    assert len(attached) == 1
    iam.detach_role_policy(RoleName=role, PolicyArn=attached[0]["PolicyArn"])
    try:
        assert caller.call("GET", "/uploads").json()["code"] == "store_unavailable"
    finally:
        iam.attach_role_policy(RoleName=role, PolicyArn=attached[0]["PolicyArn"])
    assert caller.call("GET", "/uploads").status_code == 200


def test_gateway_has_one_throttled_stage(stack: Stack, aws: EmulatedAws) -> None:
    """The gateway has one stage, with throttling; another stage would have none."""
    api = stack.outputs["RestAPIId"]
    (stage,) = aws.client("apigateway").get_stages(restApiId=api)["item"]
    assert stage["stageName"] == "api"
    assert not stage.get("tracingEnabled")
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] == 100
    assert stage["methodSettings"]["*/*"]["throttlingBurstLimit"] == 200


@pytest.mark.parametrize("row", ways.ROWS)
def test_stack_has_what_page_says(row: str, stack: Stack, caller: Caller) -> None:
    """A stack has what docs/deploy.md says of it in comparison with `chalice deploy`."""
    caller.call("GET", "/limits")
    ways.ROWS[row][1](stack)


def test_page_compares_tested_rows() -> None:
    """The page compares what the tests try in both ways, and nothing else."""
    assert ways.documented(ROOT / "docs" / "deploy.md") == list(ways.ROWS)


def test_functions_log_to_expiring_groups(stack: Stack, caller: Caller, aws: EmulatedAws) -> None:
    """Both functions write only to the log groups with a retention."""
    caller.call("GET", "/limits")
    groups = aws.client("logs").describe_log_groups()["logGroups"]
    mine = [one for one in groups if f"/{stack.name}/" in one["logGroupName"]]
    assert {one["logGroupName"].rpartition("/")[2] for one in mine} == {"api", "sweep"}
    assert {one["retentionInDays"] for one in mine} == {30}


def test_schedule_registers_abandoned_upload(
    abandoned: str, stack: Stack, aws: EmulatedAws
) -> None:
    """The scheduled sweep registers the upload whose tab was closed."""
    caller = Caller(stack.url, "left-for-the-schedule")

    def registered() -> Any:
        # Without a pause, the emulator would have no time to run the other function.
        time.sleep(1)
        upload = caller.call("GET", f"/uploads/{abandoned}").json()
        return upload if upload["status"] == "registered" else None

    # If the emulator interrupts an attempt, a later sweep reconciles it.
    try:
        found = wait_until(registered, 330)
    except AssertionError as error:
        error.add_note(caller.call("GET", f"/uploads/{abandoned}").text)
        error.add_note("\n".join(aws.lines(stack.resource("SweepLogs"))))
        raise
    assert found["asset"]["id"]


class Traffic:
    """Callers who send requests without end, and retry server errors, as the client does."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopped = threading.Event()
        self.statuses: list[int] = []
        self._threads = [threading.Thread(target=self._send) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        headers = {"Authorization": f"Bearer {token()}"}
        while not self._stopped.is_set():
            for _ in range(3):
                response = requests.get(self._url + "/limits", headers=headers, timeout=30)
                if response.status_code not in {500, 502, 503, 504}:
                    break
            self.statuses.append(response.status_code)

    def stop(self) -> None:
        """Stop after the running requests."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()


def test_stack_update_loses_no_request(
    stack: Stack, project: Project, upstream: RunningUpstream
) -> None:
    """A stack update replaces the version, and no request in flight is lost."""
    project.change_version("0.2.0")
    changed = project.package()
    callers = [Caller(stack.url) for _ in range(3)]
    landed = [caller.landed() for caller in callers]
    before = len(upstream.outcomes())
    # Sync's responses take two seconds, in which CloudFormation replaces the function.
    slow = {"kind": "delay", "seconds": 1.9, "when": "after"}
    upstream.order(slow, "POST", "/v2/assets", times=3)
    traffic = Traffic(stack.url)
    with ThreadPoolExecutor(3) as pool:
        completing = [
            pool.submit(_complete, stack, caller, upload)
            for caller, upload in zip(callers, landed, strict=True)
        ]
        wait_until(lambda: len(upstream.outcomes()) >= before + 3)
        stack.deploy(changed)
        wait_until(lambda: _version(stack) == "0.2.0")
        seen = len(traffic.statuses)
        wait_until(lambda: len(traffic.statuses) > seen + 3)
        traffic.stop()
        responses = [one.result() for one in completing]
    assert set(traffic.statuses) == {200}
    assert [one.status_code for one in responses] == [200] * 3, [one.text for one in responses]
    assets = {one.json()["asset"]["id"] for one in responses}
    assert assets == {line.split()[1].rstrip(";") for line in _assets(upstream, before)}


def _complete(stack: Stack, caller: Caller, upload: dict[str, Any]) -> requests.Response:
    url = f"{stack.url}/uploads/{upload['id']}/complete"
    return requests.post(url, headers={"Authorization": f"Bearer {caller.token}"}, timeout=30)


def _assets(upstream: RunningUpstream, since: int) -> list[str]:
    return [line for line in upstream.outcomes()[since:] if line.startswith("asset ")]


def _version(stack: Stack) -> str:
    response = requests.get(stack.url + "/", timeout=30)
    version: str = response.json()["version"]
    return version


def test_stack_deletion_keeps_table(stack: Stack, aws: EmulatedAws) -> None:
    """Deleting the stack deletes the API, and keeps the table with its items."""
    url = stack.url
    stack.delete()
    assert requests.get(url + "/health", timeout=9).status_code == 404
    assert not aws.client("lambda").list_functions()["Functions"]
    assert aws.client("dynamodb").describe_table(TableName=stack.table)["Table"]["ItemCount"] > 0
