"""Nothing that the broker says, writes or keeps holds the API key or the tokens' secret."""

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
from chalicelib.web import bodies
from tests.support.running_broker import LINE, Api, RunningBroker
from tests.support.upstream_process import ROOT, RunningUpstream, free_port

KEY = "sk-MarkedKeyOfTheTests0123456789abcdefghijklmnop"
SECRET = "MarkedSecretOfTheTests0123456789abcdefghijklmnopq"
LEVEL = "DEBUG"  # every other level logs a part of its lines
GOOD = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
# What is provoked elsewhere: below, where the secrets lie in SSM.
ELSEWHERE = {"secrets_unavailable"}


def spellings(secret: str) -> list[bytes]:
    """List how a secret could be written: as it is, and as encoders write it."""
    raw = secret.encode()
    encoded = [base64.b64encode(raw[start:])[4:-8] for start in range(3)]
    return [raw, raw[:16], raw[-16:], raw[::-1], raw.hex().encode(), *encoded]


MARKS = [mark for secret in (KEY, SECRET) for mark in spellings(secret)]


def leaks(content: str | bytes) -> list[bytes]:
    """Search for both secrets in every spelling."""
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    return [mark for mark in MARKS if mark in raw]


class Watch:
    """Everything that came out: answers, log lines, exceptions."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.codes: set[str] = set()
        self.log = io.StringIO()
        self.raised: list[str] = []

    def see(self, answer: requests.Response, *_: Any, **__: Any) -> None:
        """Keep an answer; requests calls this for each of a session."""
        head = f"{answer.status_code} {answer.reason} {answer.headers}"
        self.answers.append(head.encode() + answer.content)
        if "problem+json" in answer.headers.get("Content-Type", ""):
            self.codes.add(answer.json()["code"])

    def catch(self, call: Any, *arguments: Any) -> None:
        """Keep what a call raises, with all its causes and their own texts."""
        try:
            call(*arguments)
        except errors.BrokerError as error:
            self.raised += traceback.format_exception(error)
            self.raised += [repr(error), repr(error.args), repr(vars(error))]


class Watched(Api):
    """A caller with a token of the marked secret, whose answers are all kept."""

    def __init__(self, broker: RunningBroker, watch: Watch) -> None:
        super().__init__(broker)
        claims = {"sub": "somebody", "exp": 4_000_000_000}
        self.token = jwt.encode(claims, SECRET, algorithm="HS256")
        self._session.hooks["response"].append(watch.see)


@pytest.fixture(scope="module")
def marked_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUpstream]:
    """An upstream that accepts the marked key."""
    upstream = RunningUpstream(tmp_path_factory.mktemp("marked"), SYNC_API_KEY=KEY)
    yield upstream
    assert upstream.stop() == 0


@pytest.fixture
def watch() -> Iterator[Watch]:
    """A watch on every logger there is, at its lowest level."""
    watch = Watch()
    handler = logging.StreamHandler(watch.log)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)s"))
    names = ("botocore", "urllib3", "chalice", "sync-upload-broker", "boto3", "jwt")
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in names)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    for logger in (logging.getLogger(), logging.getLogger("sync-upload-broker")):
        logger.addHandler(handler)
    yield watch
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
        logger.removeHandler(handler)


def _go_through(api: Watched) -> None:
    """Ask every route for what it is there for."""
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


def _go_wrong(api: Watched) -> None:
    """Send what is refused, the secrets themselves among it."""
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


def _go_late(api: Watched, upstream: RunningUpstream, watch: Watch) -> None:
    """Meet what is over, what still runs, and what sync. refuses without a word of its own."""
    broker: Any = api.broker.wired()
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
    # As a complete, and a first request with a key, leave it while they run.
    tried = api.begin()["id"]
    plan = broker.registration.plan()
    broker.repository.lease_to_post(tried, caller.id, plan, api.broker.clock.now())
    assert api.call("DELETE", f"/uploads/{tried}").json()["code"] == "upload_busy"
    headers = {"idempotency-key": f"still-running-{upload_id}"}
    key = bodies.request_key(headers, "POST /uploads", GOOD)
    broker.idempotency.begin(caller.id, key, "0" * 32)
    running = api.call("POST", "/uploads", json=GOOD, headers=headers)
    assert running.json()["code"] == "request_in_progress"
    # Each route has a better word for this one, so it is in the log and in exceptions alone.
    echo = {"message": f"{KEY} may not", "errorCode": KEY, "error": KEY}
    upstream.order({"kind": "answer", "status": 418, "body": echo}, "DELETE", "/v2/*", times=None)
    watch.catch(broker.sync.delete, "an-asset")
    assert any("UpstreamRefused" in text for text in watch.raised)
    upstream.call("DELETE", "/_sandbox/faults")
    watch.codes.add(sync_errors.UpstreamRefused.code)


def _go_unknown(api: Watched, upstream: RunningUpstream) -> None:
    """Meet public URLs of which nobody knows what became."""
    echo = {"kind": "answer", "status": 504, "body": {"message": KEY}}
    upstream.order(echo, "POST", "/v2/assets", times=None)
    body = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    first, *_, last = [api.call("POST", "/assets", json=body) for _ in range(6)]
    assert last.json()["code"] == "too_many_unknown_urls"
    for status in (202, 422):
        api.broker.clock.advance(200)
        answer = api.call("POST", f"/uploads/{first.json()['id']}/complete")
        assert answer.status_code == status
    assert answer.json()["code"] == "url_timeout"
    upstream.call("DELETE", "/_sandbox/faults")


def _go_down(api: Watched, upstream: RunningUpstream, watch: Watch) -> None:
    """Meet every fault of sync. that is known, and such as say the key back."""
    lifecycle = api.broker.wired().uploads
    caller = api.broker.wired().authenticator.caller(f"Bearer {api.token}")
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
        # Each presign that sync. answers with 429 slows the line down.
        clients.dynamodb().delete_item(TableName=api.broker.table, Key=LINE)
        upload = api.landed()
        upstream.call("DELETE", "/_sandbox/faults")
        upstream.order(fault, path="/v2/*", times=None)
        api.call("POST", "/uploads", json=GOOD)
        api.complete(upload)
        watch.catch(lifecycle.complete, caller, upload["id"])
        upstream.call("DELETE", "/_sandbox/faults")


def _come_from_elsewhere(broker: RunningBroker, upstream: RunningUpstream, watch: Watch) -> None:
    """Be another site's page, where no token is asked for."""
    _configure(broker, upstream, AUTH_MODE="open", JWT_SECRET="")
    for headers in ({"Origin": f"http://{KEY}.example"}, {"Host": SECRET}):
        Watched(broker, watch).call("GET", "/limits", headers=headers)


def _lose_the_store(broker: RunningBroker, upstream: RunningUpstream, watch: Watch) -> None:
    """Meet a table that is not there, one that does not answer, and no settings at all."""
    with pytest.MonkeyPatch.context() as patch:
        _configure(broker, upstream, UPLOADS_TABLE="missing")
        Watched(broker, watch).call("GET", "/uploads")
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        _configure(broker, upstream)
        Watched(broker, watch).call("GET", "/uploads")
        for name in ("AUTH_MODE", "SYNC_API_KEY", "JWT_SECRET", "UPLOADS_TABLE"):
            patch.delenv(name, raising=False)
        patch.setenv("SYNC_API_KEY", KEY)
        patch.setenv("JWT_SECRET", SECRET)
        bootstrap.use(None)
        Watched(broker, watch).call("GET", "/uploads")


def _configure(broker: RunningBroker, upstream: RunningUpstream, **more: str) -> None:
    marked = {"SYNC_API_KEY": KEY, "JWT_SECRET": SECRET, "LOG_LEVEL": LEVEL, **more}
    broker.configure(upstream, **marked, ALLOWED_PROJECT_IDS="stale")
    logging.getLogger("broker").setLevel(LEVEL)


def _spoil(api: Watched) -> None:
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


def test_search_finds() -> None:
    """The search itself finds a secret that was planted, in each spelling."""
    for secret in (KEY, SECRET):
        for planted in (secret, base64.b64encode(b"xy" + secret.encode()).decode()):
            assert leaks(f"before {planted} after")
        assert leaks(f"cut {secret[:20]}")
        assert leaks(secret.encode().hex())
    assert not leaks("sk- Marked nothing")


def test_nothing_leaks(
    broker: RunningBroker,
    marked_upstream: RunningUpstream,
    watch: Watch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No answer, header, log line, exception or record holds a secret, whatever goes wrong."""
    marked_upstream.call("POST", "/_sandbox/reset")
    marked_upstream.behave(presignsPerMinute=1_000_000)
    _configure(broker, marked_upstream)
    api = Watched(broker, watch)
    _go_through(api)
    _go_wrong(api)
    _spoil(api)
    _go_late(api, marked_upstream, watch)
    _go_unknown(api, marked_upstream)
    _go_down(api, marked_upstream, watch)
    _configure(broker, marked_upstream, MAX_OPEN_UPLOADS="1")
    for _ in range(2):
        api.call("POST", "/uploads", json=GOOD)
    for most in ("300", "10"):
        line = {"PRESIGNS_PER_MINUTE": "1", "MAX_WAIT_SECONDS": most}
        _configure(broker, marked_upstream, **line)
        for _ in range(2):
            api.call("POST", "/uploads", json=GOOD)
    written = broker.log.getvalue()
    _configure(broker, marked_upstream, SYNC_BASE_URL=f"http://127.0.0.1:{free_port()}")
    api.call("POST", "/uploads", json=GOOD)
    _come_from_elsewhere(broker, marked_upstream, watch)
    _lose_the_store(broker, marked_upstream, watch)

    codes = {kind.code for kind in errors.all_kinds()}
    assert codes - watch.codes <= ELSEWHERE
    records = _items(broker.table)
    lines = watch.log.getvalue().splitlines() + written.splitlines()
    printed = "".join(capfd.readouterr())
    assert len(watch.answers) > 90
    assert len(lines) > 1000
    assert len(records) > 20
    assert len(watch.raised) > 20
    assert any("botocore" in line for line in lines)
    assert any("urllib3" in line for line in lines)
    for content in (*watch.answers, *lines, *records, *watch.raised, printed):
        assert not leaks(content), content[:300]
    # Planted in any of these, the search finds it.
    assert leaks(watch.answers[0] + KEY.encode())
    assert leaks(lines[0] + SECRET)


@pytest.mark.usefixtures("ssm")
def test_parameters_do_not_leak(
    broker: RunningBroker,
    marked_upstream: RunningUpstream,
    watch: Watch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Secrets that lie in SSM show no more, even where boto3 tells all that it receives."""
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
        api = Watched(broker, watch)
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
    lines = watch.log.getvalue().splitlines() + broker.log.getvalue().splitlines()
    assert any("GetParameter" in line for line in lines)
    for content in (*watch.answers, *lines, *_items(broker.table), "".join(capfd.readouterr())):
        assert not leaks(content), content[:300]


def test_settings_mask() -> None:
    """Neither the settings' words for what is wrong, nor any object's `repr`, tell a secret."""
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


def test_demo_page(tmp_path: Path) -> None:
    """No file of the demo page and of the client, and nothing that the page serves, has one."""
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
            answer = requests.get(f"http://127.0.0.1:{port}{path}", timeout=9)
            served.append(str(answer.headers).encode() + answer.content)
    finally:
        process.terminate()
        rest = process.communicate(timeout=10)[0]
    for content in (*served, *(path.read_bytes() for path in files), rest):
        assert not leaks(content)


def _files(folder: Path) -> list[Path]:
    return [
        path for path in folder.rglob("*") if path.is_file() and "node_modules" not in str(path)
    ]
