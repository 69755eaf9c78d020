"""Upload a thousand files in trouble: `python benchmarks/soak.py [seed] [uploads]`.

Several real broker processes stand between a faulty DynamoDB and a faulty sync.; every few seconds
one of them is killed with SIGKILL and started again. A part of the browsers closes its tab after
the PUT, another part renews its address before, and some register a public URL, which all of them
share, with an Idempotency-Key. In the end everything heals, sweeps run, and each file must have
exactly one asset, which is recorded. The brokers' clocks run ten times as fast as ours, so that
leases and settle times end within seconds; times are printed as the brokers' clocks measure them.
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

from parts import HOST, end_broker, listens, running_dynamodb, use_dynamodb
from soak_system import (
    BROKERS,
    BROWSERS,
    LONGEST_DELAY,
    PUBLIC,
    SPEED,
    URL_LIFE,
    Browser,
    FaultyDynamoDB,
    File,
    RunningUpstream,
    System,
    trouble,
)

# The import above lets these be found.
from chalicelib.aws import clients  # isort: skip
from ops import table  # isort: skip


def assets(upstream: RunningUpstream) -> dict[str, list[str]]:
    """List what sync. holds: ids by name."""
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
    """End all trouble, and wait until what was delayed has been carried out."""
    system.upstream.call("DELETE", "/_sandbox/faults")
    system.dynamodb.heal()
    time.sleep(LONGEST_DELAY + 2)


def settle(system: System, browsers: list[Browser]) -> None:
    """Let time pass until nothing is unfinished, or long enough."""
    for _ in range(40):
        states = [one["status"] for browser in browsers for one in browser.records()]
        if not {"pending", "registering"} & set(states):
            return
        system.advance(4000)
        system.set_upstream()
        time.sleep(60 / SPEED)


def report(system: System, browsers: list[Browser], files: list[list[File]]) -> bool:
    """Print the figures; say whether every rule held."""
    made = assets(system.upstream)
    everything = [one for browser in browsers for one in browser.records()]
    # An upload whose id was lost on its way has the same name as the next try.
    ids = {file.id for some in files for file in some}
    records = {one["name"]: one for one in everything if one["id"] in ids}
    by_name = {file.name: file for some in files for file in some}
    landed = [name for name, file in by_name.items() if file.landed]
    duplicates = sum(len(ids) - 1 for ids in made.values())
    stray = [name for name in made if name not in by_name or not by_name[name].landed]
    told = {name: asset for browser in browsers for name, asset in browser.told.items()}
    lost = [
        name
        for name in landed
        if records.get(name, {}).get("status") != "registered"
        or made.get(name) != [records[name]["asset"]["id"]]
    ]
    broken = [name for name, asset in told.items() if records[name]["asset"]["id"] != asset]
    waits = [
        datetime.fromisoformat(records[name]["updatedAt"]).timestamp() - file.closed
        for name, file in by_name.items()
        if file.closed is not None and file.landed and name not in lost
    ]
    open_ones = [one for one in everything if one["status"] in {"pending", "registering"}]
    left = [browser.call("GET", "/limits") for browser in browsers]
    kept = sum(1000 - one.json()["openUploads"]["left"] for one in left if one is not None)
    public = sum(bool(file.url) for file in by_name.values())
    renewed = sum(browser.renewed for browser in browsers)
    print(f"public URLs {public}, renewed addresses {renewed}")
    print(f"uploads {len(by_name)}, landed {len(landed)}, assets {sum(map(len, made.values()))}")
    print(f"faults {system.faults}, kills {system.kills}, acknowledged {len(told)}")
    print(
        f"duplicates {duplicates}, lost {len(lost)}, stray {len(stray)}, taken back {len(broken)}"
    )
    print(f"unfinished {len(open_ones)}, open places not given back {kept}")
    print(f"recovered by the sweep: {len(waits)}")
    cuts = quantiles(waits, n=20, method="inclusive")
    print(
        f"closed tab to recorded asset: median {cuts[9]:.0f} s, 95 % {cuts[18]:.0f} s, "
        f"longest {max(waits):.0f} s"
    )
    for name in (*lost, *stray, *broken):
        print(f"  {name}: {records.get(name)}, assets {made.get(name)}")
    return not (duplicates or lost or stray or broken or open_ones)


def run(system: System, seed: int, count: int) -> bool:
    """Upload in trouble, heal, and look at what is left."""
    system.brokers = [system.start(number) for number in range(BROKERS)]
    while not all(map(listens, system.ports)):
        time.sleep(0.1)
    browsers = [Browser(system, number, seed) for number in range(BROWSERS)]
    chance = random.Random(seed)  # noqa: S311 - it has to be repeatable
    shared = system.upstream.upload().replace(HOST, "localhost")

    def file(number: int, browser: int) -> File:
        url = shared if chance.random() < PUBLIC else ""
        return File(f"file {number} of {browser}", url=url)

    files = [
        [file(number, browser) for number in range(browser, count, BROWSERS)]
        for browser in range(BROWSERS)
    ]
    ended = threading.Event()
    maker = threading.Thread(target=trouble, args=(system, seed, ended))
    maker.start()
    keeper = threading.Thread(target=system.keep_time, args=(ended,))
    keeper.start()
    started = time.monotonic()

    def work(number: int) -> None:
        for file in files[number]:
            browsers[number].upload(file)

    with ThreadPoolExecutor(BROWSERS) as pool:
        list(pool.map(work, range(BROWSERS)))
    # The sweeps have to do some of their work in trouble, too.
    time.sleep(20)
    ended.set()
    maker.join()
    keeper.join()
    print(f"seed {seed}, {time.monotonic() - started:.0f} s of trouble")
    heal(system)
    time.sleep(240 / SPEED)
    settle(system, browsers)
    return report(system, browsers, files)


def main() -> None:
    """Start everything, soak it, and stop it."""
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
            fine = run(system, seed, count)
        finally:
            for process in system.brokers:
                end_broker(process)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
