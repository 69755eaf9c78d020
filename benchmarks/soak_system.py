"""What is soaked: brokers of their own processes, browsers, and the trouble between them."""

import random
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import requests
from parts import HOST, SECRET, end_broker, free_port, listens, start_broker

# The import above lets these be found.
from tests.support.faulty_dynamodb import FaultyDynamoDB  # isort: skip - the tests' own proxy
from tests.support.upstream_process import RunningUpstream  # isort: skip

BROKERS, BROWSERS = 3, 12
SPEED = 10  # seconds of the brokers' clocks in one of ours
KILL_SECONDS = 3.0
FAULT_CHANCE = 0.15  # each twentieth of a second, for sync. and for DynamoDB
MOST_WAITING = 6
LONGEST_DELAY = 3.0  # seconds
CLOSED, NEVER_PUT = 0.25, 0.08  # parts of the uploads
PUBLIC, RENEWED = 0.15, 0.05  # as above; the rest are files with one address
URL_LIFE = 120  # seconds of the brokers' clocks that an address lives, so that renewals are made
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
        name: Its own.
        id: Of its upload.
        landed: Whether its bytes are in storage.
        closed: When its tab was closed, by the brokers' clocks; None if it was not.
        url: Its public URL, if it is none of the browser's files.
    """

    name: str
    id: str = ""
    landed: bool = False
    closed: float | None = None
    url: str = ""


@dataclass
class System:
    """Everything that runs."""

    folder: Path
    dynamodb: FaultyDynamoDB
    upstream: RunningUpstream
    ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(BROKERS)])
    brokers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    zero: float = field(default_factory=time.time)
    kills: int = 0
    faults: int = 0

    def now(self) -> float:
        """Read the brokers' clocks, in seconds."""
        ahead = float((self.folder / "clock").read_text())
        return self.zero + (time.time() - self.zero) * SPEED + ahead

    def advance(self, seconds: float) -> None:
        """Let the brokers' clocks jump; the file is replaced, for it may be read just now."""
        ahead = float((self.folder / "clock").read_text()) + seconds
        (self.folder / "clock.new").write_text(str(ahead))
        (self.folder / "clock.new").replace(self.folder / "clock")

    def set_upstream(self) -> None:
        """Let sync.'s clock show what the brokers' clocks show."""
        self.upstream.behave(clockSkewSeconds=self.now() - time.time())

    def keep_time(self, ended: threading.Event) -> None:
        """Let sync.'s clock run as fast as the brokers' ones."""
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
            PRESIGNS_PER_MINUTE="600",
            # Under another name, since what lies in sync.'s storage is no public URL.
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
    """Count what sync. has not met yet."""
    answer = system.upstream.call("GET", "/_sandbox/faults").json()
    return len(answer if isinstance(answer, list) else answer["faults"])


def trouble(system: System, seed: int, ended: threading.Event) -> None:
    """Make trouble until told to stop."""
    chance = random.Random(seed)  # noqa: S311 - it has to be repeatable
    last_kill = time.monotonic()
    while not ended.wait(0.05):
        # What nothing has met yet must not pile up with its like, or nothing is done in peace.
        if chance.random() < FAULT_CHANCE and _open_faults(system) < MOST_WAITING:
            step, action = chance.choice(UPSTREAM_STEPS), chance.choice(UPSTREAM_FAULTS)
            order = {"match": {"method": step[0], "path": step[1]}, "do": action}
            system.upstream.call("POST", "/_sandbox/faults", json=order)
            system.faults += 1
        waiting = sum(not rule.reached.is_set() for rule in list(system.dynamodb.rules))
        if chance.random() < FAULT_CHANCE and waiting < MOST_WAITING:
            step_of_table, kind = chance.choice(DYNAMODB_STEPS), chance.choice(DYNAMODB_FAULTS)
            system.dynamodb.order(kind, step_of_table, lasting=False)
            system.faults += 1
        # On a busy machine a broker takes a while to come up; some must be there to be in trouble.
        if time.monotonic() - last_kill > KILL_SECONDS and all(map(listens, system.ports)):
            system.kill(chance.randrange(BROKERS))
            last_kill = time.monotonic()


class Browser:
    """Uploads files one after the other, and comes back as the client would."""

    def __init__(self, system: System, number: int, seed: int) -> None:
        self._system = system
        self._chance = random.Random(seed * 1000 + number)  # noqa: S311 - repeatable
        self._session = requests.Session()
        claims = {"sub": f"browser {number}", "exp": int(time.time()) + 10**6}
        self.headers = {"Authorization": f"Bearer {jwt.encode(claims, SECRET)}"}
        self.told: dict[str, str] = {}
        self.renewed = 0

    def call(self, method: str, path: str, **arguments: Any) -> requests.Response | None:
        """Send a request to any broker; None if it broke off."""
        port = self._chance.choice(self._system.ports)
        url = f"http://{HOST}:{port}{path}"
        headers = self.headers | arguments.pop("headers", {})
        try:
            return self._session.request(method, url, headers=headers, timeout=40, **arguments)
        except requests.RequestException:
            time.sleep(0.1)
            return None

    def upload(self, file: File) -> None:
        """Take a file as far as its tab lives."""
        if file.url:
            self._register_url(file)
            return
        body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5, "name": file.name}
        for _ in range(30):
            answer = self.call("POST", "/uploads", json=body)
            if answer is not None and answer.status_code == requests.codes.created:
                break
            time.sleep(0.1)
        else:
            return
        upload = answer.json()
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
            answer = self.call("POST", f"/uploads/{file.id}/complete")
            if answer is not None and answer.status_code == requests.codes.ok:
                # What was acknowledged once must be true for ever.
                self.told[file.name] = answer.json()["asset"]["id"]
                return
            time.sleep(0.3)
        file.closed = self._system.now()

    def _renew(self, upload: dict[str, Any]) -> dict[str, Any]:
        """Wait until half of the address's life is over, and PUT to a fresh one."""
        time.sleep(URL_LIFE / 2 / SPEED + 0.5)
        for _ in range(30):
            answer = self.call("POST", f"/uploads/{upload['id']}/renew")
            if answer is not None and answer.status_code == requests.codes.ok:
                self.renewed += answer.json()["uploadUrl"] != upload["uploadUrl"]
                fresh: dict[str, Any] = answer.json()
                return fresh
            time.sleep(0.1)
        return upload

    def _register_url(self, file: File) -> None:
        """Register a public URL; the key makes all repetitions one."""
        body = {"url": file.url, "type": "VIDEO", "name": file.name}
        key = {"Idempotency-Key": file.name.replace(" ", "-")}
        for _ in range(60):
            answer = self.call("POST", "/assets", json=body, headers=key)
            if answer is not None and answer.status_code in {201, 202}:
                file.id, file.landed = answer.json()["id"], True
                if answer.status_code == requests.codes.created:
                    self.told[file.name] = answer.json()["asset"]["id"]
                elif self._chance.random() < CLOSED:
                    file.closed = self._system.now()
                else:
                    self._complete(file)
                return
            time.sleep(0.2)

    def records(self) -> list[dict[str, Any]]:
        """Read all uploads at the end, when everything has healed."""
        found: list[dict[str, Any]] = []
        path = "/uploads?limit=100"
        while True:
            answer = self.call("GET", path)
            if answer is None:
                continue
            answer.raise_for_status()
            found += answer.json()["items"]
            if "nextCursor" not in answer.json():
                return found
            path = f"/uploads?limit=100&cursor={answer.json()['nextCursor']}"
