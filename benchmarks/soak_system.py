"""The parts of the soak test: broker processes, browsers, and faults."""

import random
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import requests

from benchmarks.parts import HOST, SECRET, end_broker, listens, start_broker
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.upstream_process import RunningUpstream, free_port

BROKERS, BROWSERS = 3, 12
SPEED = 10  # how many times faster than real time the brokers' clocks run
KILL_SECONDS = 3.0
FAULT_CHANCE = 0.15  # in each twentieth of a second, for Sync and for DynamoDB
MAX_PENDING_FAULTS = 6
LONGEST_DELAY = 3.0  # seconds
CLOSED, NEVER_PUT = 0.25, 0.08  # fractions of the uploads
PUBLIC, RENEWED = 0.15, 0.05  # fractions of the uploads
URL_LIFE = 120  # seconds that an upload URL is valid; a short time, so that browsers renew it
UPSTREAM_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "cut"},
    {"kind": "cut", "when": "after"},
    {"kind": "delay", "seconds": LONGEST_DELAY},
    {"kind": "delay", "seconds": LONGEST_DELAY, "when": "after"},
    {"kind": "answer", "status": 429, "headers": {"Retry-After": "1"}},
    {"kind": "answer", "status": 500},
    {"kind": "answer", "status": 500, "when": "after"},
    {"kind": "answer", "status": 502, "body": "<html>", "when": "after"},
    {"kind": "answer", "status": 503},
    {"kind": "answer", "status": 504, "when": "after"},
    {"kind": "answer", "status": 200, "body": '{"id": "ha', "when": "after"},
)
UPSTREAM_STEPS = (
    ("POST", "/v2/assets/upload"),
    ("POST", "/v2/assets"),
    ("POST", "/v2/assets"),
    ("GET", "/v2/assets"),
)
DYNAMODB_FAULTS = ("throttled", "500", "cut-before", "cut-after", "slow-before", "slow-after")
DYNAMODB_STEPS = ("UpdateItem", "TransactWriteItems", "GetItem", "Query", "BatchGetItem")


@dataclass
class File:
    """One file that a browser wants to upload.

    Attributes:
        name: Its unique name.
        id: The id of its upload.
        landed: Whether its bytes are in storage.
        closed: When its tab was closed, by the brokers' clocks; None if it was not closed.
        url: The public URL to register instead of a file.
    """

    name: str
    id: str = ""
    landed: bool = False
    closed: float | None = None
    url: str = ""


@dataclass
class System:
    """All processes of the soak test."""

    folder: Path
    dynamodb: FaultyDynamoDB
    upstream: RunningUpstream
    ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(BROKERS)])
    brokers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    zero: float = field(default_factory=time.time)
    kills: int = 0
    faults: int = 0

    def now(self) -> float:
        """Return the time of the brokers' clocks, in seconds."""
        ahead = float((self.folder / "clock").read_text())
        return self.zero + (time.time() - self.zero) * SPEED + ahead

    def advance(self, seconds: float) -> None:
        """Advance the brokers' clocks; replacing the file is atomic for its readers."""
        ahead = float((self.folder / "clock").read_text()) + seconds
        (self.folder / "clock.new").write_text(str(ahead))
        (self.folder / "clock.new").replace(self.folder / "clock")

    def set_upstream(self) -> None:
        """Set Sync's clock to the time of the brokers' clocks."""
        self.upstream.behave(clockSkewSeconds=self.now() - time.time())

    def keep_time(self, ended: threading.Event) -> None:
        """Keep Sync's clock at the time of the brokers' clocks."""
        while not ended.wait(1):
            self.set_upstream()

    def start(self, number: int) -> subprocess.Popen[bytes]:
        """Start a broker."""
        return start_broker(
            self.folder,
            number,
            self.ports[number],
            self.upstream,
            UPLOADS_TABLE="soak",
            SWEEP_REGISTERS_PER_MINUTE="600",
            PRESIGNS_PER_MINUTE="300",
            # The broker refuses URLs on Sync's storage host, but not under this host name.
            PUBLIC_URL_EXCEPTIONS=f"http://localhost:{self.upstream.port}",
            CLOCK_SPEED=str(SPEED),
            CLOCK_ZERO=str(self.zero),
            SWEEP_SECONDS=str(60 / SPEED),
        )

    def kill(self, number: int) -> None:
        """Kill a broker and start it again."""
        end_broker(self.brokers[number])
        self.brokers[number] = self.start(number)
        self.kills += 1


def _open_faults(system: System) -> int:
    """Return the number of Sync's faults that no request has triggered yet."""
    response = system.upstream.call("GET", "/_sandbox/faults").json()
    return len(response if isinstance(response, list) else response["faults"])


def inject_faults(system: System, seed: int, ended: threading.Event) -> None:
    """Inject faults and kill brokers until the event is set."""
    chance = random.Random(seed)  # noqa: S311 - reproducible
    last_kill = time.monotonic()
    while not ended.wait(0.05):
        # The number of pending faults is limited, so that some requests succeed.
        if chance.random() < FAULT_CHANCE and _open_faults(system) < MAX_PENDING_FAULTS:
            step, action = chance.choice(UPSTREAM_STEPS), chance.choice(UPSTREAM_FAULTS)
            order = {"match": {"method": step[0], "path": step[1]}, "do": action}
            system.upstream.call("POST", "/_sandbox/faults", json=order)
            system.faults += 1
        pending = sum(not rule.reached.is_set() for rule in list(system.dynamodb.rules))
        if chance.random() < FAULT_CHANCE and pending < MAX_PENDING_FAULTS:
            step_of_table, kind = chance.choice(DYNAMODB_STEPS), chance.choice(DYNAMODB_FAULTS)
            system.dynamodb.order(kind, step_of_table, lasting=False)
            system.faults += 1
        # On a busy machine a broker starts slowly, and killing more of them would leave none.
        if time.monotonic() - last_kill > KILL_SECONDS and all(map(listens, system.ports)):
            system.kill(chance.randrange(BROKERS))
            last_kill = time.monotonic()


class Browser:
    """Uploads files one after the other, and retries as the client does."""

    def __init__(self, system: System, number: int, seed: int) -> None:
        self._system = system
        self._chance = random.Random(seed * 1000 + number)  # noqa: S311 - reproducible
        self._session = requests.Session()
        claims = {"sub": f"browser {number}", "exp": int(time.time()) + 10**6}
        self.headers = {"Authorization": f"Bearer {jwt.encode(claims, SECRET)}"}
        self.acknowledged: dict[str, str] = {}  # asset ids by the names of files
        self.renewed = 0

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response | None:
        """Send a request to a random broker, and return its response; None if it failed."""
        port = self._chance.choice(self._system.ports)
        url = f"http://{HOST}:{port}{path}"
        headers = self.headers | arguments.pop("headers", {})
        try:
            return self._session.request(method, url, headers=headers, timeout=40, **arguments)
        except requests.RequestException:
            time.sleep(0.1)
            return None

    def upload(self, file: File) -> None:
        """Upload a file, unless its tab closes first."""
        if file.url:
            self._register_url(file)
            return
        body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5, "name": file.name}
        for _ in range(30):
            response = self.call("POST", "/uploads", json=body)
            if response is not None and response.status_code == requests.codes.created:
                break
            time.sleep(0.1)
        else:
            return
        upload = response.json()
        file.id = upload["id"]
        if self._chance.random() < NEVER_PUT:
            return
        if self._chance.random() < RENEWED:
            upload = self._renew(upload)
        put = requests.put(upload["uploadUrl"], b"hello", headers=upload["headers"], timeout=40)
        file.landed = put.ok
        if self._chance.random() < CLOSED:
            file.closed = self._system.now()
            return
        self._complete(file)

    def _complete(self, file: File) -> None:
        for _ in range(6):
            response = self.call("POST", f"/uploads/{file.id}/complete")
            if response is not None and response.status_code == requests.codes.ok:
                # An acknowledged asset must never change.
                self.acknowledged[file.name] = response.json()["asset"]["id"]
                return
            time.sleep(0.3)
        file.closed = self._system.now()

    def _renew(self, upload: dict[str, Any]) -> dict[str, Any]:
        """Wait for half of the upload URL's lifetime, renew the upload, and return it."""
        time.sleep(URL_LIFE / 2 / SPEED + 0.5)
        for _ in range(30):
            response = self.call("POST", f"/uploads/{upload['id']}/renew")
            if response is not None and response.status_code == requests.codes.ok:
                self.renewed += response.json()["uploadUrl"] != upload["uploadUrl"]
                fresh: dict[str, Any] = response.json()
                return fresh
            time.sleep(0.1)
        return upload

    def _register_url(self, file: File) -> None:
        """Register a public URL; the Idempotency-Key makes retries safe."""
        body = {"url": file.url, "type": "VIDEO", "name": file.name}
        key = {"Idempotency-Key": file.name.replace(" ", "-")}
        for _ in range(60):
            response = self.call("POST", "/assets", json=body, headers=key)
            if response is not None and response.status_code in {201, 202}:
                file.id, file.landed = response.json()["id"], True
                if response.status_code == requests.codes.created:
                    self.acknowledged[file.name] = response.json()["asset"]["id"]
                elif self._chance.random() < CLOSED:
                    file.closed = self._system.now()
                else:
                    self._complete(file)
                return
            time.sleep(0.2)

    def records(self) -> list[dict[str, Any]]:
        """Return all uploads, after the faults have ended."""
        found: list[dict[str, Any]] = []
        path = "/uploads?limit=100"
        while True:
            response = self.call("GET", path)
            if response is None:
                continue
            response.raise_for_status()
            found += response.json()["items"]
            if "nextCursor" not in response.json():
                return found
            path = f"/uploads?limit=100&cursor={response.json()['nextCursor']}"
