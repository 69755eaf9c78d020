"""The switches themselves, the rate limit, and the process's life."""

import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.upstream_process import ROOT, RunningUpstream, free_port

PRESIGN = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 1}


def presign(upstream: RunningUpstream) -> requests.Response:
    """Presign a file, whatever the answer is."""
    return upstream.call("POST", "/v2/assets/upload", json=PRESIGN)


def test_change_and_restore(upstream: RunningUpstream) -> None:
    """Behaviours can be read, changed and restored."""
    defaults = upstream.call("GET", "/_sandbox/behavior").json()
    assert defaults["expiresIn"] == 3600
    assert defaults["presignsPerMinute"] == 120
    changed = upstream.call("PATCH", "/_sandbox/behavior", json={"expiresIn": 60}).json()
    assert changed == {**defaults, "expiresIn": 60}
    assert upstream.call("DELETE", "/_sandbox/behavior").json() == defaults


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ([], "JSON object"),
        ({"expires": 1}, "known are notUploadedStatus"),
        ({"expiresIn": "1"}, "a whole number from 1 to 604800"),
        ({"expiresIn": True}, "a whole number from 1 to 604800"),
        ({"notUploadedStatus": 418}, "one of 400, 404, 422"),
        ({"rateWindow": 1}, "one of 'sliding', 'fixed'"),
        ({"storageCors": "no"}, "true or false"),
        ({"projects": "p1"}, "a list of non-empty strings"),
        ({"generationSeconds": -1}, "a number of seconds from 0"),
        ({"webhookSecret": ""}, "a non-empty string"),
    ],
)
def test_bad_change(upstream: RunningUpstream, changes: object, hint: str) -> None:
    """A change that cannot be made is a 400 that says what would be right, and changes nothing."""
    before = upstream.call("GET", "/_sandbox/behavior").json()
    both = {"planMaxBytes": 1, **changes} if isinstance(changes, dict) else changes
    answer = upstream.call("PATCH", "/_sandbox/behavior", json=both)
    assert answer.status_code == 400
    assert hint in answer.json()["message"]
    assert upstream.call("GET", "/_sandbox/behavior").json() == before


def test_all_documented(upstream: RunningUpstream) -> None:
    """The documentation names every behaviour with its default, and every path of the API."""
    page = (ROOT / "docs" / "sandbox.md").read_text()
    for name, value in upstream.call("GET", "/_sandbox/behavior").json().items():
        shown = str(value).lower() if isinstance(value, bool) else value
        if isinstance(value, list):
            shown = "[" + ", ".join(f'"{item}"' for item in value) + "]"
        assert f"| `{name}` | `{shown}` |" in page
    about = upstream.call("GET", "/").json()
    for path in [*about["api"], *about["control"]]:
        assert path in page


def test_401_shapes(upstream: RunningUpstream) -> None:
    """Each shape of a 401 can be had for each cause."""
    upstream.behave(unauthorizedShape="plain")
    missing = requests.get(f"{upstream.url}/v2/assets", timeout=5).json()
    assert missing == {"message": "Unauthorized", "statusCode": 401}
    upstream.behave(unauthorizedShape="header")
    wrong = upstream.call("GET", "/v2/assets", headers={"x-api-key": "\u00e9"}).json()
    assert wrong["error"] == "Unauthorized"


def test_message_list(upstream: RunningUpstream) -> None:
    """A message can be a list."""
    upstream.behave(messageShape="list")
    assert isinstance(upstream.call("GET", "/v2/assets/x").json()["message"], list)


@pytest.mark.parametrize("counting", ["sliding", "fixed"])
def test_rate_limit(upstream: RunningUpstream, counting: str) -> None:
    """Of many presigns at once exactly the limit is let through; the rest get the known 429."""
    if counting == "fixed" and time.time() % 60 > 57:
        time.sleep(3.1)
    upstream.behave(presignsPerMinute=20, rateWindow=counting)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: presign(upstream), range(30)))
    assert sorted(answer.status_code for answer in answers) == [201] * 20 + [429] * 10
    refused = presign(upstream)
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.json() == {
        "statusCode": 429,
        "errorCode": "rate_limit_exceeded",
        "message": "Rate limit exceeded. Please try again later.",
        "error": "Too Many Requests",
    }
    upstream.behave(retryAfterOn429=False)
    assert "Retry-After" not in presign(upstream).headers
    assert upstream.outcomes().count("presigned") == 20


def test_documented_rate(upstream: RunningUpstream) -> None:
    """The limit is 120 a minute, and a reset frees it."""
    statuses = [presign(upstream).status_code for _ in range(121)]
    assert statuses == [201] * 120 + [429]
    upstream.call("POST", "/_sandbox/reset")
    assert presign(upstream).status_code == 201


def test_reset(upstream: RunningUpstream) -> None:
    """A reset forgets assets, bytes, journal, faults and behaviours."""
    asset = upstream.asset((ROOT / "sandbox/samples/sample.png").read_bytes())
    upstream.order({"kind": "cut"}, path="/nowhere")
    upstream.behave(expiresIn=1)
    assert upstream.call("POST", "/_sandbox/reset").status_code == 204
    assert upstream.journal() == []
    assert upstream.call("GET", "/_sandbox/faults").json() == []
    assert upstream.call("GET", "/_sandbox/behavior").json()["expiresIn"] == 3600
    assert upstream.call("GET", "/v2/assets").json()["totalCount"] == 0
    for url in (asset["url"], asset["thumbnailUrl"]):
        assert requests.get(url, timeout=5).status_code == 404
    folder = upstream.folder / "upstream"
    assert list((folder / "objects").iterdir()) == list((folder / "thumbnails").iterdir()) == []


def test_greeting(upstream: RunningUpstream) -> None:
    """It says where it listens, and that is loopback alone."""
    assert upstream.greeting == f"upstream listening on http://127.0.0.1:{upstream.port}\n"
    with socket.socket() as other:
        other.bind(("127.0.0.2", upstream.port))


def test_initial_behavior(start: Callable[..., RunningUpstream]) -> None:
    """The environment sets the behaviours that restoring goes back to, and Ctrl-C ends it."""
    upstream = start(SANDBOX_BEHAVIOR='{"expiresIn": 7}')
    upstream.behave(expiresIn=8)
    assert upstream.call("DELETE", "/_sandbox/behavior").json()["expiresIn"] == 7
    upstream.process.send_signal(signal.SIGINT)
    assert upstream.wait() == 0
    assert upstream.complaints == ""


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"SANDBOX_BEHAVIOR": '{"expiresIn": 0}'}, "SANDBOX_BEHAVIOR cannot be used: expiresIn"),
        ({"SANDBOX_BEHAVIOR": "{"}, "SANDBOX_BEHAVIOR cannot be used"),
        ({"UPSTREAM_PORT": "http"}, "UPSTREAM_PORT must be a port"),
    ],
)
def test_bad_environment(
    start: Callable[..., RunningUpstream], environment: dict[str, str], complaint: str
) -> None:
    """A setting that cannot be used ends it with one line that names the variable."""
    upstream = start(**environment)
    assert upstream.wait() == 1
    assert complaint in upstream.complaints
    assert upstream.complaints.count("\n") == 1


def test_port_taken(start: Callable[..., RunningUpstream]) -> None:
    """A taken port ends it with one line that names the port and the variable."""
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        upstream = start(port=port)
        assert upstream.wait() == 1
    expected = f"upstream: port {port} is in use; set UPSTREAM_PORT to another one\n"
    assert upstream.complaints == expected


def test_folder_taken(start: Callable[..., RunningUpstream]) -> None:
    """A second process on one data folder ends with one line, and harms nothing."""
    first = start()
    url = first.upload()
    second = start()
    assert second.wait() == 1
    assert "set SANDBOX_DIR to another folder" in second.complaints
    assert second.complaints.count("\n") == 1
    assert first.register(url).status_code == 201
