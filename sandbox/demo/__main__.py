"""Serve the demo page on loopback until SIGTERM or SIGINT: `python -m sandbox.demo`."""

import asyncio
import errno
import os
import signal
import sys

from aiohttp import web

from sandbox import log_lines
from sandbox.demo.server import create_app
from sandbox.demo.settings import Settings, SettingsError

_HOST = "127.0.0.1"


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    # Every request takes well under a second, so a stop need not wait for longer.
    runner = web.AppRunner(create_app(settings), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, _HOST, settings.demo_port).start()
        print(f"demo page on http://{_HOST}:{settings.demo_port}", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


def main() -> int:
    """Run the demo, and return its exit code."""
    log_lines.install()
    try:
        settings = Settings.read(os.environ)
    except SettingsError as error:
        return _fail(str(error))
    try:
        asyncio.run(_serve(settings))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return _fail(f"port {settings.demo_port} is in use; set DEMO_PORT to another one")
    return 0


def _fail(reason: str) -> int:
    print(f"sandbox.demo: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
