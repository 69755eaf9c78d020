"""The demo's server, as a process of its own, over real sockets."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping

import jwt
import pytest
import requests

from tests.support.upstream_process import ROOT, free_port

SECRET = "a secret for tests that is long enough for HS256"


def start(port: int, overrides: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start the demo with this port and nothing of the tests' own environment but the path."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONWARNINGS": "error",
        "DEMO_PORT": str(port),
        "BROKER_PORT": "18000",
        "UPSTREAM_PORT": "18001",
        "JWT_SECRET": SECRET,
        **(overrides or {}),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox.demo"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    """Wait for the demo's first word."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    """Stop the demo, and return what it complained about."""
    process.send_signal(number)
    _, complaints = process.communicate(timeout=10)
    return complaints


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """A running demo's URL."""
    port = free_port()
    process = start(port)
    line = first_line(process)
    yield line.removeprefix("demo page on ")
    assert stop(process) == ""
    assert process.returncode == 0


def test_says_where(demo: str) -> None:
    """The printed line is the page's URL, and the page answers at once."""
    assert demo.startswith("http://127.0.0.1:")
    answer = requests.get(demo, timeout=5)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/client/index.js", "/token", "/nowhere"])
def test_headers(demo: str, path: str) -> None:
    """Every answer, a refusal too, forbids inline code, sniffing and frames, and hides paths."""
    headers = requests.get(demo + path, timeout=5).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "strict-origin"


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/client/index.js", "javascript"),
        ("/page/style.css", "text/css"),
        ("/samples/sample.mp4", "video/mp4"),
        ("/samples/sample.png", "image/png"),
        ("/samples/sample.wav", "audio/"),
    ],
)
def test_files(demo: str, path: str, content_type: str) -> None:
    """The page's files, the client's and the samples are there, each with its type."""
    answer = requests.get(demo + path, timeout=5)
    assert answer.status_code == 200
    assert content_type in answer.headers["Content-Type"]


@pytest.mark.parametrize(
    "path", ["/client/", "/samples/", "/page/", "/client/..%2fapp.py", "/samples/..%2f..%2fapp.py"]
)
def test_no_more_files(demo: str, path: str) -> None:
    """Nothing else of the project is served, and no folder is listed."""
    assert requests.get(demo + path, timeout=5).status_code in {403, 404}


@pytest.mark.parametrize(
    "path",
    ["/", "/token?sub=alice", "/token", "/config.json", "/page/main.js", "/samples/sample.mp4"],
)
def test_head(demo: str, path: str) -> None:
    """HEAD has the status and the type of GET, and no body."""
    got, head = (requests.request(method, demo + path, timeout=5) for method in ("GET", "HEAD"))
    assert head.status_code == got.status_code
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert head.content == b""


def test_token(demo: str) -> None:
    """A token is signed with the shared secret, for the user asked for and for an hour."""
    answer = requests.get(f"{demo}/token?sub=alice", timeout=5)
    assert answer.json().keys() == {"token", "expiresIn"}
    assert answer.json()["expiresIn"] == 3600
    assert answer.headers["Cache-Control"] == "no-store"
    claims = jwt.decode(answer.json()["token"], SECRET, algorithms=["HS256"])
    assert claims["sub"] == "alice"
    assert claims["exp"] - claims["iat"] == 3600


@pytest.mark.parametrize("query", ["?sub=alice", ""])
@pytest.mark.parametrize("site", ["http://localhost:5173", "http://127.0.0.1:3000"])
def test_token_for_sandbox_origins(demo: str, query: str, site: str) -> None:
    """A page in use may read a token, and why it got none; the page's settings not."""
    origin = {"Origin": site}
    answer = requests.get(f"{demo}/token{query}", headers=origin, timeout=5)
    assert answer.headers["Access-Control-Allow-Origin"] == site
    assert answer.headers["Vary"] == "Origin"
    config = requests.get(f"{demo}/config.json", headers=origin, timeout=5)
    assert config.status_code == 403
    assert "Access-Control-Allow-Origin" not in config.headers


@pytest.mark.parametrize(
    "site",
    [
        "https://evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1@evil.example",
        "http://127.0.0.1:1",
        "http://[::1]:9",
        "https://localhost:5173",
        "null",
    ],
)
def test_token_for_nobody_else(demo: str, site: str) -> None:
    """No other page gets one, of this machine or not: the secret may be a real one."""
    answer = requests.get(f"{demo}/token?sub=alice", headers={"Origin": site}, timeout=5)
    assert answer.status_code == 403
    assert "token" not in answer.text
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("name", ["evil.example", "localhost.evil.example", "[::1]", "LOCALHOST"])
def test_token_under_no_other_name(demo: str, name: str) -> None:
    """Nor does one whose name was made to point to this machine, so that it is the same site."""
    port = demo.rsplit(":", 1)[1]
    for host in (f"{name}:{port}", name, f"127.0.0.1:{int(port) + 1}"):
        answer = requests.get(f"{demo}/token?sub=alice", headers={"Host": host}, timeout=5)
        assert answer.status_code == 403
        assert "localhost" in answer.text
    answer = requests.get(f"http://localhost:{port}/token?sub=alice", timeout=5)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?sub=",
        "?sub=a&sub=b",
        "?sub=%00",
        "?sub=a%20b",
        "?sub=a%0A",
        f"?sub={'x' * 65}",
        "?sub=%C3%A4",
    ],
)
def test_token_needs_a_name(demo: str, query: str) -> None:
    """Without one plain name there is no token, but a problem that says what is wanted."""
    answer = requests.get(f"{demo}/token{query}", timeout=5)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert "sub" in answer.json()["detail"]
    assert answer.json()["status"] == 400


def test_token_names_issuer_and_audience() -> None:
    """Where the broker asks for an issuer and an audience, the tokens have them, the first one."""
    port = free_port()
    process = start(port, {"JWT_ISSUER": "https://app.example", "JWT_AUDIENCE": "uploads, more"})
    try:
        first_line(process)
        token = requests.get(f"http://127.0.0.1:{port}/token?sub=bob", timeout=5).json()["token"]
    finally:
        stop(process)
    claims = jwt.decode(
        token, SECRET, algorithms=["HS256"], issuer="https://app.example", audience="uploads"
    )
    assert claims["sub"] == "bob"


def test_token_while_rotated() -> None:
    """While the broker accepts two secrets, and looks elsewhere for the audience, tokens fit."""
    port = free_port()
    process = start(
        port,
        {
            "JWT_SECRET": f"{SECRET}, another secret that is long enough",
            "JWT_AUDIENCE": "https://app.example,https://b.example",
            "JWT_AUDIENCE_CLAIM": "azp",
        },
    )
    try:
        first_line(process)
        token = requests.get(f"http://127.0.0.1:{port}/token?sub=bob", timeout=5).json()["token"]
    finally:
        stop(process)
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert claims["azp"] == "https://app.example"


def test_config(demo: str) -> None:
    """The page learns where the broker is and which samples to offer, and no secret."""
    answer = requests.get(f"{demo}/config.json", timeout=5)
    config = answer.json()
    assert config["brokerUrl"] == "http://127.0.0.1:18000"
    assert config["users"][:2] == ["alice", "bob"]
    assert [sample["url"] for sample in config["samples"]] == [
        f"{demo}/samples/sample.mp4",
        f"{demo}/samples/sample.wav",
        f"{demo}/samples/sample.png",
    ]
    assert SECRET not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_cleanly(number: signal.Signals) -> None:
    """Either signal ends it without a word, an open connection notwithstanding."""
    port = free_port()
    process = start(port)
    first_line(process)
    with socket.create_connection(("127.0.0.1", port)):
        assert stop(process, number) == ""
    assert process.returncode == 0


def test_port_taken() -> None:
    """A taken port is one line that names the port and its variable."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = start(port)
        _, complaints = process.communicate(timeout=10)
    assert process.returncode == 1
    assert complaints == f"sandbox.demo: port {port} is taken; set DEMO_PORT to another one\n"


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"JWT_SECRET": ""}, "JWT_SECRET"),
        ({"BROKER_PORT": "http"}, "BROKER_PORT"),
        ({"UPSTREAM_PORT": "65536"}, "UPSTREAM_PORT"),
        ({"DEMO_PORT": "0"}, "DEMO_PORT"),
        ({"SANDBOX_ORIGINS": "http://localhost:3000/"}, "SANDBOX_ORIGINS"),
        ({"SANDBOX_ORIGINS": "https://app.example.com"}, "SANDBOX_ORIGINS"),
        ({"SANDBOX_ORIGINS": "*"}, "SANDBOX_ORIGINS"),
        ({"SANDBOX_ORIGINS": "null"}, "SANDBOX_ORIGINS"),
    ],
)
def test_bad_setting(overrides: Mapping[str, str], named: str) -> None:
    """A setting that makes no sense is one line that names it."""
    process = start(free_port(), overrides)
    _, complaints = process.communicate(timeout=10)
    assert process.returncode == 1
    assert complaints.count("\n") == 1
    assert named in complaints


@pytest.mark.parametrize("address", ["127.0.0.2", "::1"])
def test_one_address_only(demo: str, address: str) -> None:
    """It listens on 127.0.0.1 alone, so that no other address of this machine leads to it."""
    port = int(demo.rsplit(":", 1)[1])
    with pytest.raises(OSError):  # noqa: PT011 - refused or not routed, as the system has it.
        socket.create_connection((address, port), timeout=1)
