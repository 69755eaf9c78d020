"""What the schemathesis run of `test_schemathesis.py` must know of the local gateway."""

from typing import Any

import schemathesis


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:  # noqa: ARG001 - its interface
    """Count an unknown method as 405.

    Chalice's local gateway answers methods such as TRACE with 501 of its own, before the app is
    asked. API Gateway has its own answer too, which no app can change.
    """
    if response.status_code == 501 and b"Unsupported method" in response.content:
        response.status_code = 405
        response.headers["allow"] = ["OPTIONS"]
