"""Hooks of `test_schemathesis.py`: the local gateway's 501, and uploads that were cancelled."""

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

    Chalice's local gateway answers methods such as TRACE with its own 501, before it calls the app.
    API Gateway has its own response too, which no app can change.
    """
    if response.status_code == 501 and b"Unsupported method" in response.content:
        response.status_code = 405
        response.headers["allow"] = ["OPTIONS"]


@schemathesis.check
def use_after_free(ctx: Any, response: Any, case: Any) -> bool | None:
    """Check that a deleted upload can't be used; this replaces the check of the same name.

    DELETE cancels an upload, and a cancelled upload stays readable, so that a second tab learns why
    the upload has ended. Any other resource that is still there after a DELETE fails as usual.
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
