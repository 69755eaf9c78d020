"""Public URLs: really fetched, within bounds, to disk."""

import asyncio
from urllib.parse import unquote, urlsplit

import aiohttp

from sandbox.upstream.bodies import is_public_url
from sandbox.upstream.objects import StoredObject
from sandbox.upstream.presigning import oversize
from sandbox.upstream.problems import Problem, invalid
from sandbox.upstream.state import Upstream

_SECONDS = 50.0  # the vendor's own client waits 65 s for the answer to a registration
_CHUNK = 262_144  # bytes
_REDIRECTS = 5


async def fetch(upstream: Upstream, url: str) -> StoredObject:
    """Fetch a URL into an object. Loopback is allowed: this is a sandbox.

    Raises:
        Problem: It is no URL, nobody answers with 200 in time, or the plan's size is exceeded.
    """
    if not is_public_url(url):
        raise invalid("url", "must be a URL address")
    name = unquote(urlsplit(url).path.rpartition("/")[2]) or "file"
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=True) as session,
            session.get(url, max_redirects=_REDIRECTS) as response,
        ):
            if response.status != 200:  # noqa: PLR2004 - a 206 would be a part of the file
                raise _unreachable(upstream, f"it answers {response.status}")
            return await _keep(upstream, response, name)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise _unreachable(upstream, _why(error)) from error


async def _keep(upstream: Upstream, response: aiohttp.ClientResponse, name: str) -> StoredObject:
    content_type = response.headers.get("Content-Type", "application/octet-stream")
    with upstream.objects.incoming() as incoming:
        async for chunk in response.content.iter_chunked(_CHUNK):
            await asyncio.to_thread(incoming.write, chunk)
            if incoming.size > upstream.behavior.plan_max_bytes:
                raise oversize(upstream)
        key = upstream.objects.reserve(name, content_type).key
        stored = upstream.objects.land(key, incoming)
    if stored is None:
        raise Problem(500, "The sandbox was reset meanwhile")
    return stored


def _why(error: Exception) -> str:
    """Say in a person's words what went wrong."""
    known: tuple[tuple[type[Exception], str], ...] = (
        (aiohttp.ClientConnectorDNSError, "its host is unknown"),
        (aiohttp.ClientConnectorError, "its host can't be reached"),
        (aiohttp.TooManyRedirects, "it redirects too often"),
        (aiohttp.InvalidURL, "it is no URL"),
        (TimeoutError, "it took too long"),
    )
    return next((words for kind, words in known if isinstance(error, kind)), "it broke off")


def _unreachable(upstream: Upstream, reason: str) -> Problem:
    return Problem(
        upstream.behavior.unreachable_status, f"The URL could not be fetched: {reason}", field="url"
    )
