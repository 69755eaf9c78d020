"""`/v2/generate` and `/v2/voices`, which use registered assets."""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from typing import Any

import pytest
import requests

from tests.support.upstream_process import ROOT, RunningUpstream, free_port

AUDIO_URL = {"type": "audio", "url": "https://example.com/a.wav"}


def generation_body(video: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the body of a generation for a video."""
    return {"model": "lipsync-2", "input": [{"type": "video", **video}, AUDIO_URL], **more}


def generate(upstream: RunningUpstream, body: object, **headers: str) -> requests.Response:
    """Start a generation, and return the response."""
    return upstream.call("POST", "/v2/generate", json=body, headers=headers)


def test_generation_completes(upstream: RunningUpstream) -> None:
    """A generation of an asset is pending, then processing, then completed with an output."""
    upstream.behave(generationSeconds=0.8)
    data = (ROOT / "sandbox/samples/sample.mp4").read_bytes()
    asset = upstream.asset(data)
    created = generate(upstream, generation_body({"assetId": asset["id"]}, outputFileName="final"))
    assert created.status_code == 201
    assert created.json()["status"] == "PENDING"
    path = f"/v2/generate/{created.json()['id']}"
    progress = upstream.call("GET", f"{path}?include=progress").json()["progress_percent"]
    assert 0 <= progress < 100
    response = upstream.call("GET", f"{path}?wait=true&timeout=5")
    assert response.headers["Retry-After"] == "2"
    generation = response.json()
    assert (generation["status"], generation["outputDuration"]) == ("COMPLETED", 2.0)
    assert requests.get(generation["outputUrl"], timeout=5).content == data
    unsigned = generation["outputUrl"].partition("?")[0]
    assert requests.get(unsigned, timeout=5).status_code == 403


def test_generation_by_url_has_output(upstream: RunningUpstream) -> None:
    """A generation of public URLs has an output too."""
    upstream.behave(generationSeconds=0)
    created = generate(upstream, generation_body({"url": "https://example.com/v.mp4"})).json()
    output = requests.get(created["outputUrl"], timeout=5)
    assert output.headers["Content-Type"] == "video/mp4"


@pytest.mark.parametrize("outcome", ["FAILED", "REJECTED"])
def test_generation_can_fail(upstream: RunningUpstream, outcome: str) -> None:
    """A generation can fail, and has an error then."""
    upstream.behave(generationSeconds=0, generationOutcome=outcome)
    created = generate(upstream, generation_body({"assetId": upstream.asset()["id"]})).json()
    assert (created["status"], created["outputUrl"]) == (outcome, None)
    assert created["error"]
    assert created["error_code"]


def test_generation_refuses_wrong_assets(upstream: RunningUpstream) -> None:
    """A missing asset or one of the wrong type is refused with its code."""
    missing = generate(
        upstream, generation_body({"assetId": "550e8400-e29b-41d4-a716-446655440000"})
    )
    assert (missing.status_code, missing.json()["errorCode"]) == (422, "asset_not_found")
    audio = upstream.asset(type="AUDIO")
    wrong = generate(upstream, generation_body({"assetId": audio["id"]}))
    assert wrong.json()["errorCode"] == "generation_input_asset_type_mismatch"
    upstream.behave(generationAssetStatus=400)
    assert generate(upstream, generation_body({"assetId": audio["id"]})).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "lipsync-9", "input": []},
        {"model": "lipsync-2", "input": [AUDIO_URL]},
        {"model": "lipsync-2", "input": [{"type": "video", "url": "https://example.com/v"}]},
        generation_body({}),
        generation_body({"url": "https://example.com/v", "assetId": "x"}),
        generation_body({"url": "ftp://example.com/v"}),
        generation_body({"url": "https://example.com/v"}, options={"sync_mode": "shake"}),
        generation_body({"url": "https://example.com/v"}, outputFileName="../x"),
        generation_body({"url": "https://example.com/v"}, webhookUrl="javascript:1"),
    ],
)
def test_bad_generation_is_refused(upstream: RunningUpstream, body: object) -> None:
    """An invalid body is a 400."""
    assert generate(upstream, body).status_code == 400


def test_idempotency_key_makes_one_generation(upstream: RunningUpstream) -> None:
    """One key makes one generation; another body for the key, or a malformed key, is refused."""
    body = generation_body({"assetId": upstream.asset()["id"]})
    key = {"Idempotency-Key": "a.b_c~d-1"}
    first, second = (generate(upstream, body, **key).json()["id"] for _ in range(2))
    assert first == second
    assert generate(upstream, {**body, "model": "sync-3"}, **key).status_code == 422
    for bad in ("a b", "x" * 129, ""):
        refused = generate(upstream, body, **{"Idempotency-Key": bad})
        assert (refused.status_code, refused.json()["errorCode"]) == (
            400,
            "INVALID_IDEMPOTENCY_KEY",
        )


@pytest.fixture
def receiver() -> Iterator[tuple[str, "Queue[tuple[str, bytes]]"]]:
    """The URL of a real receiver of webhooks, and what it received."""
    received: Queue[tuple[str, bytes]] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put((self.headers["Sync-Signature"], body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", received
        server.shutdown()
        thread.join()


def test_webhook_is_signed_and_sent_once(
    start: Callable[..., RunningUpstream], receiver: tuple[str, "Queue[tuple[str, bytes]]"]
) -> None:
    """A webhook is signed as documented, and is sent once even if the upstream restarts."""
    url, received = receiver
    port = free_port()
    first = start(port=port)
    first.behave(generationSeconds=1.5)
    created = generate(
        first, generation_body({"assetId": first.asset()["id"]}, webhookUrl=url)
    ).json()
    first.kill()
    start(port=port)
    header, body = received.get(timeout=10)
    moment, proof = (part.partition("=")[2] for part in header.split(","))
    expected = hmac.new(b"whsec_sandbox", f"{moment}.".encode() + body, hashlib.sha256)
    assert hmac.compare_digest(proof, expected.hexdigest())
    payload = json.loads(body)
    assert (payload["id"], payload["status"]) == (created["id"], "COMPLETED")
    assert payload["outputUrl"]


def test_voice_is_created_once_per_name(upstream: RunningUpstream) -> None:
    """A voice is created from an uploaded sample, once for each name."""
    audio = upstream.asset(type="AUDIO")
    voice = {"name": "Ada", "provider": "elevenlabs", "assetId": audio["id"]}
    made = upstream.call("POST", "/v2/voices", json=voice)
    assert made.status_code == 201
    assert upstream.call("GET", "/v2/voices").json() == [made.json()]
    again = upstream.call("POST", "/v2/voices", json=voice)
    assert (again.status_code, again.json()["errorCode"]) == (409, "voice_name_conflict")
    by_url = {"name": "Bob", "provider": "elevenlabs", "url": audio["url"]}
    assert upstream.call("POST", "/v2/voices", json=by_url).status_code == 201


def test_foreign_voice_sample_is_refused(upstream: RunningUpstream) -> None:
    """A sample must be in this storage, and given either by URL or by asset."""
    voice = {"name": "Ada", "provider": "elevenlabs", "url": "https://example.com/a.wav"}
    refused = upstream.call("POST", "/v2/voices", json=voice)
    assert (refused.status_code, refused.json()["errorCode"]) == (
        422,
        "voice_sample_upload_required",
    )
    assert upstream.call("POST", "/v2/voices", json={**voice, "assetId": "x"}).status_code == 400


def test_voices_are_limited_per_hour(upstream: RunningUpstream) -> None:
    """The eleventh voice within an hour is refused."""
    responses = [upstream.call("POST", "/v2/voices", json={}).status_code for _ in range(11)]
    assert responses == [400] * 10 + [429]
