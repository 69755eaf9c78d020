"""The rows of generations, and the JSON of a generation.

The status is computed from the time, so a restart loses none.
"""

import json
import sqlite3
from typing import Any
from urllib.parse import urlsplit

from sandbox.upstream.assets import new_id, timestamp
from sandbox.upstream.generation_input import source_of
from sandbox.upstream.problems import Problem
from sandbox.upstream.state import Upstream

STATUSES = ("PENDING", "PROCESSING", "COMPLETED", "FAILED", "REJECTED")
_PENDING_PART = 0.25  # share of a generation's time in which it is pending; then it is processing
_OUTPUT_SECONDS = 3600  # lifetime of a signed output URL
_ERRORS = {
    "FAILED": ("The generation failed, as generationOutcome demands", "generation_failed"),
    "REJECTED": ("The input was rejected, as generationOutcome demands", "generation_rejected"),
}


def find_by_key(upstream: Upstream, key: str | None, body: dict[str, Any]) -> sqlite3.Row | None:
    """Return the generation that an `Idempotency-Key` has started, or None.

    Raises:
        Problem: The key was used with another body.
    """
    if key is None:
        return None
    row = upstream.database.one("SELECT * FROM generations WHERE idempotency_key = ?", (key,))
    if row is not None and json.loads(row["request"]) != body:
        # The vendor does not document this case; the IETF draft for the header requires 422.
        raise Problem(422, "This Idempotency-Key was used with another body")
    return row


def add_generation(upstream: Upstream, body: dict[str, Any], key: str | None) -> sqlite3.Row:
    """Add a generation, and return its row."""
    generation_id = new_id()
    source = source_of(upstream, body)
    upstream.database.run(
        "INSERT INTO generations (id, created_at, ready_at, request, outcome, source_key,"
        " duration, idempotency_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            generation_id,
            upstream.clock(),
            upstream.clock() + upstream.behavior.generation_seconds,
            json.dumps(body),
            upstream.behavior.generation_outcome,
            source["object_key"] if source else None,
            source["duration"] if source else None,
            key,
        ),
    )
    return find_generation(upstream, generation_id)


def find_generation(upstream: Upstream, generation_id: str) -> sqlite3.Row:
    """Return the generation with an id.

    Raises:
        Problem: 404.
    """
    row = upstream.database.one("SELECT * FROM generations WHERE id = ?", (generation_id,))
    if row is None:
        raise Problem(404, f"Generation {generation_id} not found", code="generation_not_found")
    return row


def generation_json(upstream: Upstream, row: sqlite3.Row) -> dict[str, Any]:
    """Return a generation as JSON, with its present status."""
    body = json.loads(row["request"])
    progress = progress_of(upstream, row)
    status = row["outcome"]
    if progress < 1:
        status = "PENDING" if progress < _PENDING_PART else "PROCESSING"
    error, code = _ERRORS.get(status, (None, None))
    done = status == "COMPLETED"
    return {
        "id": row["id"],
        "createdAt": timestamp(row["created_at"]),
        "status": status,
        "model": body["model"],
        "input": body["input"],
        "options": body.get("options", {}),
        "segments": body.get("segments"),
        "webhookUrl": body.get("webhookUrl"),
        "projectId": body.get("projectId"),
        "outputUrl": _output_url(upstream, row, body) if done else None,
        "outputDuration": row["duration"] if done else None,
        "error": error,
        "error_code": code,
    }


def progress_of(upstream: Upstream, row: sqlite3.Row) -> float:
    """Return the share of a generation's time that has passed, 0 to 1."""
    whole = row["ready_at"] - row["created_at"]
    passed = upstream.clock() - row["created_at"]
    return 1.0 if passed >= whole else max(0.0, passed / whole)


def _output_url(upstream: Upstream, row: sqlite3.Row, body: dict[str, Any]) -> str:
    """Return the output's signed URL. The vendor documents that clients must not change it."""
    origin = upstream.settings.origin
    name = body.get("outputFileName") or "output"
    return upstream.signer.presign(
        "GET",
        origin,
        f"/outputs/{row['id']}/{name}.mp4",
        {"host": urlsplit(origin).netloc},
        now=upstream.now(),
        expires_in=_OUTPUT_SECONDS,
    )
