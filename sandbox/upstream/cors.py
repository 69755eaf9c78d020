"""The storage host's CORS headers. The vendor documents none, so they can be switched off."""

from sandbox.upstream.behavior import Behavior


def cross_origin(behavior: Behavior) -> dict[str, str]:
    """Give the headers that let a browser's page read an answer of the storage host."""
    if not behavior.storage_cors:
        return {}
    return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag"}
