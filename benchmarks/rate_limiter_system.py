"""Overload broker processes: `python -m benchmarks.rate_limiter_system [scenario ...]`.

Four broker processes share the emulator of DynamoDB and a stand-in for Sync that enforces its
documented limit of 120 presigns a minute. Each scenario begins with an empty table: callers begin
more uploads than that, with many requests at once, and obey `Retry-After`; some send their tickets
too. Sync must refuse no presign with 429, unless another program uses the key. Without arguments
all scenarios run, which takes 80 minutes; `list` prints their names.
"""

import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import jwt
import requests

from benchmarks.crowd import jain, most_in_a_minute
from benchmarks.parts import HOST, SECRET, end_broker, running_dynamodb, start_broker
from chalicelib.aws import clients
from ops import table
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.upstream_process import KEY, RunningUpstream, free_port

BROKERS = 4
WARM = 16  # requests at once that each broker has served before
CONTAINERS = 64  # of each broker: requests that it serves at once, while others wait
PER_MINUTE = 120  # the documented limit
FILE = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
HEAVY = 0
ENDLESS = 10**6  # files


@dataclass(frozen=True)
class Group:
    """Callers who want the same.

    Attributes:
        callers: Their numbers.
        parallel: How many requests each of them has at once.
        files: How many uploads each of them wants to begin.
        starts: When they start: at random between two moments, in seconds.
    """

    callers: range
    parallel: int
    files: int
    starts: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Scenario:
    """What happens to the brokers.

    Attributes:
        groups: The callers.
        seconds: When it ends, if the callers are not satisfied earlier.
        knows_tickets: Whether the callers send tickets.
        window: How Sync counts.
        machine_errors: By how many seconds the brokers' machines are wrong.
        table_seconds: How long each write of the rate limiter takes.
        kill_every: Seconds after which one of the brokers is killed, and started again.
        foreign: Requests of another program with the same key, in a minute.
        leavers: The fraction of callers who never return after a refusal.
    """

    groups: tuple[Group, ...]
    seconds: float = 200.0
    knows_tickets: bool = False
    window: str = "sliding"
    machine_errors: tuple[float, ...] = ()
    table_seconds: float = 0.0
    kill_every: float = 0.0
    foreign: int = 0
    leavers: float = 0.0


ONE = (Group(range(1), 122, 200),)
LIGHT = range(1, 40)
FORTY = (Group(LIGHT, 2, 2), Group(range(1), 122, 122))
AHEAD = (Group(range(1), 122, 122), Group(LIGHT, 2, 2, (0.2, 0.2)))
CROWD = (Group(range(1), 1000, ENDLESS, (0, 10)), Group(range(1, 31), 1, 2, (0, 240)))
EQUAL = (Group(range(24), 3, ENDLESS, (0, 12)),)
# In less time a presign more or less for one caller would hide how fair the shares are.
TEN_MINUTES = 600.0
SCENARIOS = {
    "one caller": Scenario(ONE),
    "one caller, tickets": Scenario(ONE, knows_tickets=True),
    "40 callers": Scenario(FORTY),
    "40 callers, tickets": Scenario(FORTY, knows_tickets=True),
    "heavy one ahead": Scenario(AHEAD),
    "heavy one ahead, tickets": Scenario(AHEAD, knows_tickets=True),
    "1,000 beside 30": Scenario(CROWD, 370),
    "24 equal callers": Scenario(EQUAL, TEN_MINUTES, knows_tickets=True),
    "24 equal callers, fixed": Scenario(EQUAL, TEN_MINUTES, knows_tickets=True, window="fixed"),
    "machines 15 s apart": Scenario(EQUAL, TEN_MINUTES, machine_errors=(-7.5, 7.5, 0, -3)),
    "slow table": Scenario(EQUAL, TEN_MINUTES, table_seconds=0.6),
    "kills": Scenario(EQUAL, TEN_MINUTES, kill_every=7),
    "other program": Scenario(EQUAL, TEN_MINUTES, foreign=30),
    "leavers": Scenario((Group(range(400), 1, 2, (0, 180)),), leavers=0.3),
}


@dataclass
class Demand:
    """The callers of a scenario and their results. Times are those of the monotonic clock.

    Attributes:
        scenario: The scenario.
        ports: The brokers' ports.
        began: The time of the start.
        statuses: The number of responses by status and code.
        got: The times of the upload URLs by caller, with how long each was waited for.
    """

    scenario: Scenario
    ports: list[int]
    began: float = field(default_factory=time.monotonic)
    statuses: Counter[str] = field(default_factory=Counter)
    got: defaultdict[int, list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _left: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Begin with idle containers."""
        self._containers = {port: threading.Semaphore(CONTAINERS) for port in self.ports}

    @property
    def _is_over(self) -> bool:
        return time.monotonic() > self.began + self.scenario.seconds

    def run(self) -> None:
        """Let all callers begin their uploads."""
        threads = []
        for group in self.scenario.groups:
            for caller in group.callers:
                self._left[caller] = group.files
                start = random.uniform(*group.starts)  # noqa: S311 - not for secrets
                for number in range(group.parallel):
                    target = (caller, number, start)
                    threads.append(threading.Thread(target=self._begin_uploads, args=target))
        self.began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _begin_uploads(self, caller: int, number: int, start: float) -> None:
        claims = {"sub": f"caller {caller}", "exp": int(time.time()) + 10**6}
        token = jwt.encode(claims, SECRET)
        port = self.ports[(caller + number) % len(self.ports)]
        time.sleep(max(0, self.began + start - time.monotonic()))
        leaves = random.random() < self.scenario.leavers  # noqa: S311 - not for secrets
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {token}"
            while not self._is_over and self._take_file(caller):
                if not self._begin(session, port, caller, leaves=leaves):
                    return

    def _take_file(self, caller: int) -> bool:
        with self._lock:
            self._left[caller] -= 1
            return self._left[caller] >= 0

    def _begin(self, session: requests.Session, port: int, caller: int, *, leaves: bool) -> bool:
        """Begin one upload; return whether the caller continues."""
        asked, ticket, url = time.monotonic(), "", f"http://{HOST}:{port}/uploads"
        while not self._is_over:
            headers = {"Upload-Ticket": ticket} if self.scenario.knows_tickets else {}
            try:
                with self._containers[port]:
                    response = session.post(url, json=FILE, headers=headers, timeout=60)
            except requests.RequestException:
                time.sleep(1)  # The broker was killed.
                continue
            body, now = response.json(), time.monotonic()
            with self._lock:
                self.statuses[f"{response.status_code} {body.get('code', '')}".strip()] += 1
                if response.ok:
                    self.got[caller].append((now - self.began, now - asked))
            if response.ok:
                return True
            if leaves:
                return False
            ticket = body.get("ticket", "")
            left = self.began + self.scenario.seconds - now
            time.sleep(max(0, min(float(response.headers.get("Retry-After", "1")), left)))
        return False


class Brokers:
    """Broker processes, which may be killed and started again.

    Args:
        folder: The folder for their logs.
        upstream: The stand-in for Sync.
        scenario: What happens to them.
        settings: Their settings.
    """

    def __init__(
        self,
        folder: Path,
        upstream: RunningUpstream,
        scenario: Scenario,
        settings: Mapping[str, str],
    ) -> None:
        self.ports = [free_port() for _ in range(BROKERS)]
        self._folder, self._upstream = folder, upstream
        self._scenario, self._settings = scenario, settings
        self._processes = [self._start(number) for number in range(BROKERS)]
        self._ended = threading.Event()
        while not all(map(_is_healthy, self.ports)):
            time.sleep(0.2)
        with ThreadPoolExecutor(BROKERS * WARM) as pool:
            list(pool.map(_warm, self.ports * WARM))

    def _start(self, number: int) -> Any:
        errors = self._scenario.machine_errors
        wrong = {"MACHINE_ERROR": str(errors[number])} if errors else {}
        return start_broker(
            self._folder,
            number,
            self.ports[number],
            self._upstream,
            PRESIGNS_PER_MINUTE=str(PER_MINUTE),
            MAX_OPEN_UPLOADS="100000",
            **self._settings,
            **wrong,
        )

    def kill_some(self) -> None:
        """Kill one after the other, and start it again, until `end` is called."""
        while not self._ended.wait(self._scenario.kill_every):
            number = random.randrange(BROKERS)  # noqa: S311 - not for secrets
            end_broker(self._processes[number])
            self._processes[number] = self._start(number)

    def end(self) -> None:
        """Kill all of them."""
        self._ended.set()
        for process in self._processes:
            end_broker(process)


def _warm(port: int) -> None:
    """Let a broker open a connection to DynamoDB, as one that has served requests has done."""
    token = jwt.encode({"sub": "warm", "exp": int(time.time()) + 600}, SECRET)
    headers = {"Authorization": f"Bearer {token}"}
    requests.get(f"http://{HOST}:{port}/limits", headers=headers, timeout=60).raise_for_status()


def _is_healthy(port: int) -> bool:
    try:
        return requests.get(f"http://{HOST}:{port}/health", timeout=5).ok
    except requests.RequestException:
        return False


@contextmanager
def other_program(upstream: RunningUpstream, per_minute: int) -> Iterator[Counter[int]]:
    """Send presigns with the same key, past the brokers, and count their statuses."""
    statuses: Counter[int] = Counter()
    ended = threading.Event()

    def send() -> None:
        while per_minute and not ended.wait(60 / per_minute):
            response = requests.post(
                f"{upstream.url}/v2/assets/upload", json=FILE, headers={"x-api-key": KEY}, timeout=9
            )
            statuses[response.status_code] += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield statuses
    finally:
        ended.set()
        thread.join()


def calls_by_response(folder: Path) -> str:
    """Return how many calls of DynamoDB `POST /uploads` took, by response."""
    calls: dict[str, list[int]] = defaultdict(list)
    for path in folder.glob("broker-*.log"):
        for text in path.read_text().splitlines():
            line = json.loads(text) if text.startswith('{"') else {}
            if (line.get("method"), line.get("route")) == ("POST", "/uploads"):
                kind = f"{line['status']} {line.get('code', '')}".strip()
                calls[kind].append(line["dynamodbCalls"])
    return ", ".join(f"{kind} {mean(found):.1f}" for kind, found in sorted(calls.items()))


def report(
    name: str, demand: Demand, upstream: RunningUpstream, foreign: Counter[int], folder: Path
) -> bool:
    """Print the results.

    Returns:
        Whether Sync got at most the budget.
    """
    presigns = [
        one
        for one in upstream.journal()
        if (one["method"], one["path"]) == ("POST", "/v2/assets/upload")
    ]
    refused = sum(one["status"] == requests.codes.too_many_requests for one in presigns)
    times = sorted(one["time"] * 1000 for one in presigns)
    most = most_in_a_minute(times)
    counts = {caller: len(found) for caller, found in demand.got.items()}
    light = [one for caller, found in demand.got.items() if caller != HEAVY for one in found]
    after = [sum(at > 61 for at, _ in demand.got[caller]) for caller in counts]  # noqa: PLR2004 - the first window
    minutes = Counter(int((at - times[0]) // 60_000) for at in times)
    print(f"\n{name}: {dict(demand.statuses.most_common())}")
    print(
        f"  sent {len(times)}, 429 of Sync {refused} (other program {dict(foreign)}), at most "
        f"{most} in any 60 s, last after {(times[-1] - times[0]) / 1000:.1f} s; by minute "
        f"{[minutes[minute] for minute in range(max(minutes) + 1)]}"
    )
    waits = sorted(wait for found in demand.got.values() for _, wait in found)
    last = max(light, default=(0, 0))[0]
    print(
        f"  light ones: {len(light)} uploads, the last after {last:.1f} s, "
        f"longest wait {max((wait for _, wait in light), default=0):.1f} s; all: median wait "
        f"{waits[len(waits) // 2]:.1f} s, longest {waits[-1]:.1f} s"
    )
    print(f"  Jain's index {jain(counts.values()):.3f}, after the first window {jain(after):.3f}")
    print(f"  DynamoDB calls by response: {calls_by_response(folder)}", flush=True)
    return bool(foreign) or (refused == 0 and most <= PER_MINUTE)


def run(name: str, scenario: Scenario) -> bool:
    """Start the processes, run a scenario, report its results, and stop the processes."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "clock").write_text("0")
        port = stack.enter_context(running_dynamodb(folder))
        table.create(clients.dynamodb(), "system")
        upstream = RunningUpstream(folder / "upstream")
        stack.callback(upstream.stop)
        upstream.behave(presignsPerMinute=PER_MINUTE, rateWindow=scenario.window)
        settings = {"UPLOADS_TABLE": "system"}
        if scenario.table_seconds:
            proxy = FaultyDynamoDB(port)
            stack.callback(proxy.refuse)
            proxy.order(
                "slow-after", "UpdateItem", "limit#presigns", seconds=scenario.table_seconds
            )
            settings["AWS_ENDPOINT_URL"] = proxy.url
        brokers = Brokers(folder, upstream, scenario, settings)
        stack.callback(brokers.end)
        if scenario.kill_every:
            killer = threading.Thread(target=brokers.kill_some, daemon=True)
            killer.start()
        demand = Demand(scenario, brokers.ports)
        with other_program(upstream, scenario.foreign) as foreign:
            demand.run()
        return report(name, demand, upstream, foreign, folder)


def main() -> None:
    """Run the scenarios that the arguments name, or all."""
    names = sys.argv[1:] or list(SCENARIOS)
    if names == ["list"]:
        print("\n".join(SCENARIOS))
        return
    results = [run(name, SCENARIOS[name]) for name in names]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
