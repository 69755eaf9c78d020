"""The behaviours, the rate limit, and the start and end of the process."""

import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.support.upstream_process import ROOT, RunningUpstream, free_port

PRESIGN = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 1}


def presign(upstream: RunningUpstream) -> requests.Response:
    """Presign a file, and return the response."""
    return upstream.call("POST", "/v2/assets/upload", json=PRESIGN)


def test_behaviours_change_and_restore(upstream: RunningUpstream) -> None:
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
        ({"expires": 1}, "the behaviours are notUploadedStatus"),
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
def test_bad_behaviour_is_refused(upstream: RunningUpstream, changes: object, hint: str) -> None:
    """An invalid change is a 400 whose message lists what is valid, and changes nothing."""
    before = upstream.call("GET", "/_sandbox/behavior").json()
    both = {"planMaxBytes": 1, **changes} if isinstance(changes, dict) else changes
    response = upstream.call("PATCH", "/_sandbox/behavior", json=both)
    assert response.status_code == 400
    assert hint in response.json()["message"]
    assert upstream.call("GET", "/_sandbox/behavior").json() == before


def test_behaviours_are_documented(upstream: RunningUpstream) -> None:
    """The page has every behaviour with its default, and every path of the API."""
    page = (ROOT / "docs" / "sandbox.md").read_text()
    for name, value in upstream.call("GET", "/_sandbox/behavior").json().items():
        shown = str(value).lower() if isinstance(value, bool) else value
        if isinstance(value, list):
            shown = "[" + ", ".join(f'"{item}"' for item in value) + "]"
        assert f"| `{name}` | `{shown}` |" in page
    about = upstream.call("GET", "/").json()
    for path in [*about["api"], *about["control"]]:
        assert path in page


def test_401_has_each_shape(upstream: RunningUpstream) -> None:
    """A 401 can have each shape for each cause."""
    upstream.behave(unauthorizedShape="plain")
    missing = requests.get(f"{upstream.url}/v2/assets", timeout=5).json()
    assert missing == {"message": "Unauthorized", "statusCode": 401}
    upstream.behave(unauthorizedShape="header")
    wrong = upstream.call("GET", "/v2/assets", headers={"x-api-key": "\u00e9"}).json()
    assert wrong["error"] == "Unauthorized"


def test_error_message_can_be_list(upstream: RunningUpstream) -> None:
    """The message of an error can be a list."""
    upstream.behave(messageShape="list")
    assert isinstance(upstream.call("GET", "/v2/assets/x").json()["message"], list)


@pytest.mark.parametrize("counting", ["sliding", "fixed"])
def test_presigns_are_limited_exactly(upstream: RunningUpstream, counting: str) -> None:
    """Of many simultaneous presigns, exactly the limit succeeds; the rest are documented 429s."""
    if counting == "fixed" and time.time() % 60 > 57:
        time.sleep(3.1)
    upstream.behave(presignsPerMinute=20, rateWindow=counting)
    with ThreadPoolExecutor(8) as threads:
        responses = list(threads.map(lambda _: presign(upstream), range(30)))
    assert sorted(response.status_code for response in responses) == [201] * 20 + [429] * 10
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


def test_presigns_per_minute_as_documented(upstream: RunningUpstream) -> None:
    """The limit is 120 presigns for each minute, and a reset clears the count."""
    statuses = [presign(upstream).status_code for _ in range(121)]
    assert statuses == [201] * 120 + [429]
    upstream.call("POST", "/_sandbox/reset")
    assert presign(upstream).status_code == 201


def test_reset_deletes_everything(upstream: RunningUpstream) -> None:
    """A reset deletes assets, bytes, journal and faults, and restores the behaviours."""
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


def test_upstream_prints_its_url(upstream: RunningUpstream) -> None:
    """The upstream prints its URL, and listens on loopback only."""
    assert upstream.first_line == f"upstream listening on http://127.0.0.1:{upstream.port}\n"
    with socket.socket() as other:
        other.bind(("127.0.0.2", upstream.port))


def test_environment_sets_initial_behaviour(start: Callable[..., RunningUpstream]) -> None:
    """The environment sets the behaviours that a DELETE restores, and Ctrl-C stops the upstream."""
    upstream = start(SANDBOX_BEHAVIOR='{"expiresIn": 7}')
    upstream.behave(expiresIn=8)
    assert upstream.call("DELETE", "/_sandbox/behavior").json()["expiresIn"] == 7
    upstream.process.send_signal(signal.SIGINT)
    assert upstream.wait() == 0
    assert upstream.stderr == ""


def test_file_sets_initial_behaviour(start: Callable[..., RunningUpstream], tmp_path: Path) -> None:
    """`@` and the name of a file set the behaviours that the file contains."""
    (tmp_path / "behavior.json").write_text('{"expiresIn": 7, "refusedContentTypes": ["text/*"]}')
    upstream = start(SANDBOX_BEHAVIOR=f"@{tmp_path}/behavior.json")
    found = upstream.call("GET", "/_sandbox/behavior").json()
    assert (found["expiresIn"], found["refusedContentTypes"]) == (7, ["text/*"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read: No such file or directory"),
        (b"{", "is invalid: Expecting property name"),
        (b"\xff", "is invalid: 'utf-8' codec can't decode"),
        (b'{"expiresIn": 0}', "is invalid: expiresIn must be a whole number"),
    ],
    ids=["missing", "no JSON", "no UTF-8", "value"],
)
def test_bad_behaviour_file_is_named(
    start: Callable[..., RunningUpstream], tmp_path: Path, content: bytes | None, message: str
) -> None:
    """A file of behaviours that can't be used stops the upstream with one line that names it."""
    file = tmp_path / "behavior.json"
    if content is not None:
        file.write_bytes(content)
    upstream = start(SANDBOX_BEHAVIOR=f"@{file}")
    assert upstream.wait() == 1
    assert f"SANDBOX_BEHAVIOR names {file}, which {message}" in upstream.stderr
    assert upstream.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SANDBOX_BEHAVIOR": '{"expiresIn": 0}'}, "SANDBOX_BEHAVIOR is invalid: expiresIn"),
        ({"SANDBOX_BEHAVIOR": "{"}, "SANDBOX_BEHAVIOR is invalid"),
        ({"UPSTREAM_PORT": "http"}, "UPSTREAM_PORT must be a port"),
    ],
)
def test_bad_environment_stops_upstream(
    start: Callable[..., RunningUpstream], environment: dict[str, str], message: str
) -> None:
    """An invalid setting stops the upstream with one line that names the variable."""
    upstream = start(**environment)
    assert upstream.wait() == 1
    assert message in upstream.stderr
    assert upstream.stderr.count("\n") == 1


def test_port_in_use_stops_upstream(start: Callable[..., RunningUpstream]) -> None:
    """A port in use stops the upstream with one line that names the port and the variable."""
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        upstream = start(port=port)
        assert upstream.wait() == 1
    expected = f"upstream: port {port} is in use; set UPSTREAM_PORT to another one\n"
    assert upstream.stderr == expected


def test_folder_in_use_stops_second_upstream(start: Callable[..., RunningUpstream]) -> None:
    """A second process with the same folder stops with one line, and the first continues."""
    first = start()
    url = first.upload()
    second = start()
    assert second.wait() == 1
    assert "set SANDBOX_DIR to another folder" in second.stderr
    assert second.stderr.count("\n") == 1
    assert first.register(url).status_code == 201
