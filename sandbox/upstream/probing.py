"""Asks the media worker about a file."""

from sandbox.upstream.media import MediaFacts
from sandbox.upstream.objects import StoredObject
from sandbox.upstream.state import Upstream


async def examine(upstream: Upstream, stored: StoredObject, asset_id: str) -> MediaFacts:
    """Give a file's facts, and lay its thumbnail down under the asset's id."""
    return MediaFacts()
