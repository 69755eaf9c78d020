"""Builds the application and serves it."""

import asyncio
import errno
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from sandbox import gate
from sandbox.aiohttp_gate import gate_middleware
from sandbox.upstream import (
    control,
    generations,
    library,
    pipeline,
    presigning,
    registration,
    storage,
    voices,
)
from sandbox.upstream.settings import HOST
from sandbox.upstream.state import UPSTREAM, Upstream
from sandbox.upstream.webhooks import resume_webhooks

_LARGEST_JSON = 1_048_576  # bytes of a JSON body
_BACKLOG = 1024
_THREADS = 64
_READ_AHEAD = 1_048_576  # bytes; with less, a large PUT is slower than the disk
_SHUTDOWN_SECONDS = 2.0  # for requests in progress


class PortTakenError(Exception):
    """Another process listens on the port."""


def listen(port: int) -> socket.socket:
    """Return a socket that listens. Call it before opening data that another process may use.

    Raises:
        PortTakenError: The port is in use.
    """
    try:
        return socket.create_server((HOST, port), backlog=_BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise PortTakenError(f"port {port} is in use; set UPSTREAM_PORT to another one") from error


def build_app(upstream: Upstream) -> web.Application:
    """Return the application with its routes and middlewares."""
    port_gate = gate.upstream_gate(upstream.settings.port, upstream.settings.origins)
    app = web.Application(
        client_max_size=_LARGEST_JSON,
        middlewares=[
            gate_middleware(port_gate),
            pipeline.record_requests,
            pipeline.inject_faults,
            pipeline.render_errors,
            pipeline.require_key,
        ],
    )
    app.on_response_prepare.append(pipeline.set_security_headers)
    app[UPSTREAM] = upstream
    modules = (presigning, registration, library, storage, generations, voices, control)
    for module in modules:
        app.add_routes(module.routes)
    return app


async def serve(upstream: Upstream, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # A slow DNS lookup occupies a thread for long, and disk access must not wait for it.
    loop.set_default_executor(ThreadPoolExecutor(_THREADS))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        build_app(upstream),
        access_log=None,
        # An object is stored as it was sent, even with a `Content-Encoding`.
        auto_decompress=False,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        read_bufsize=_READ_AHEAD,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=_BACKLOG).start()
        print(f"upstream listening on {upstream.settings.origin}", flush=True)
        if (key_file := upstream.settings.key_file) is not None:
            print(f"Its key is in {key_file}.", flush=True)
        resume_webhooks(upstream)
        await stop.wait()
    finally:
        upstream.cancel_tasks()
        await runner.cleanup()
        await upstream.probe.close()
