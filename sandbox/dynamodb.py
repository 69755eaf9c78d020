"""The DynamoDB emulator behind the gate: `python -m sandbox.dynamodb`.

The Python of the emulator's environment, `.venv-ministack`, runs it.

The emulator has about eighty services, and some of them run code. So it gets only its own settings
(`environment.for_dynamodb`): they enable DynamoDB only, and the gate protects its one port.
"""

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

from sandbox import gate, log_lines
from sandbox.ports import HOST

_KEEP_ALIVE_SECONDS = 75
# The emulator would load every other file too, even Lambda functions from an older version.
_STATE = {"dynamodb.json", "dynamodb_streams.json"}


def with_gate(app: Any, port_gate: gate.Gate) -> Any:
    """Return an ASGI application that refuses WebSockets and what the gate refuses."""

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http" and (reason := _refusal(scope, port_gate)) is not None:
            await _refuse(reason, send)
        else:
            await app(scope, receive, send)

    return application


def _refusal(scope: dict[str, Any], port_gate: gate.Gate) -> str | None:
    target, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    headers = [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
    ]
    return port_gate.refusal(scope["method"], f"{target}?{query}" if query else target, headers)


async def _refuse(reason: str, send: Any) -> None:
    body = f"{reason}\n".encode()
    headers = {**gate.HEADERS, "Content-Length": str(len(body))}
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": gate.STATUS, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _prepare(folder: Path) -> None:
    """Create the emulator's folders, and delete the files that it must not load."""
    for path in (folder, Path(os.environ["HOME"]), Path(os.environ["TMPDIR"])):
        path.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        if path.name not in _STATE:
            path.unlink()


def main() -> None:
    """Run until SIGTERM or SIGINT, and then write the data to disk."""
    _prepare(Path(os.environ["STATE_DIR"]))
    port = int(os.environ["GATEWAY_PORT"])
    # Only the emulator's environment has these packages.
    from hypercorn.asyncio import serve  # noqa: PLC0415 - needs the folders
    from hypercorn.config import Config  # noqa: PLC0415 - as above
    from ministack.app import app  # noqa: PLC0415 - as above

    # The emulator configures logging when it is imported, so this comes later.
    log_lines.install()
    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    config.errorlog = logging.getLogger("hypercorn.error")
    asyncio.run(serve(with_gate(app, gate.dynamodb_gate(port)), config))


if __name__ == "__main__":
    main()
