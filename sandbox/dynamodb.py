"""The DynamoDB emulator behind the gate: `python -m sandbox.dynamodb`.

It is run by the Python of the emulator's own environment, `.venv-ministack`.

The emulator plays some eighty services for whoever asks, and runs code for them. So it is told to
play one, it has no port but the one that the gate stands before, and it knows its own settings
alone (`environment.for_dynamodb`).
"""

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

from sandbox import gate, log_lines
from sandbox.ports import HOST

_KEEP_ALIVE_SECONDS = 75
# It would load whatever else lies beside it, Lambda functions of an older version included.
_STATE = {"dynamodb.json", "dynamodb_streams.json"}


def guarded(app: Any, before: gate.Gate) -> Any:
    """Return an ASGI application that refuses what the gate refuses, and WebSockets."""

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http" and (reason := _refusal(scope, before)) is not None:
            await _refuse(reason, send)
        else:
            await app(scope, receive, send)

    return application


def _refusal(scope: dict[str, Any], before: gate.Gate) -> str | None:
    target, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    headers = [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
    ]
    return before.refusal(scope["method"], f"{target}?{query}" if query else target, headers)


async def _refuse(reason: str, send: Any) -> None:
    body = f"{reason}\n".encode()
    headers = {**gate.HEADERS, "Content-Length": str(len(body))}
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": gate.STATUS, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _prepare(folder: Path) -> None:
    """Make its folders, and delete what it must not load."""
    for path in (folder, Path(os.environ["HOME"]), Path(os.environ["TMPDIR"])):
        path.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        if path.name not in _STATE:
            path.unlink()


def main() -> None:
    """Run until SIGTERM or SIGINT, and then write what it holds."""
    _prepare(Path(os.environ["STATE_DIR"]))
    port = int(os.environ["GATEWAY_PORT"])
    # These are in the emulator's own environment alone.
    from hypercorn.asyncio import serve  # noqa: PLC0415 - the folders must be there before
    from hypercorn.config import Config  # noqa: PLC0415 - as above
    from ministack.app import app  # noqa: PLC0415 - as above

    # After the emulator, which sets up its own logs when it is imported.
    log_lines.install()
    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    config.errorlog = logging.getLogger("hypercorn.error")
    asyncio.run(serve(guarded(app, gate.before_dynamodb(port)), config))


if __name__ == "__main__":
    main()
