"""Simulate containers that start at once and read their secrets: `python -m benchmarks.ssm_burst`.

SSM allows 40 calls a second for an account and throttles the others. Each container runs the
broker's own code, once while it starts and once more in its first request if that failed. Time is
simulated: a container that pauses lets the next one run. The bucket's size is not documented; it
is assumed to hold one second's calls.
"""

import argparse
import heapq
import itertools
import random
import statistics
import threading
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.secrets import CachedSecret, Parameters
from chalicelib.core import log
from chalicelib.core.clock import Clock
from chalicelib.core.errors import SecretsUnavailable

PER_SECOND = 40.0
VALUES = {"/broker/api-key": "the-key", "/broker/jwt-secret": "the-secret"}
STARTING_SECONDS = 0.3  # within which all containers start
CALL_SECONDS = 0.02  # a call of SSM
CONTAINERS = (40, 100, 200, 300, 400, 500, 1000)


class Simulation(Clock):
    """Threads that run one at a time, each until it sleeps."""

    def __init__(self) -> None:
        self._time = 0.0
        self._waiting: list[tuple[float, int, threading.Event]] = []
        self._numbers = itertools.count()
        self._ran = threading.Event()

    def monotonic(self) -> float:
        """Return the simulated time in seconds."""
        return self._time

    def sleep(self, seconds: float) -> None:
        """Let the other threads run until this one's time has come."""
        turn = threading.Event()
        heapq.heappush(self._waiting, (self._time + seconds, next(self._numbers), turn))
        self._ran.set()
        turn.wait()

    def run(self, *works: Callable[[], None]) -> None:
        """Run all of them to their ends."""

        def ended(work: Callable[[], None]) -> None:
            self.sleep(0)
            work()
            self._ran.set()

        for work in works:
            self._ran.clear()
            threading.Thread(target=ended, args=(work,), daemon=True).start()
            self._ran.wait()
        while self._waiting:
            self._time, _, turn = heapq.heappop(self._waiting)
            self._ran.clear()
            turn.set()
            self._ran.wait()


class Ssm:
    """SSM's quota: a bucket that is refilled evenly."""

    def __init__(self, clock: Simulation) -> None:
        self._clock = clock
        self._left = PER_SECOND
        self._filled_at = 0.0
        self.calls = 0

    def get_parameters(self, **_: Any) -> dict[str, Any]:
        """Return the parameters, or raise as boto3 does for a throttled call."""
        self._clock.sleep(CALL_SECONDS)
        self.calls += 1
        now = self._clock.monotonic()
        self._left = min(PER_SECOND, self._left + (now - self._filled_at) * PER_SECOND)
        self._filled_at = now
        if self._left < 1:
            raise ClientError(
                {
                    "Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"},
                    "ResponseMetadata": {"HTTPStatusCode": 400},  # type: ignore[typeddict-item]
                },
                "GetParameters",
            )
        self._left -= 1
        return {
            "Parameters": [
                {"Name": name, "Value": value, "Type": "SecureString"}
                for name, value in VALUES.items()
            ]
        }


def burst(containers: int) -> tuple[int, list[float], int]:
    """Start containers; return how many first requests failed, all seconds, and SSM's calls."""
    clock = Simulation()
    ssm: Any = Ssm(clock)
    failed = 0
    seconds: list[float] = []

    def reads(secrets: list[CachedSecret]) -> bool:
        try:
            for one in secrets:
                one.current()
        except SecretsUnavailable:
            return False
        return True

    def container() -> None:
        nonlocal failed
        clock.sleep(random.uniform(0, STARTING_SECONDS))  # noqa: S311 - a simulation
        started = clock.monotonic()
        stored = Parameters(lambda: ssm, list(VALUES), clock)
        secrets = [stored.secret(name, str) for name in VALUES]
        # Once while it starts, whatever comes of it, and then in the first request.
        if not (reads(secrets) or reads(secrets)):
            failed += 1
        seconds.append(clock.monotonic() - started)

    clock.run(*[container] * containers)
    return failed, seconds, ssm.calls


def main() -> None:
    """Print a row for each number of containers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="bursts of each size")
    runs = parser.parse_args().runs
    log.configure("CRITICAL")
    print("| containers at once | first requests with 503 | p50 s | p99 s | calls of SSM |")
    print("|---|---|---|---|---|")
    for containers in CONTAINERS:
        done = [burst(containers) for _ in range(runs)]
        share = sum(one[0] for one in done) / containers / runs
        times = sorted(itertools.chain.from_iterable(one[1] for one in done))
        p99 = times[int(len(times) * 0.99)]
        calls = statistics.mean(one[2] for one in done)
        print(
            f"| {containers:,} | {share:.1%} | {statistics.median(times):.1f} | {p99:.1f}"
            f" | {calls:,.0f} |"
        )


if __name__ == "__main__":
    main()
