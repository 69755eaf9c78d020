"""Measure how fast the sweep works off a backlog: `python benchmarks/sweep_rate.py [uploads]`.

Ten thousand uploads whose tabs were closed are written straight into the emulator's table. Then
one container sweeps, a minute's run after the other, until nothing is due. Emulator, sync.'s
stand-in and the sweep share this machine, so the figure is a lower bound.
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from parts import HOST, KEY, SECRET, RunningUpstream, running_dynamodb

# The import above lets these be found.
from chalicelib.aws import codec  # isort: skip
from chalicelib.uploads import items  # isort: skip
from chalicelib.core import log  # isort: skip
from chalicelib.aws import clients  # isort: skip
from chalicelib import bootstrap  # isort: skip
from chalicelib.uploads.models import Status  # isort: skip
from chalicelib.uploads.models import Target  # isort: skip
from chalicelib.uploads.models import Upload  # isort: skip
from ops import table  # isort: skip

TABLE = "sweep"
OWNER = "0" * 32
RUN_SECONDS = 28  # of a Lambda function's minute, less its longest attempt
BATCH = 25  # DynamoDB takes no more in one call


def uploads(count: int, address: str) -> list[Upload]:
    """Make uploads that are due; their bytes lie at one address, which each registers anew."""
    begun = int(time.time() * 1000) - 120_000
    target = Target(address, address, begun, begun + 3_600_000)
    return [
        Upload(
            id=f"{number * 2654435761 % 2**32:08x}{number:024x}",
            owner=OWNER,
            status=Status.PENDING,
            created_at=begun,
            updated_at=begun,
            type="VIDEO",
            max_bytes=10**9,
            file_name="a.mp4",
            content_type="video/mp4",
            size=5,
            name=f"file {number}",
            targets=(target,),
            due_at=begun + 60_000,
        )
        for number in range(count)
    ]


def write(backlog: list[Upload]) -> None:
    """Write them, and their caller's open places."""
    client = clients.dynamodb()
    for start in range(0, len(backlog), BATCH):
        wanted = [
            {"PutRequest": {"Item": items.from_upload(one, f"upload#{one.id}")}}
            for one in backlog[start : start + BATCH]
        ]
        client.batch_write_item(RequestItems={TABLE: wanted})
    places = {"pk": f"quota#{OWNER}", "open": len(backlog)}
    client.put_item(TableName=TABLE, Item=codec.values(places))


def measure(upstream: RunningUpstream, count: int) -> bool:
    """Sweep until nothing is due, and print the rate; say whether all were registered."""
    write(uploads(count, upstream.upload()))
    broker = bootstrap.build(
        {
            "UPLOADS_TABLE": TABLE,
            "AUTH_MODE": "jwt",
            "JWT_SECRET": SECRET,
            "SYNC_API_KEY": KEY,
            "SYNC_BASE_URL": upstream.url,
            "SYNC_STORAGE_HOSTS": f"{HOST}:{upstream.port}",
            "SWEEP_REGISTERS_PER_MINUTE": "10000",
        }
    )
    log.configure("ERROR")
    settled, runs, started = 0, 0, time.monotonic()
    while swept := broker.sweeper.run(RUN_SECONDS).settled:
        settled += swept
        runs += 1
        took = time.monotonic() - started
        print(f"run {runs}: {swept} registered, {settled} in {took:.0f} s", flush=True)
    took = time.monotonic() - started
    made = upstream.call("GET", "/v2/assets").json()["totalCount"]
    print(f"{settled} of {count} due uploads worked off in {took:.0f} s: {settled / took:.0f}/s")
    print(f"assets {made}, duplicates {made - settled}")
    return settled == count == made


def main() -> None:
    """Start an emulator and sync.'s stand-in, measure, and stop them."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(running_dynamodb(folder))
        table.create(clients.dynamodb(), TABLE)
        upstream = RunningUpstream(folder / "upstream")
        stack.callback(upstream.stop)
        fine = measure(upstream, count)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
