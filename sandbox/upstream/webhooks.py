"""Webhooks: one signed POST when a generation ends, without retries."""

import asyncio
import hashlib
import hmac
import json
import sys

import aiohttp

from sandbox.upstream.behavior import Behavior
from sandbox.upstream.generation_records import generation_json
from sandbox.upstream.state import Upstream

_SECONDS = 10.0  # for the receiver to respond


def sign(body: bytes, secret: str, now: int) -> str:
    """Return the header's value: HMAC-SHA256 of time and raw body, as documented.

    Args:
        body: The raw body.
        secret: The whole secret, including `whsec_`.
        now: Unix seconds.
    """
    proof = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={now},v1={proof}"


def schedule_webhook(upstream: Upstream, generation_id: str) -> None:
    """Schedule the webhook of a generation for its end, if its body has a `webhookUrl`."""
    task = asyncio.get_running_loop().create_task(_notify(upstream, generation_id))
    upstream.tasks.add(task)
    task.add_done_callback(upstream.tasks.discard)


def resume_webhooks(upstream: Upstream) -> None:
    """Schedule the webhooks that an earlier process did not send."""
    for row in upstream.database.rows("SELECT id FROM generations WHERE notified = 0"):
        schedule_webhook(upstream, row["id"])


async def _notify(upstream: Upstream, generation_id: str) -> None:
    row = upstream.database.one("SELECT * FROM generations WHERE id = ?", (generation_id,))
    url = json.loads(row["request"]).get("webhookUrl") if row is not None else None
    if row is None or url is None:
        return
    await asyncio.sleep(max(0.0, row["ready_at"] - upstream.clock()))
    # It is marked as sent before it is sent, so that a restart never sends it twice.
    upstream.database.run("UPDATE generations SET notified = 1 WHERE id = ?", (generation_id,))
    payload = generation_json(upstream, row)
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
