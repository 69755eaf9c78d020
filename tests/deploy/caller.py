"""A caller of a deployed broker."""

from types import SimpleNamespace
from typing import Any

from tests.support.running_broker import Api


class Caller(Api):
    """A caller whose responses are checked against the OpenAPI document."""

    def __init__(self, url: str, subject: str | None = None) -> None:
        broker: Any = SimpleNamespace(url=url)
        super().__init__(broker, subject)
