"""`/v2/generate` and `/v2/voices`, which take what was registered."""

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


def order(video: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Give a generation's body for a video."""
    return {"model": "lipsync-2", "input": [{"type": "video", **video}, AUDIO_URL], **more}


def generate(upstream: RunningUpstream, body: object, **headers: str) -> requests.Response:
    """Order a generation."""
    return upstream.call("POST", "/v2/generate", json=body, headers=headers)


def test_completes(upstream: RunningUpstream) -> None:
    """A generation of an asset goes from pending over processing to an output to fetch."""
    upstream.behave(generationSeconds=0.8)
    data = (ROOT / "sandbox/samples/sample.mp4").read_bytes()
    asset = upstream.asset(data)
    created = generate(upstream, order({"assetId": asset["id"]}, outputFileName="final"))
    assert created.status_code == 201
    assert created.json()["status"] == "PENDING"
    path = f"/v2/generate/{created.json()['id']}"
    progress = upstream.call("GET", f"{path}?include=progress").json()["progress_percent"]
    assert 0 <= progress < 100
    answer = upstream.call("GET", f"{path}?wait=true&timeout=5")
    assert answer.headers["Retry-After"] == "2"
    generation = answer.json()
    assert (generation["status"], generation["outputDuration"]) == ("COMPLETED", 2.0)
    assert requests.get(generation["outputUrl"], timeout=5).content == data
    unsigned = generation["outputUrl"].partition("?")[0]
    assert requests.get(unsigned, timeout=5).status_code == 403


def test_video_by_url(upstream: RunningUpstream) -> None:
    """A generation of public URLs has an output too."""
    upstream.behave(generationSeconds=0)
    created = generate(upstream, order({"url": "https://example.com/v.mp4"})).json()
    output = requests.get(created["outputUrl"], timeout=5)
    assert output.headers["Content-Type"] == "video/mp4"


@pytest.mark.parametrize("outcome", ["FAILED", "REJECTED"])
def test_failure(upstream: RunningUpstream, outcome: str) -> None:
    """A generation can be made to fail, and says why."""
    upstream.behave(generationSeconds=0, generationOutcome=outcome)
    created = generate(upstream, order({"assetId": upstream.asset()["id"]})).json()
    assert (created["status"], created["outputUrl"]) == (outcome, None)
    assert created["error"]
    assert created["error_code"]


def test_wrong_assets(upstream: RunningUpstream) -> None:
    """An asset that does not exist, or is of another type, is refused with its code."""
    missing = generate(upstream, order({"assetId": "550e8400-e29b-41d4-a716-446655440000"}))
    assert (missing.status_code, missing.json()["errorCode"]) == (422, "asset_not_found")
    audio = upstream.asset(type="AUDIO")
    wrong = generate(upstream, order({"assetId": audio["id"]}))
    assert wrong.json()["errorCode"] == "generation_input_asset_type_mismatch"
    upstream.behave(generationAssetStatus=400)
    assert generate(upstream, order({"assetId": audio["id"]})).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "lipsync-9", "input": []},
        {"model": "lipsync-2", "input": [AUDIO_URL]},
        {"model": "lipsync-2", "input": [{"type": "video", "url": "https://example.com/v"}]},
        order({}),
        order({"url": "https://example.com/v", "assetId": "x"}),
        order({"url": "ftp://example.com/v"}),
        order({"url": "https://example.com/v"}, options={"sync_mode": "shake"}),
        order({"url": "https://example.com/v"}, outputFileName="../x"),
        order({"url": "https://example.com/v"}, webhookUrl="javascript:1"),
    ],
)
def test_bad_generation(upstream: RunningUpstream, body: object) -> None:
    """A body that the documentation rules out is a 400."""
    assert generate(upstream, body).status_code == 400


def test_idempotency_key(upstream: RunningUpstream) -> None:
    """One key makes one generation; another body under it, or a malformed key, is refused."""
    body = order({"assetId": upstream.asset()["id"]})
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
    """A real receiver of webhooks: its URL, and what it got."""
    received: Queue[tuple[str, bytes]] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put((self.headers["Sync-Signature"], body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", received
        server.shutdown()
        thread.join()


def test_webhook(
    start: Callable[..., RunningUpstream], receiver: tuple[str, "Queue[tuple[str, bytes]]"]
) -> None:
    """A webhook is signed as documented, and is sent once even over a restart."""
    url, received = receiver
    port = free_port()
    first = start(port=port)
    first.behave(generationSeconds=1.5)
    created = generate(first, order({"assetId": first.asset()["id"]}, webhookUrl=url)).json()
    first.kill()
    start(port=port)
    header, body = received.get(timeout=10)
    moment, proof = (part.partition("=")[2] for part in header.split(","))
    expected = hmac.new(b"whsec_sandbox", f"{moment}.".encode() + body, hashlib.sha256)
    assert hmac.compare_digest(proof, expected.hexdigest())
    payload = json.loads(body)
    assert (payload["id"], payload["status"]) == (created["id"], "COMPLETED")
    assert payload["outputUrl"]


def test_voices(upstream: RunningUpstream) -> None:
    """A voice is made of a registered sample, once for each name."""
    audio = upstream.asset(type="AUDIO")
    voice = {"name": "Ada", "provider": "elevenlabs", "assetId": audio["id"]}
    made = upstream.call("POST", "/v2/voices", json=voice)
    assert made.status_code == 201
    assert upstream.call("GET", "/v2/voices").json() == [made.json()]
    again = upstream.call("POST", "/v2/voices", json=voice)
    assert (again.status_code, again.json()["errorCode"]) == (409, "voice_name_conflict")
    by_url = {"name": "Bob", "provider": "elevenlabs", "url": audio["url"]}
    assert upstream.call("POST", "/v2/voices", json=by_url).status_code == 201


def test_foreign_voice_sample(upstream: RunningUpstream) -> None:
    """A sample must lie in this storage, and be given one way alone."""
    voice = {"name": "Ada", "provider": "elevenlabs", "url": "https://example.com/a.wav"}
    refused = upstream.call("POST", "/v2/voices", json=voice)
    assert (refused.status_code, refused.json()["errorCode"]) == (
        422,
        "voice_sample_upload_required",
    )
    assert upstream.call("POST", "/v2/voices", json={**voice, "assetId": "x"}).status_code == 400


def test_voices_an_hour(upstream: RunningUpstream) -> None:
    """The eleventh voice within an hour is refused."""
    answers = [upstream.call("POST", "/v2/voices", json={}).status_code for _ in range(11)]
    assert answers == [400] * 10 + [429]
