"""Types that have no home of their own."""

from typing import Any

Json = dict[str, Any]
