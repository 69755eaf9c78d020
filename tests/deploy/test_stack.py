"""The whole way through API Gateway and Lambda, in a stack that CloudFormation made.

Policies are enforced by the emulator, and the secrets lie in SSM.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from tests.deploy.caller import Caller
from tests.support.emulated_aws import EmulatedAws, wait_until
from tests.support.project import ORIGIN, Project
from tests.support.running_broker import token
from tests.support.stack import Stack
from tests.support.upstream_process import RunningUpstream


def test_whole_way(caller: Caller, upstream: RunningUpstream) -> None:
    """A file gets its asset, once, and the list and the asset's record tell it."""
    upload = caller.landed()
    answer = caller.complete(upload)
    assert answer.status_code == 200, answer.text
    asset = answer.json()["asset"]
    assert caller.complete(upload).json()["asset"] == asset
    assert [one["id"] for one in caller.call("GET", "/uploads").json()["items"]] == [upload["id"]]
    assert caller.call("GET", f"/assets/{asset['id']}").json()["id"] == upload["id"]
    assert upstream.outcomes().count(f"asset {asset['id']}") == 1


def test_location(caller: Caller) -> None:
    """`Location` is right behind the gateway's stage."""
    body = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
    answer = caller.call("POST", "/uploads", json=body)
    assert answer.headers["Location"] == f"/api/uploads/{answer.json()['id']}"


def test_renew_and_cancel(caller: Caller) -> None:
    """A pending upload keeps its fresh address, and is gone when it was cancelled."""
    upload = caller.begin()
    renewed = caller.call("POST", f"/uploads/{upload['id']}/renew").json()
    assert renewed["uploadUrl"] == upload["uploadUrl"]
    assert caller.call("DELETE", f"/uploads/{upload['id']}").status_code == 204
    assert caller.complete(upload).status_code == 410


def test_public_url(caller: Caller, upstream: RunningUpstream) -> None:
    """A public URL is registered, and what no stranger may name is refused."""
    public = upstream.upload().replace("127.0.0.1", "localhost")
    answer = caller.call("POST", "/assets", json={"url": public, "type": "VIDEO"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["asset"]["id"]
    refused = caller.call("POST", "/assets", json={"url": "http://127.0.0.1/x", "type": "VIDEO"})
    assert refused.status_code == 422


def test_idempotency_key(caller: Caller) -> None:
    """The same key gives the same upload."""
    headers = {"Idempotency-Key": "a-key"}
    body = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
    first, second = (caller.call("POST", "/uploads", json=body, headers=headers) for _ in "12")
    assert first.json()["id"] == second.json()["id"]


def test_without_token(caller: Caller) -> None:
    """Without a token there is a 401 that a browser of the app can read."""
    headers = {"Authorization": None, "Origin": ORIGIN}
    answer = caller.call("GET", "/uploads", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_preflight(stack: Stack) -> None:
    """A browser's preflight is answered for the app's origin and for no other."""
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


def test_root_and_head(stack: Stack) -> None:
    """The API's root names its documents behind the stage, and HEAD is answered as GET is."""
    answer = requests.get(stack.url + "/", timeout=9)
    assert answer.status_code == 200
    assert (answer.json()["health"], answer.json()["openapi"]) == (
        "/api/health",
        "/api/openapi.json",
    )
    for path in ("/", "/health", "/openapi.json"):
        url = stack.url + path
        got, head = (requests.request(method, url, timeout=9) for method in ("GET", "HEAD"))
        assert (got.status_code, head.status_code) == (200, 200)
        assert head.headers["Content-Type"] == got.headers["Content-Type"]
        assert not head.content


def test_gateways_own_answer(stack: Stack) -> None:
    """What the gateway answers by itself is a problem that every browser can read."""
    answer = requests.get(stack.url + "/no/such/path", headers={"Origin": ORIGIN}, timeout=9)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (404, "not_found")
    assert problem["requestId"] == answer.headers["X-Request-Id"]


def test_policy_enforced(stack: Stack, caller: Caller, aws: EmulatedAws) -> None:
    """The emulator does enforce the policy: without its statement the broker gets nothing."""
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


def test_one_stage(stack: Stack, aws: EmulatedAws) -> None:
    """There is one stage, slowed down against floods; a second one would not be."""
    api = stack.outputs["RestAPIId"]
    (stage,) = aws.client("apigateway").get_stages(restApiId=api)["item"]
    assert stage["stageName"] == "api"
    assert stage["tracingEnabled"] is True
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] == 100
    assert stage["methodSettings"]["*/*"]["throttlingBurstLimit"] == 200


def test_log_kept_for_a_while(stack: Stack, caller: Caller, aws: EmulatedAws) -> None:
    """Both functions write to the groups that expire, and to no other."""
    caller.call("GET", "/limits")
    groups = aws.client("logs").describe_log_groups()["logGroups"]
    mine = [one for one in groups if f"/{stack.name}/" in one["logGroupName"]]
    assert {one["logGroupName"].rpartition("/")[2] for one in mine} == {"api", "sweep"}
    assert {one["retentionInDays"] for one in mine} == {30}


def test_sweep_by_its_schedule(abandoned: str, stack: Stack, aws: EmulatedAws) -> None:
    """The upload of the closed tab is registered by the rule that runs every minute."""
    caller = Caller(stack.url, "left-for-the-schedule")

    def registered() -> Any:
        # A function that is asked without a pause leaves the emulator no time for the other one.
        time.sleep(1)
        upload = caller.call("GET", f"/uploads/{abandoned}").json()
        return upload if upload["status"] == "registered" else None

    # An attempt that the emulator cut off is found out about by a later run.
    try:
        found = wait_until(registered, 330)
    except AssertionError as error:
        error.add_note(caller.call("GET", f"/uploads/{abandoned}").text)
        error.add_note("\n".join(aws.lines(stack.resource("SweepLogs"))))
        raise
    assert found["asset"]["id"]


class Traffic:
    """Callers who go on asking, and repeat what may be repeated, as the browser client does."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopped = threading.Event()
        self.answers: list[int] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        headers = {"Authorization": f"Bearer {token()}"}
        while not self._stopped.is_set():
            for _ in range(3):
                answer = requests.get(self._url + "/limits", headers=headers, timeout=30)
                if answer.status_code not in {500, 502, 503, 504}:
                    break
            self.answers.append(answer.status_code)

    def stop(self) -> None:
        """Let the last answers arrive."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()


def test_update(stack: Stack, project: Project, upstream: RunningUpstream) -> None:
    """A changed version replaces the old one without losing a request that is in flight."""
    project.change_version("0.2.0")
    changed = project.package()
    callers = [Caller(stack.url) for _ in range(3)]
    landed = [caller.landed() for caller in callers]
    before = len(upstream.outcomes())
    # The answer comes after two seconds: the function is replaced meanwhile.
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
        seen = len(traffic.answers)
        wait_until(lambda: len(traffic.answers) > seen + 3)
        traffic.stop()
        answers = [one.result() for one in completing]
    assert set(traffic.answers) == {200}
    assert [answer.status_code for answer in answers] == [200] * 3, [one.text for one in answers]
    assets = {answer.json()["asset"]["id"] for answer in answers}
    assert assets == {line.split()[1].rstrip(";") for line in _assets(upstream, before)}


def _complete(stack: Stack, caller: Caller, upload: dict[str, Any]) -> requests.Response:
    url = f"{stack.url}/uploads/{upload['id']}/complete"
    return requests.post(url, headers={"Authorization": f"Bearer {caller.token}"}, timeout=30)


def _assets(upstream: RunningUpstream, since: int) -> list[str]:
    return [line for line in upstream.outcomes()[since:] if line.startswith("asset ")]


def _version(stack: Stack) -> str:
    answer = requests.get(stack.url + "/", timeout=30)
    version: str = answer.json()["version"]
    return version


def test_delete(stack: Stack, aws: EmulatedAws) -> None:
    """Without its stack the API is gone, and the table is there with what it holds."""
    url = stack.url
    stack.delete()
    assert requests.get(url + "/health", timeout=9).status_code == 404
    assert not aws.client("lambda").list_functions()["Functions"]
    assert aws.client("dynamodb").describe_table(TableName=stack.table)["Table"]["ItemCount"] > 0
