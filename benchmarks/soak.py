"""Upload a thousand files with many faults: `python -m benchmarks.soak [seed] [uploads]`.

Several broker processes use a faulty DynamoDB and a faulty Sync. Every few seconds, one broker is
killed with SIGKILL and started again. Some browsers close the tab after the PUT, some renew the
upload URL before it, and some register the same public URL with an Idempotency-Key. At the end the
faults stop, sweeps run, and each file must have exactly one asset, which the broker has recorded.
The brokers' clocks run ten times as fast as real time, so that leases and settle times end within
seconds. Printed times are those of the brokers' clocks.
"""

import os
import random
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from statistics import quantiles

from benchmarks.parts import HOST, end_broker, listens, running_dynamodb, use_dynamodb
from benchmarks.soak_system import (
    BROKERS,
    BROWSERS,
    LONGEST_DELAY,
    PUBLIC,
    SPEED,
    URL_LIFE,
    Browser,
    File,
    System,
    inject_faults,
)
from chalicelib.aws import clients
from ops import table
from tests.support.faulty_dynamodb import FaultyDynamoDB
from tests.support.upstream_process import RunningUpstream


def assets(upstream: RunningUpstream) -> dict[str, list[str]]:
    """Return the ids of Sync's assets, by their names."""
    found: dict[str, list[str]] = {}
    query = {"limit": "100"}
    while True:
        page = upstream.call("GET", "/v2/assets", params=query).json()
        for asset in page["items"]:
            found.setdefault(asset["name"], []).append(asset["id"])
        if not page.get("nextCursor"):
            return found
        query["cursor"] = page["nextCursor"]


def heal(system: System) -> None:
    """End all faults, and wait until delayed requests have been carried out."""
    system.upstream.call("DELETE", "/_sandbox/faults")
    system.dynamodb.heal()
    time.sleep(LONGEST_DELAY + 2)


def settle(system: System, browsers: list[Browser]) -> None:
    """Advance the clocks until no upload is unfinished, at most 40 times."""
    for _ in range(40):
        states = [one["status"] for browser in browsers for one in browser.records()]
        if not {"pending", "registering"} & set(states):
            return
        system.advance(4000)
        system.set_upstream()
        time.sleep(60 / SPEED)


def report(system: System, browsers: list[Browser], files: list[list[File]]) -> bool:
    """Print the figures.

    Returns:
        Whether each file has exactly one asset.
    """
    created = assets(system.upstream)
    everything = [one for browser in browsers for one in browser.records()]
    # If the response with the id was lost, the browser's next upload has the same name.
    ids = {file.id for some in files for file in some}
    records = {one["name"]: one for one in everything if one["id"] in ids}
    by_name = {file.name: file for some in files for file in some}
    landed = [name for name, file in by_name.items() if file.landed]
    duplicates = sum(len(ids) - 1 for ids in created.values())
    stray = [name for name in created if name not in by_name or not by_name[name].landed]
    acknowledged = {
        name: asset for browser in browsers for name, asset in browser.acknowledged.items()
    }
    lost = [
        name
        for name in landed
        if records.get(name, {}).get("status") != "registered"
        or created.get(name) != [records[name]["asset"]["id"]]
    ]
    changed = [
        name for name, asset in acknowledged.items() if records[name]["asset"]["id"] != asset
    ]
    waits = [
        datetime.fromisoformat(records[name]["updatedAt"]).timestamp() - file.closed
        for name, file in by_name.items()
        if file.closed is not None and file.landed and name not in lost
    ]
    unfinished = [one for one in everything if one["status"] in {"pending", "registering"}]
    limits = [browser.call("GET", "/limits") for browser in browsers]
    reserved = sum(1000 - one.json()["openUploads"]["left"] for one in limits if one is not None)
    public = sum(bool(file.url) for file in by_name.values())
    renewed = sum(browser.renewed for browser in browsers)
    print(f"public URLs {public}, renewed upload URLs {renewed}")
    print(f"uploads {len(by_name)}, stored {len(landed)}, assets {sum(map(len, created.values()))}")
    print(f"faults {system.faults}, kills {system.kills}, acknowledged {len(acknowledged)}")
    print(f"duplicates {duplicates}, lost {len(lost)}, stray {len(stray)}, changed {len(changed)}")
    print(f"unfinished {len(unfinished)}, quota not released {reserved}")
    print(f"recovered by the sweep: {len(waits)}")
    cuts = quantiles(waits, n=20, method="inclusive")
    print(
        f"closed tab to recorded asset: median {cuts[9]:.0f} s, 95 % {cuts[18]:.0f} s, "
        f"longest {max(waits):.0f} s"
    )
    for name in (*lost, *stray, *changed):
        print(f"  {name}: {records.get(name)}, assets {created.get(name)}")
    return not (duplicates or lost or stray or changed or unfinished)


def run(system: System, seed: int, count: int) -> bool:
    """Upload with faults, end the faults, and report the results."""
    system.brokers = [system.start(number) for number in range(BROKERS)]
    while not all(map(listens, system.ports)):
        time.sleep(0.1)
    browsers = [Browser(system, number, seed) for number in range(BROWSERS)]
    chance = random.Random(seed)  # noqa: S311 - reproducible
    shared = system.upstream.upload().replace(HOST, "localhost")

    def file(number: int, browser: int) -> File:
        url = shared if chance.random() < PUBLIC else ""
        return File(f"file {number} of {browser}", url=url)

    files = [
        [file(number, browser) for number in range(browser, count, BROWSERS)]
        for browser in range(BROWSERS)
    ]
    ended = threading.Event()
    faults = threading.Thread(target=inject_faults, args=(system, seed, ended))
    faults.start()
    clock = threading.Thread(target=system.keep_time, args=(ended,))
    clock.start()
    started = time.monotonic()

    def work(number: int) -> None:
        for file in files[number]:
            browsers[number].upload(file)

    with ThreadPoolExecutor(BROWSERS) as pool:
        list(pool.map(work, range(BROWSERS)))
    # Some sweeps run with faults, too.
    time.sleep(20)
    ended.set()
    faults.join()
    clock.join()
    print(f"seed {seed}, {time.monotonic() - started:.0f} s with faults")
    heal(system)
    time.sleep(240 / SPEED)
    settle(system, browsers)
    return report(system, browsers, files)


def main() -> None:
    """Start all processes, run the soak test, and stop the processes."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000  # noqa: PLR2004 - the second argument
    with ExitStack() as stack:
        folder = Path(
            os.environ.get("SOAK_DIR") or stack.enter_context(tempfile.TemporaryDirectory())
        )
        (folder / "clock").write_text("0")
        proxy = FaultyDynamoDB(stack.enter_context(running_dynamodb(folder)))
        stack.callback(proxy.refuse)
        use_dynamodb(proxy.port, folder)
        table.create(clients.dynamodb(), "soak")
        upstream = RunningUpstream(folder / "upstream")
        stack.callback(upstream.stop)
        upstream.behave(presignsPerMinute=1_000_000, expiresIn=URL_LIFE)
        system = System(folder, proxy, upstream)
        try:
            is_successful = run(system, seed, count)
        finally:
            for process in system.brokers:
                end_broker(process)
    sys.exit(0 if is_successful else 1)


if __name__ == "__main__":
    main()
