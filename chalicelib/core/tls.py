"""The TLS context of the connections to Sync and to AWS."""

import ssl
from functools import cache

import certifi


@cache
def context() -> ssl.SSLContext:
    """Return the context that trusts the certificates which `requests` trusts.

    They share it, because parsing 140 certificates takes 27 ms of CPU.
    """
    return ssl.create_default_context(cafile=certifi.where())
