"""No response, log line, exception or record of the broker has the API key or the JWT secret."""

import base64
import io
import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from chalicelib import bootstrap
from chalicelib.aws import clients
from chalicelib.core import errors, settings
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.breaker import PAUSE_SECONDS
from chalicelib.web import bodies
from tests.support.running_broker import PRESIGNS, SHORT, Api, RunningBroker
from tests.support.upstream_process import ROOT, RunningUpstream, free_port

KEY = "sk-MarkedKeyOfTheTests0123456789abcdefghijklmnop"
SECRET = "MarkedSecretOfTheTests0123456789abcdefghijklmnopq"
LEVEL = "DEBUG"  # every other level logs a part of these lines
GOOD = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
# The codes that another test provokes: below, with secrets in SSM.
ELSEWHERE = {"secrets_unavailable"}


def spellings(secret: str) -> list[bytes]:
    """Return the spellings of a secret: plain, and as encoders write it."""
    raw = secret.encode()
    encoded = [base64.b64encode(raw[start:])[4:-8] for start in range(3)]
    return [raw, raw[:16], raw[-16:], raw[::-1], raw.hex().encode(), *encoded]


MARKS = [mark for secret in (KEY, SECRET) for mark in spellings(secret)]


def leaks(content: str | bytes) -> list[bytes]:
    """Return the spellings of both secrets that a content has."""
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    return [mark for mark in MARKS if mark in raw]


class Recorder:
    """Everything that the broker sent, logged and raised."""

    def __init__(self) -> None:
        self.responses: list[bytes] = []
        self.codes: set[str] = set()
        self.log = io.StringIO()
        self.raised: list[str] = []

    def keep_response(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Keep a response; requests calls this for each response of a session."""
        head = f"{response.status_code} {response.reason} {response.headers}"
        self.responses.append(head.encode() + response.content)
        if "problem+json" in response.headers.get("Content-Type", ""):
            self.codes.add(response.json()["code"])

    def keep_exception(self, call: Any, *arguments: Any) -> None:
        """Keep the exception that a call raises, with all its causes and their texts."""
        try:
            call(*arguments)
        except errors.BrokerError as error:
            self.raised += traceback.format_exception(error)
            self.raised += [repr(error), repr(error.args), repr(vars(error))]


class RecordedApi(Api):
    """A caller with a token of the marked secret, whose responses are all kept."""

    def __init__(self, broker: RunningBroker, recorder: Recorder) -> None:
        super().__init__(broker)
        claims = {"sub": "somebody", "exp": 4_000_000_000}
        self.token = jwt.encode(claims, SECRET, algorithm="HS256")
        self._session.hooks["response"].append(recorder.keep_response)


@pytest.fixture(scope="module")
def marked_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUpstream]:
    """An upstream that accepts the marked key."""
    upstream = RunningUpstream(tmp_path_factory.mktemp("marked"), SYNC_API_KEY=KEY)
    yield upstream
    assert upstream.stop() == 0


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A recorder of all loggers, at their lowest level."""
    recorder = Recorder()
    handler = logging.StreamHandler(recorder.log)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s"))
    names = ("botocore", "urllib3", "chalice", "sync-upload-broker", "boto3", "jwt")
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in names)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    for logger in (logging.getLogger(), logging.getLogger("sync-upload-broker")):
        logger.addHandler(handler)
    yield recorder
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
        logger.removeHandler(handler)


def _call_routes(api: RecordedApi) -> None:
    """Call every route as intended."""
    upload = api.registered()
    api.complete(upload)
    assert api.call("GET", f"/assets/{upload['asset']['id']}").status_code == 200
    pending = api.begin()
    for method, path in (
        ("POST", f"/uploads/{pending['id']}/renew"),
        ("GET", f"/uploads/{pending['id']}"),
        ("DELETE", f"/uploads/{pending['id']}"),
        ("POST", f"/uploads/{pending['id']}/complete"),
        ("POST", f"/uploads/{upload['id']}/renew"),
        ("GET", "/uploads?limit=1"),
        ("GET", "/assets?limit=1"),
        ("GET", "/limits"),
        ("GET", "/health"),
        ("GET", "/openapi.json"),
        ("PUT", "/uploads"),
        ("OPTIONS", "/uploads"),
    ):
        assert api.call(method, path).status_code < 500


def _send_invalid(api: RecordedApi) -> None:
    """Send invalid requests, some with the secrets in them."""
    bodies: list[Any] = [{}, {**GOOD, "size": 2**60}, {**GOOD, "size": 0}]
    bodies.append({**GOOD, "fileName": "a.txt", "contentType": "text/plain"})
    for body in bodies:
        api.call("POST", "/uploads", json=body)
    api.call("POST", "/uploads", data="{", headers={"Content-Type": "application/json"})
    api.call("POST", "/uploads", data=" " * 70_000)
    api.call("POST", "/uploads", data="{}", headers={"Content-Type": "text/plain"})
    api.call("POST", "/assets", json={"url": "https://127.0.0.1/", "type": "VIDEO"})
    api.call("POST", "/assets", json={"url": "https://nowhere.invalid/a.mp4", "type": "VIDEO"})
    api.call("GET", f"/uploads/{'0' * 32}")
    api.call("GET", "/uploads?cursor=x")
    for key, size in (("one", 5), ("one", 6), ("é", 5)):
        headers = {"Idempotency-Key": key.encode()}
        api.call("POST", "/uploads", json={**GOOD, "size": size}, headers=headers)
    api.complete(api.begin())
    stale = api.landed(projectId="stale")
    api.complete(stale)
    for authorization in (None, "Bearer x", f"Bearer {api.token[:-4]}AAAA", "Basic eDp5"):
        api.call("GET", "/limits", headers={"Authorization": authorization})


def _call_ended_and_running(
    api: RecordedApi, upstream: RunningUpstream, recorder: Recorder
) -> None:
    """Call an expired upload, running requests, and a Sync that refuses with an unknown status."""
    broker: Any = api.broker.parts()
    caller = broker.authenticator.caller(f"Bearer {api.token}")
    upload_id = api.begin()["id"]
    clients.dynamodb().update_item(
        TableName=api.broker.table,
        Key={"pk": {"S": f"upload#{upload_id}"}},
        UpdateExpression="SET #status = :expired",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":expired": {"S": "expired"}},
    )
    assert api.call("POST", f"/uploads/{upload_id}/complete").json()["code"] == "upload_expired"
    # The state that a running `complete` and a running request with a key leave.
    tried = api.begin()["id"]
    plan = broker.registration.plan()
    broker.repository.lease_to_post(tried, caller.id, plan, api.broker.clock.now())
    assert api.call("DELETE", f"/uploads/{tried}").json()["code"] == "upload_busy"
    headers = {"idempotency-key": f"still-running-{upload_id}"}
    key = bodies.request_key(headers, "POST /uploads", GOOD)
    broker.idempotency.begin(caller.id, key, "0" * 32)
    running = api.call("POST", "/uploads", json=GOOD, headers=headers)
    assert running.json()["code"] == "request_in_progress"
    # Each route reports this one by another code, so it is in the log and in exceptions alone.
    echo = {"message": f"{KEY} may not", "errorCode": KEY, "error": KEY}
    upstream.order({"kind": "answer", "status": 418, "body": echo}, "DELETE", "/v2/*", times=None)
    recorder.keep_exception(broker.sync.delete, "an-asset")
    assert any("UpstreamRefused" in text for text in recorder.raised)
    upstream.call("DELETE", "/_sandbox/faults")
    recorder.codes.add(sync_errors.UpstreamRefused.code)


def _leave_outcomes_unknown(api: RecordedApi, upstream: RunningUpstream) -> None:
    """Register public URLs whose outcomes stay unknown."""
    echo = {"kind": "answer", "status": 504, "body": {"message": KEY}}
    upstream.order(echo, "POST", "/v2/assets", times=None)
    body = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    first, *_, last = [api.call("POST", "/assets", json=body) for _ in range(6)]
    assert last.json()["code"] == "too_many_unknown_urls"
    for status in (202, 422):
        api.broker.clock.advance(200)
        response = api.call("POST", f"/uploads/{first.json()['id']}/complete")
        assert response.status_code == status
    assert response.json()["code"] == "url_timeout"
    upstream.call("DELETE", "/_sandbox/faults")


def _meet_faults(api: RecordedApi, upstream: RunningUpstream, recorder: Recorder) -> None:
    """Meet every known fault of Sync, also responses that repeat the key."""
    caller = api.broker.parts().authenticator.caller(f"Bearer {api.token}")
    echo = json.dumps({"message": f"the key {KEY} is wrong", "errorCode": f"x {KEY}"})
    statuses = (400, 401, 402, 403, 404, 408, 418, 422, 429, 500, 503, 200, 302)
    faults: list[dict[str, Any]] = [
        {"kind": "answer", "status": status, "body": echo, "headers": {"Location": "/" + KEY}}
        for status in statuses
    ]
    faults += [{"kind": "cut"}, {"kind": "cut", "when": "after"}]
    faults += [{"kind": "answer", "status": 200, "body": f'{{"id": "{KEY}'}]
    faults += [{"kind": "answer", "status": 200, "body": {"url": KEY, "uploadUrl": KEY}}]
    faults += [{"kind": "delay", "seconds": 2}]
    for fault in faults:
        # After the faults before, Sync counts as down.
        api.broker.clock.advance(PAUSE_SECONDS)
        # Each presign with a 429 of Sync slows the limiter down.
        clients.dynamodb().delete_item(TableName=api.broker.table, Key=PRESIGNS)
        api.broker.parts().presigns.item.read()
        upload = api.landed()
        upstream.call("DELETE", "/_sandbox/faults")
        upstream.order(fault, path="/v2/*", times=None)
        if fault["kind"] == "delay":
            api.broker.configure_again(timeouts=SHORT)
        api.call("POST", "/uploads", json=GOOD)
        api.complete(upload)
        service = api.broker.parts().uploads
        recorder.keep_exception(service.complete, caller, upload["id"])
        upstream.call("DELETE", "/_sandbox/faults")


def _call_as_other_site(
    broker: RunningBroker, upstream: RunningUpstream, recorder: Recorder
) -> None:
    """Call as another site's page, where no token is needed."""
    _configure(broker, upstream, AUTH_MODE="open", JWT_SECRET="")
    for headers in ({"Origin": f"http://{KEY}.example"}, {"Host": SECRET}):
        RecordedApi(broker, recorder).call("GET", "/limits", headers=headers)


def _lose_table(broker: RunningBroker, upstream: RunningUpstream, recorder: Recorder) -> None:
    """Call with a missing table, an unreachable table, and without settings."""
    with pytest.MonkeyPatch.context() as patch:
        _configure(broker, upstream, UPLOADS_TABLE="missing")
        RecordedApi(broker, recorder).call("GET", "/uploads")
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        _configure(broker, upstream)
        RecordedApi(broker, recorder).call("GET", "/uploads")
        for name in ("AUTH_MODE", "SYNC_API_KEY", "JWT_SECRET", "UPLOADS_TABLE"):
            patch.delenv(name, raising=False)
        patch.setenv("SYNC_API_KEY", KEY)
        patch.setenv("JWT_SECRET", SECRET)
        bootstrap.use(None)
        RecordedApi(broker, recorder).call("GET", "/uploads")


def _configure(broker: RunningBroker, upstream: RunningUpstream, **more: str) -> None:
    marked = {"SYNC_API_KEY": KEY, "JWT_SECRET": SECRET, "LOG_LEVEL": LEVEL, **more}
    broker.configure(upstream, **marked, ALLOWED_PROJECT_IDS="stale")
    logging.getLogger("broker").setLevel(LEVEL)


def _break_record(api: RecordedApi) -> None:
    """Break a record, so that the broker meets a defect."""
    upload = api.begin()
    clients.dynamodb().update_item(
        TableName=api.broker.table,
        Key={"pk": {"S": f"upload#{upload['id']}"}},
        UpdateExpression="SET createdAt = :broken",
        ExpressionAttributeValues={":broken": {"S": "broken"}},
    )
    api.call("GET", f"/uploads/{upload['id']}")


def _items(table: str) -> list[str]:
    pages = clients.dynamodb().get_paginator("scan").paginate(TableName=table)
    return [json.dumps(item, default=str) for page in pages for item in page["Items"]]


def test_search_finds_planted_secret() -> None:
    """The search finds a planted secret, in each spelling."""
    for secret in (KEY, SECRET):
        for planted in (secret, base64.b64encode(b"xy" + secret.encode()).decode()):
            assert leaks(f"before {planted} after")
        assert leaks(f"cut {secret[:20]}")
        assert leaks(secret.encode().hex())
    assert not leaks("sk- Marked nothing")


def test_no_output_has_a_secret(
    broker: RunningBroker,
    marked_upstream: RunningUpstream,
    recorder: Recorder,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No response, header, log line, exception or record has a secret, whatever fails."""
    marked_upstream.call("POST", "/_sandbox/reset")
    marked_upstream.behave(presignsPerMinute=1_000_000)
    _configure(broker, marked_upstream)
    api = RecordedApi(broker, recorder)
    _call_routes(api)
    _send_invalid(api)
    _break_record(api)
    _call_ended_and_running(api, marked_upstream, recorder)
    _leave_outcomes_unknown(api, marked_upstream)
    _meet_faults(api, marked_upstream, recorder)
    _configure(broker, marked_upstream, MAX_OPEN_UPLOADS="1")
    for _ in range(2):
        api.call("POST", "/uploads", json=GOOD)
    _configure(broker, marked_upstream, PRESIGNS_PER_MINUTE="1")
    for _ in range(6):
        api.call("POST", "/uploads", json=GOOD)
    written = broker.log.getvalue()
    _configure(broker, marked_upstream, SYNC_BASE_URL=f"http://127.0.0.1:{free_port()}")
    for _ in range(2):
        api.call("POST", "/uploads", json=GOOD)
    _call_as_other_site(broker, marked_upstream, recorder)
    _lose_table(broker, marked_upstream, recorder)

    codes = {kind.code for kind in errors.all_kinds()}
    assert codes - recorder.codes <= ELSEWHERE
    records = _items(broker.table)
    lines = recorder.log.getvalue().splitlines() + written.splitlines()
    printed = "".join(capfd.readouterr())
    assert len(recorder.responses) > 90
    assert len(lines) > 1000
    assert len(records) > 20
    assert len(recorder.raised) > 20
    assert any("botocore" in line for line in lines)
    assert any("urllib3" in line for line in lines)
    for content in (*recorder.responses, *lines, *records, *recorder.raised, printed):
        assert not leaks(content), content[:300]
    # Planted in any of these, a secret is found.
    assert leaks(recorder.responses[0] + KEY.encode())
    assert leaks(lines[0] + SECRET)


@pytest.mark.usefixtures("ssm")
def test_ssm_secrets_do_not_leak(
    broker: RunningBroker,
    marked_upstream: RunningUpstream,
    recorder: Recorder,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Secrets in SSM do not leak, even if boto3 logs every response."""
    names = {"SYNC_API_KEY_PARAMETER": "/marked/key", "JWT_SECRET_PARAMETER": "/marked/secret"}
    logger = logging.getLogger("botocore")
    logger.setLevel(logging.WARNING)
    for name, value in zip(names.values(), (KEY, SECRET), strict=True):
        clients.ssm().put_parameter(Name=name, Value=value, Type="SecureString")
    logger.setLevel(logging.DEBUG)
    try:
        marked_upstream.call("POST", "/_sandbox/reset")
        clients.ssm.cache_clear()
        plain = {"SYNC_API_KEY": "", "JWT_SECRET": "", "LOG_LEVEL": "DEBUG"}
        broker.configure(marked_upstream, **plain, **names)
        api = RecordedApi(broker, recorder)
        api.registered()
        marked_upstream.order({"kind": "answer", "status": 401, "body": {"message": KEY}})
        api.call("POST", "/uploads", json=GOOD)
        api.call("GET", "/limits", headers={"Authorization": f"Bearer {api.token[:-4]}AAAA"})
        marked_upstream.call("DELETE", "/_sandbox/faults")
        for name in names.values():
            clients.ssm().delete_parameter(Name=name)
        broker.configure(marked_upstream, **plain, **names)
        assert api.call("GET", "/limits").json()["code"] == "secrets_unavailable"
    finally:
        clients.ssm.cache_clear()
    lines = recorder.log.getvalue().splitlines() + broker.log.getvalue().splitlines()
    assert any("GetParameter" in line for line in lines)
    for content in (
        *recorder.responses,
        *lines,
        *_items(broker.table),
        "".join(capfd.readouterr()),
    ):
        assert not leaks(content), content[:300]


def test_settings_mask_secrets() -> None:
    """Neither the messages of the settings nor any object's `repr` have a secret."""
    good = {
        "UPLOADS_TABLE": "uploads",
        "AUTH_MODE": "jwt",
        "JWT_SECRET": SECRET,
        "SYNC_API_KEY": KEY,
    }
    assert not leaks(repr(settings.load(good)))
    assert not leaks(repr(bootstrap.build(good)))
    for name in (*good, "SYNC_BASE_URL", "ALLOWED_ORIGINS", "MAX_UPLOAD_BYTES", "LOG_LEVEL"):
        for secret in (KEY, SECRET, f"{KEY}\n", f"https://{KEY}@x/?{SECRET}", f"{KEY}é"):
            wrong = {**good, name: secret, "AUTH_MODE": "none"}
            with pytest.raises(errors.Misconfigured) as raised:
                settings.load(wrong)
            assert not leaks(str(raised.value) + raised.value.detail)


def test_demo_page_has_no_secret(tmp_path: Path) -> None:
    """No file of the demo page and of the client, and no response of the page, has a secret."""
    files = [path for folder in ("sandbox/demo/page", "client") for path in _files(ROOT / folder)]
    assert len(files) > 10
    port = free_port()
    environ = {
        **os.environ,
        "DEMO_PORT": str(port),
        "BROKER_PORT": "1",
        "SANDBOX_DIR": str(tmp_path),
        "SYNC_API_KEY": KEY,
        "JWT_SECRET": SECRET,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.demo"], cwd=ROOT, env=environ, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        served = []
        pages = [f"/page/{path.relative_to(ROOT / 'sandbox/demo/page')}" for path in files[:1]]
        for path in ("/", "/config.json", "/token?sub=alice", "/nothing", *pages):
            response = requests.get(f"http://127.0.0.1:{port}{path}", timeout=9)
            served.append(str(response.headers).encode() + response.content)
    finally:
        process.terminate()
        output = process.communicate(timeout=10)[0]
    for content in (*served, *(path.read_bytes() for path in files), output):
        assert not leaks(content)


def _files(folder: Path) -> list[Path]:
    return [
        path for path in folder.rglob("*") if path.is_file() and "node_modules" not in str(path)
    ]
