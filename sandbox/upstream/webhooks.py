"""Webhooks: one POST when a generation ends, signed as documented, never repeated."""

import asyncio
import hashlib
import hmac
import json
import sys

import aiohttp

from sandbox.upstream.behavior import Behavior
from sandbox.upstream.generation_records import show_generation
from sandbox.upstream.state import Upstream

_SECONDS = 10.0  # that the receiver has


def sign(body: bytes, secret: str, now: int) -> str:
    """Give the header's value: HMAC-SHA256 of time and raw body, as documented.

    Args:
        body: As it is sent.
        secret: As it stands, `whsec_` included.
        now: Unix seconds.
    """
    proof = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={now},v1={proof}"


def schedule_webhook(upstream: Upstream, generation_id: str) -> None:
    """Send the webhook of a generation when it ends, if it asked for one."""
    task = asyncio.get_running_loop().create_task(_notify(upstream, generation_id))
    upstream.tasks.add(task)
    task.add_done_callback(upstream.tasks.discard)


def resume_webhooks(upstream: Upstream) -> None:
    """Schedule those that were not sent before the process ended."""
    for row in upstream.database.rows("SELECT id FROM generations WHERE notified = 0"):
        schedule_webhook(upstream, row["id"])


async def _notify(upstream: Upstream, generation_id: str) -> None:
    row = upstream.database.one("SELECT * FROM generations WHERE id = ?", (generation_id,))
    url = json.loads(row["request"]).get("webhookUrl") if row is not None else None
    if row is None or url is None:
        return
    await asyncio.sleep(max(0.0, row["ready_at"] - upstream.clock()))
    # Marked before it is sent: no retry is promised, and nobody should be told twice.
    upstream.database.run("UPDATE generations SET notified = 1 WHERE id = ?", (generation_id,))
    payload = show_generation(upstream, row)
    payload["status"] = "COMPLETED" if payload["status"] == "COMPLETED" else "FAILED"
    await _send(url, json.dumps(payload).encode(), upstream.behavior, int(upstream.now()))


async def _send(url: str, body: bytes, behavior: Behavior, now: int) -> None:
    headers = {
        "Content-Type": "application/json",
        behavior.webhook_header: sign(body, behavior.webhook_secret, now),
    }
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False),
        ):
            pass
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        reason = type(error).__name__
        print(f"webhook to {url} failed: {reason}", file=sys.stderr)
