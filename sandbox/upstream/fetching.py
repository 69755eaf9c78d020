"""Fetches public URLs to disk, with limits for time and size."""

import asyncio
from urllib.parse import unquote, urlsplit

import aiohttp

from sandbox.upstream.bodies import is_public_url
from sandbox.upstream.objects import StoredObject
from sandbox.upstream.presigning import oversize
from sandbox.upstream.problems import Problem, invalid
from sandbox.upstream.state import Upstream

_SECONDS = 50.0  # the vendor's client waits 65 s for the response to a registration
_CHUNK = 262_144  # bytes
_REDIRECTS = 5


async def fetch(upstream: Upstream, url: str) -> StoredObject:
    """Fetch a URL into an object, and return the object. URLs on loopback are allowed here.

    Raises:
        Problem: The URL is invalid, has no response with 200 in time, or is too large.
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
                raise _unreachable(upstream, f"its status is {response.status}")
            return await _store(upstream, response, name)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise _unreachable(upstream, _reason(error)) from error


async def _store(upstream: Upstream, response: aiohttp.ClientResponse, name: str) -> StoredObject:
    content_type = response.headers.get("Content-Type", "application/octet-stream")
    with upstream.objects.incoming() as incoming:
        async for chunk in response.content.iter_chunked(_CHUNK):
            await asyncio.to_thread(incoming.write, chunk)
            if incoming.size > upstream.behavior.plan_max_bytes:
                raise oversize(upstream)
        key = upstream.objects.reserve(name, content_type).key
        stored = upstream.objects.store(key, incoming)
    if stored is None:
        raise Problem(500, "The sandbox was reset during the request")
    return stored


def _reason(error: Exception) -> str:
    """Return the reason of a failure in plain words."""
    known: tuple[tuple[type[Exception], str], ...] = (
        (aiohttp.ClientConnectorDNSError, "its host is unknown"),
        (aiohttp.ClientConnectorError, "its host can't be reached"),
        (aiohttp.TooManyRedirects, "it redirects too often"),
        (aiohttp.InvalidURL, "it is not a URL"),
        (TimeoutError, "it took too long"),
    )
    return next((words for kind, words in known if isinstance(error, kind)), "the connection broke")


def _unreachable(upstream: Upstream, reason: str) -> Problem:
    return Problem(
        upstream.behavior.unreachable_status, f"The URL could not be fetched: {reason}", field="url"
    )
