"""HTTP connections that are open before a request is admitted.

A place in the line is for a moment. Names are looked up, and TCP and TLS agreed on, before it is
taken: else a slow beginning would let a request arrive long after its place.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

_current = threading.local()


class Admission:
    """Asks whether a request may be sent, and knows how that went.

    Args:
        admit: Raises where it may not; None where nobody has to be asked.
        monotonic: Seconds of a clock that never jumps.

    Attributes:
        is_refused: Whether it may not.
        seconds: How long the asking took.
    """

    def __init__(self, admit: Callable[[], None] | None, monotonic: Callable[[], float]) -> None:
        self._admit = admit
        self._monotonic = monotonic
        self.is_refused = False
        self.seconds = 0.0

    @contextmanager
    def for_this_thread(self) -> Iterator[None]:
        """Have what this thread sends meanwhile admitted, once its connection is open."""
        _current.admission = self
        try:
            yield
        finally:
            _current.admission = None

    def ask(self) -> None:
        """Ask."""
        if self._admit is None:
            return
        began = self._monotonic()
        self.is_refused = True
        self._admit()
        self.is_refused = False
        self.seconds = self._monotonic() - began


class AdmittingAdapter(HTTPAdapter):
    """What requests sends by."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make pools of connections that ask first."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


def _open_and_admit(connection: HTTPConnection) -> None:
    if connection.is_closed:
        connection.connect()
    admission: Admission | None = getattr(_current, "admission", None)
    if admission is not None:
        admission.ask()


class _Connection(HTTPConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        _open_and_admit(self)
        super().request(*args, **kwargs)


class _SecureConnection(HTTPSConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        _open_and_admit(self)
        super().request(*args, **kwargs)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
