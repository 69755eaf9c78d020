"""The demo's server as a process, over real sockets."""

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
    """Start the demo on this port. Of the tests' environment it gets only the path."""
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
    """Return the demo's first printed line."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    """Stop the demo, and return its standard error."""
    process.send_signal(number)
    _, stderr = process.communicate(timeout=10)
    return stderr


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """The URL of a running demo."""
    port = free_port()
    process = start(port)
    line = first_line(process)
    yield line.removeprefix("demo page on ")
    assert stop(process) == ""
    assert process.returncode == 0


def test_demo_prints_its_url(demo: str) -> None:
    """The printed line has the page's URL, and the page responds at once."""
    assert demo.startswith("http://127.0.0.1:")
    response = requests.get(demo, timeout=5)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/client/index.js", "/token", "/nowhere"])
def test_responses_have_security_headers(demo: str, path: str) -> None:
    """Every response, even a refusal, forbids inline code, sniffing and frames, and hides paths."""
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
def test_demo_serves_files(demo: str, path: str, content_type: str) -> None:
    """The demo serves the files of the page, the client and the samples with their types."""
    response = requests.get(demo + path, timeout=5)
    assert response.status_code == 200
    assert content_type in response.headers["Content-Type"]


@pytest.mark.parametrize(
    "path", ["/client/", "/samples/", "/page/", "/client/..%2fapp.py", "/samples/..%2f..%2fapp.py"]
)
def test_demo_serves_no_other_files(demo: str, path: str) -> None:
    """The demo serves no other file of the project, and lists no folder."""
    assert requests.get(demo + path, timeout=5).status_code in {403, 404}


@pytest.mark.parametrize(
    "path",
    ["/", "/token?sub=alice", "/token", "/config.json", "/page/main.js", "/samples/sample.mp4"],
)
def test_head_matches_get(demo: str, path: str) -> None:
    """HEAD has the status and the type of GET, and no body."""
    got, head = (requests.request(method, demo + path, timeout=5) for method in ("GET", "HEAD"))
    assert head.status_code == got.status_code
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert head.content == b""


def test_token_is_signed_for_user(demo: str) -> None:
    """A token is signed with the shared secret, and is valid for the given user for an hour."""
    response = requests.get(f"{demo}/token?sub=alice", timeout=5)
    assert response.json().keys() == {"token", "expiresIn"}
    assert response.json()["expiresIn"] == 3600
    assert response.headers["Cache-Control"] == "no-store"
    claims = jwt.decode(response.json()["token"], SECRET, algorithms=["HS256"])
    assert claims["sub"] == "alice"
    assert claims["exp"] - claims["iat"] == 3600


@pytest.mark.parametrize("query", ["?sub=alice", ""])
@pytest.mark.parametrize("site", ["http://localhost:5173", "http://127.0.0.1:3000"])
def test_token_for_sandbox_origins(demo: str, query: str, site: str) -> None:
    """A listed page may read a token or the reason of a refusal, but not the demo's settings."""
    origin = {"Origin": site}
    response = requests.get(f"{demo}/token{query}", headers=origin, timeout=5)
    assert response.headers["Access-Control-Allow-Origin"] == site
    assert response.headers["Vary"] == "Origin"
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
def test_token_for_no_other_origin(demo: str, site: str) -> None:
    """No other page gets a token, not even one of this machine: the secret may be a real one."""
    response = requests.get(f"{demo}/token?sub=alice", headers={"Origin": site}, timeout=5)
    assert response.status_code == 403
    assert "token" not in response.text
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("name", ["evil.example", "localhost.evil.example", "[::1]", "LOCALHOST"])
def test_token_for_no_other_host(demo: str, name: str) -> None:
    """A page whose domain points to this machine (DNS rebinding) gets no token."""
    port = demo.rsplit(":", 1)[1]
    for host in (f"{name}:{port}", name, f"127.0.0.1:{int(port) + 1}"):
        response = requests.get(f"{demo}/token?sub=alice", headers={"Host": host}, timeout=5)
        assert response.status_code == 403
        assert "localhost" in response.text
    response = requests.get(f"http://localhost:{port}/token?sub=alice", timeout=5)
    assert response.status_code == 200


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
def test_token_needs_a_user(demo: str, query: str) -> None:
    """Without exactly one valid `sub`, the response is a problem that names the parameter."""
    response = requests.get(f"{demo}/token{query}", timeout=5)
    assert response.status_code == 400
    assert response.headers["Content-Type"].startswith("application/problem+json")
    assert "sub" in response.json()["detail"]
    assert response.json()["status"] == 400


def test_token_has_issuer_and_audience() -> None:
    """If the broker requires an issuer and an audience, tokens have them (the first audience)."""
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


def test_token_during_secret_rotation() -> None:
    """Tokens are valid while the broker accepts two secrets and reads the audience elsewhere."""
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


def test_config_has_urls_and_no_secret(demo: str) -> None:
    """The page's settings have the broker's URL and the samples, but no secret."""
    response = requests.get(f"{demo}/config.json", timeout=5)
    config = response.json()
    assert config["brokerUrl"] == "http://127.0.0.1:18000"
    assert config["users"][:2] == ["alice", "bob"]
    assert [sample["url"] for sample in config["samples"]] == [
        f"{demo}/samples/sample.mp4",
        f"{demo}/samples/sample.wav",
        f"{demo}/samples/sample.png",
    ]
    assert SECRET not in response.text
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_demo_stops_on_signals(number: signal.Signals) -> None:
    """Either signal stops the demo without output, even with an open connection."""
    port = free_port()
    process = start(port)
    first_line(process)
    with socket.create_connection(("127.0.0.1", port)):
        assert stop(process, number) == ""
    assert process.returncode == 0


def test_port_in_use_stops_demo() -> None:
    """A port in use stops the demo with one line that names the port and the variable."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = start(port)
        _, stderr = process.communicate(timeout=10)
    assert process.returncode == 1
    assert stderr == f"sandbox.demo: port {port} is in use; set DEMO_PORT to another one\n"


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
def test_bad_setting_stops_demo(overrides: Mapping[str, str], named: str) -> None:
    """An invalid setting stops the demo with one line that names the variable."""
    process = start(free_port(), overrides)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == 1
    assert stderr.count("\n") == 1
    assert named in stderr


@pytest.mark.parametrize("address", ["127.0.0.2", "::1"])
def test_demo_listens_on_one_address(demo: str, address: str) -> None:
    """The demo listens on 127.0.0.1 only, and on no other address of this machine."""
    port = int(demo.rsplit(":", 1)[1])
    with pytest.raises(OSError):  # noqa: PT011 - the error depends on the system.
        socket.create_connection((address, port), timeout=1)
