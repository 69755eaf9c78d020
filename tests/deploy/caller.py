"""A caller of a deployed broker."""

from types import SimpleNamespace
from typing import Any

from tests.support.running_broker import Api


class Caller(Api):
    """One caller; every answer is held against the OpenAPI document, as in the broker's tests."""

    def __init__(self, url: str, subject: str | None = None) -> None:
        broker: Any = SimpleNamespace(url=url)
        super().__init__(broker, subject)
