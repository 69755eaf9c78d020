"""Measure what one caller, and URLs that never answer, can do: `python benchmarks/abuse.py`.

The real app behind its local gateway, in this process, with Sync's stand-in, a site that takes
connections and never answers, and DynamoDB in processes of their own. Nothing is asserted: the
tests count what must hold, and this prints how long it takes.
"""

import collections
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from parts import HOST, RunningUpstream, running_dynamodb

# The import above lets these be found.
from chalicelib.aws import clients  # isort: skip
from ops import table  # isort: skip
from tests.support.running_broker import Api, RunningBroker  # isort: skip

TABLE = "abuse"
FLOOD_SECONDS = 10
HONEST_FILES = 122
SWEPT_FILES = 40
URLS = 150
CALLERS = 30
SETTLED = 200  # seconds after which a lost registration is known to have made nothing


@contextmanager
def silent_site() -> Iterator[str]:
    """Listen, take every connection, and answer none."""
    with socket.create_server((HOST, 0), backlog=256) as listener:
        taken: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://{HOST}:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for one in taken:
            one.close()


def posts(upstream: RunningUpstream) -> int:
    """Count the registrations that reached Sync."""
    calls = [(one["method"], one["path"]) for one in upstream.journal()]
    return calls.count(("POST", "/v2/assets"))


def flood(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Let one caller complete uploads without bytes as fast as it can."""
    api = Api(broker)
    uploads = [api.begin() for _ in range(8)]
    before, ends = posts(upstream), time.monotonic() + FLOOD_SECONDS
    told: collections.Counter[int] = collections.Counter()

    def ask(upload: dict[str, Any]) -> None:
        while time.monotonic() < ends:
            told[api.complete(upload).status_code] += 1

    with ThreadPoolExecutor(len(uploads)) as pool:
        list(pool.map(ask, uploads))
    print(
        f"flood: {sum(told.values())} requests of one caller in {FLOOD_SECONDS} s, "
        f"{posts(upstream) - before} registrations; answers {dict(told)}"
    )


def honest(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """Let files that finish at once be completed by who obeys `Retry-After`."""
    api = Api(broker)
    uploads = [api.landed() for _ in range(HONEST_FILES)]
    before, started = posts(upstream), time.monotonic()

    def complete(upload: dict[str, Any]) -> float:
        while (answer := api.complete(upload)).status_code != 200:  # noqa: PLR2004 - done
            time.sleep(int(answer.headers["Retry-After"]))
        return time.monotonic() - started

    with ThreadPoolExecutor(HONEST_FILES) as pool:
        took = sorted(pool.map(complete, uploads))
    print(
        f"honest: {HONEST_FILES} files of one caller registered within {took[-1]:.1f} s, half of "
        f"them within {took[len(took) // 2]:.1f} s, by {posts(upstream) - before} registrations"
    )


def sweep(broker: RunningBroker) -> tuple[float, float]:
    """Leave some files behind and sweep.

    Returns:
        Seconds until the last of the files was registered, and until the sweep ended.
    """
    callers = [Api(broker) for _ in range(SWEPT_FILES)]
    uploads = [api.landed() for api in callers]
    broker.clock.advance(61)
    started = time.monotonic()
    thread = threading.Thread(target=broker.sweep)
    thread.start()
    left = list(zip(callers, uploads, strict=True))
    while left:
        api, upload = left[0]
        if api.call("GET", f"/uploads/{upload['id']}").json()["status"] == "registered":
            left.pop(0)
        else:
            time.sleep(0.02)
    files = time.monotonic() - started
    thread.join()
    return files, time.monotonic() - started


def main() -> None:
    """Measure, and print."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(running_dynamodb(folder / "dynamodb"))
        table.create(clients.dynamodb(), TABLE)
        upstream = RunningUpstream(folder / "upstream")
        stack.callback(upstream.stop)
        site = stack.enter_context(silent_site())
        broker = RunningBroker(TABLE)
        stack.callback(broker.stop)
        upstream.behave(presignsPerMinute=1_000_000)
        broker.configure(upstream, PUBLIC_URL_EXCEPTIONS=site)
        flood(broker, upstream)
        broker.clock.advance(60)
        honest(broker, upstream)
        broker.clock.advance(60)
        alone, _ = sweep(broker)
        broker.clock.advance(60)
        callers = [Api(broker) for _ in range(CALLERS)]

        def register(number: int) -> int:
            body = {"url": f"{site}/{number}.mp4", "type": "VIDEO"}
            return callers[number % CALLERS].call("POST", "/assets", json=body).status_code

        with ThreadPoolExecutor(URLS) as pool:
            told = collections.Counter(pool.map(register, range(URLS)))
        broker.clock.advance(SETTLED)
        beside, whole = sweep(broker)
        print(
            f"sweep: {SWEPT_FILES} files in {alone:.1f} s; beside {told[202]} URLs in work, of "
            f"{URLS} that {CALLERS} callers sent, in {beside:.1f} s ({beside / alone:.2f} times "
            f"as long); the URLs kept the sweep for {whole - beside:.1f} s more"
        )
        print(f"pages for the operator: {len(broker.lines('outcome_undecided'))}")


if __name__ == "__main__":
    main()
