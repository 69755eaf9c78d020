"""Compare two checkouts: `python -m benchmarks.handler_time OTHER_CHECKOUT [rounds]`.

It measures the broker's own time in `POST /uploads`: the time of a call without the calls of
DynamoDB and of Sync, which are as fast in one checkout as in the other. A process of each checkout
calls its app as Lambda does. Both use one emulator of DynamoDB, each with its own table, and one
stand-in for Sync. They take turns call by call, so a busy machine slows both down alike.
"""

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import jwt

from app import app
from benchmarks.parts import HOST, SECRET, running_dynamodb
from benchmarks.warm import FILE, PAUSE, SkippingClock, event
from chalicelib import bootstrap
from chalicelib.aws import clients
from chalicelib.core import log
from ops import table
from tests.support.upstream_process import KEY, ROOT, RunningUpstream

ROUNDS = 300
# Calls of each process until all modules are loaded and the rate limiter's last minute is full.
UNCOUNTED = 120
ORIGIN = "https://app.example.com"


def serve() -> None:
    """Call this checkout's app once for each line of the input, and print its own time."""
    clock = SkippingClock()
    bootstrap.use(bootstrap.build(os.environ, clock=clock))
    lines = io.StringIO()
    # With a table the lines carry metrics, as on Lambda.
    log.configure("INFO", lines, table=os.environ["UPLOADS_TABLE"])
    for _ in sys.stdin:
        lines.seek(0)
        lines.truncate()
        print(json.dumps({"ms": own_time(lines)}), flush=True)
        # Without the pause the presigns would be more than the rate limiter allows.
        clock.ahead += PAUSE


def own_time(lines: io.StringIO) -> float:
    """Begin an upload as a new caller, and return the call's own time in milliseconds.

    Args:
        lines: Where the app writes its log.
    """
    claims = {"sub": uuid.uuid4().hex, "exp": int(time.time()) + 600}
    sent = event(jwt.encode(claims, SECRET, "HS256"), "POST", "/uploads", FILE)
    started = time.perf_counter()
    response = app(sent, None)
    took = (time.perf_counter() - started) * 1000
    if response["statusCode"] != 201:  # noqa: PLR2004 - created
        sys.exit(f"POST /uploads returned {response['statusCode']}: {response['body']}")
    request: dict[str, float] = json.loads(lines.getvalue().splitlines()[-1])
    return took - request["dynamodbMs"] - request["upstreamMs"]


class Checkout:
    """A process that calls the app of a checkout.

    Args:
        folder: The checkout.
        name: The name of its table.
        upstream: The stand-in for Sync.
    """

    def __init__(self, folder: Path, name: str, upstream: RunningUpstream) -> None:
        self.folder = folder
        self.times: list[float] = []
        table.create(clients.dynamodb(), name)
        # With -P, Python imports from PYTHONPATH and not from the folder of this file. The other
        # checkout may lack this file, so both run this one.
        self._process = subprocess.Popen(  # noqa: S603 - the project's own program
            [sys.executable, "-P", __file__, "--serve"],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(folder),
                "UPLOADS_TABLE": name,
                "AUTH_MODE": "jwt",
                "JWT_SECRET": SECRET,
                "SYNC_API_KEY": KEY,
                "SYNC_BASE_URL": upstream.url,
                "SYNC_STORAGE_HOSTS": f"{HOST}:{upstream.port}",
                "ALLOWED_ORIGINS": ORIGIN,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self) -> float:
        """Let the process call its app once, and return the call's own time in milliseconds."""
        print(file=self._process.stdin, flush=True)
        answer = next(self._process.stdout or iter(()), "") or sys.exit(f"{self.folder} failed")
        return float(json.loads(answer)["ms"])

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()


def measure(checkouts: list[Checkout], rounds: int) -> None:
    """Let the checkouts take turns, and print their times."""
    for number in range(UNCOUNTED + rounds):
        # Each of them is the first as often as the other.
        for checkout in checkouts if number % 2 else reversed(checkouts):
            took = checkout.call()
            if number >= UNCOUNTED:
                checkout.times.append(took)
    width = max(len(str(checkout.folder)) for checkout in checkouts)
    print(f"{f'own ms of POST /uploads, of {rounds}':{width}}{'p50':>8}{'p95':>8}")
    found = []
    for checkout in checkouts:
        cuts = statistics.quantiles(checkout.times, n=20)
        found.append((cuts[9], cuts[18]))
        print(f"{checkout.folder!s:{width}}{cuts[9]:8.2f}{cuts[18]:8.2f}")
    ratios = [one / other for one, other in zip(*found, strict=True)]
    print(f"{'ratio':{width}}" + "".join(f"{ratio:8.2f}" for ratio in ratios))


def main() -> None:
    """Start the parts and a process of each checkout, and compare them."""
    if "--serve" in sys.argv:
        serve()
        return
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    other = Path(sys.argv[1]).resolve()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(running_dynamodb(folder))
        upstream = RunningUpstream(folder)
        stack.callback(upstream.stop)
        upstream.behave(presignsPerMinute=1_000_000)
        checkouts = [Checkout(ROOT, "this", upstream), Checkout(other, "other", upstream)]
        for checkout in checkouts:
            stack.callback(checkout.stop)
        measure(checkouts, int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS)  # noqa: PLR2004 - given


if __name__ == "__main__":
    main()
