"""What the schemathesis run of `test_schemathesis.py` must know of the gateway, and of an end."""

from typing import Any

import schemathesis
from schemathesis.checks import CHECKS
from schemathesis.core.failures import Failure
from schemathesis.specs.openapi import checks

original = checks.use_after_free
CHECKS.unregister("use_after_free")


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:  # noqa: ARG001 - its interface
    """Count an unknown method as 405.

    Chalice's local gateway answers methods such as TRACE with 501 of its own, before the app is
    asked. API Gateway has its own answer too, which no app can change.
    """
    if response.status_code == 501 and b"Unsupported method" in response.content:
        response.status_code = 405
        response.headers["allow"] = ["OPTIONS"]


@schemathesis.check
def use_after_free(ctx: Any, response: Any, case: Any) -> bool | None:
    """Take no upload for usable once it is deleted; it takes the place of the check of this name.

    DELETE is how an upload is cancelled, and what was cancelled stays readable as that, so that a
    second tab learns why its upload is over: an end, and nothing that can be used. Everything else
    that is still there after a DELETE fails as ever.
    """
    try:
        found: bool | None = original(ctx, response, case)
    except Failure:
        body = response.json()
        is_end = case.operation.label == "GET /uploads/{uploadId}" and "uploadUrl" not in body
        if not is_end or (body["status"], body["asset"]) != ("cancelled", None):
            raise
        return None
    return found
