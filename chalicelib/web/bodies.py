"""Request bodies: from bytes to JSON by a schema, or to an error that names the field."""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from chalicelib import schemas
from chalicelib.core import errors
from chalicelib.core.types import Json
from chalicelib.idempotency import RequestKey
from chalicelib.schemas.checks import CHECKS
from chalicelib.web.messages import Request

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

MAX_BODY_BYTES = 64 * 1024
MAX_ERRORS = 20  # so that a small body of nonsense gets no large response
KEY_PATTERN = r"^[\x21-\x7e]{1,255}$"
_WHOLE = ({"pointer": "", "detail": "must be a JSON object"},)


def read(request: Request) -> Json:
    """Return a request's body as a JSON object.

    Raises:
        BodyTooLarge: It is over 64 KiB.
        UnsupportedMediaType: It is not declared as JSON.
        InvalidJson: It is missing, not JSON in UTF-8, or not an object.
    """
    body, content_type = request.body, request.headers.get("content-type")
    if len(body) > MAX_BODY_BYTES:
        raise errors.BodyTooLarge(f"The body must be at most {MAX_BODY_BYTES} bytes.")
    # A page of any site may send a body without a type, or with a form's, without a preflight.
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if (content_type or body.strip()) and media_type != "application/json":
        raise errors.UnsupportedMediaType("Send the body with Content-Type: application/json.")
    if not body.strip():
        raise errors.InvalidJson("The body is missing; it must be a JSON object.", errors=_WHOLE)
    try:
        # Decoded here, because `json` would guess UTF-16 and UTF-32 too.
        text = body.decode()
        document = json.loads(text)
        # Half of a surrogate pair is legal in JSON as an escape, and can't be written as UTF-8.
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise errors.InvalidJson("The body must be JSON in UTF-8.", errors=_WHOLE) from error
    if not isinstance(document, dict):
        raise errors.InvalidJson("The body must be a JSON object.", errors=_WHOLE)
    return document


def request_key(headers: Mapping[str, str], route: str, document: Json) -> RequestKey | None:
    """Return the request's `Idempotency-Key` with a hash of what it was sent for.

    Raises:
        InvalidIdempotencyKey: It is empty, over 255 characters, or not visible ASCII.
    """
    text = headers.get("idempotency-key")
    if text is None:
        return None
    if not re.fullmatch(KEY_PATTERN, text):
        detail = "must be 1 to 255 visible ASCII characters"
        raise errors.InvalidIdempotencyKey(
            f"Idempotency-Key {detail}.",
            errors=({"header": "Idempotency-Key", "detail": detail},),
        )
    canonical = json.dumps([route, document], sort_keys=True)
    return RequestKey(text, hashlib.sha256(canonical.encode()).hexdigest())


def violations(
    name: str, document: Json, pattern_details: Mapping[str, str] = {}
) -> list[dict[str, str]]:
    """Return how a body violates a schema: one error for each field, in the order of the fields.

    Args:
        name: The schema, one of those in `schemas.checks`.
        document: The body.
        pattern_details: For fields with a `pattern`, by their pointers, what would be right.
    """
    if CHECKS[name](document):
        return []
    found: dict[str, dict[str, str]] = {}
    for error in _validator(name).iter_errors(document):
        for pointer, detail in _explain(error, pattern_details):
            found.setdefault(pointer, at(pointer, detail))
    return sorted(found.values(), key=lambda one: one["pointer"])


def at(pointer: str, detail: str) -> dict[str, str]:
    """Return an error of one field."""
    return {"pointer": pointer, "detail": detail}


@cache
def _validator(name: str) -> "Draft202012Validator":
    # Imported here, because only a refused body needs it, and loading it takes long.
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - as above

    # Built once for each container: building costs thirty times what checking does.
    # The schemas' patterns end in a negative look-ahead, because `$` passes a last line feed in
    # Python and not in JavaScript.
    return Draft202012Validator(schemas.load(name))


def _explain(error: "ValidationError", pattern_details: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what would be right, in words that do not repeat what was sent."""
    path = "".join("/" + _escaped(str(part)) for part in error.path)
    rule: Any = error.validator_value
    instance: Any = error.instance
    match error.validator:
        case "required":
            missing = [field for field in rule if field not in instance]
            return [(f"{path}/{field}", "is required") for field in missing]
        case "additionalProperties":
            known = list(cast("Json", error.schema)["properties"])
            unknown = [field for field in instance if field not in known][:MAX_ERRORS]
            detail = "is not a known field; known are " + ", ".join(known)
            # Anybody may have made up the name, so the pointer's length is bounded.
            return [(f"{path}/{_escaped(field[:64])}", detail) for field in unknown]
    details = {
        "type": f"must be of type {rule}",
        "enum": f"must be one of {', '.join(map(str, rule))}" if error.validator == "enum" else "",
        "minLength": "must not be empty",
        "maxLength": f"must be at most {rule} characters",
        "minimum": f"must be at least {rule} byte",
        "maximum": f"must be at most {rule} bytes",
    }
    fallback = pattern_details.get(path, "must hold no control character")
    return [(path, details.get(str(error.validator)) or fallback)]


def _escaped(field: str) -> str:
    """Return a field's name as a part of a JSON pointer (RFC 6901)."""
    return field.replace("~", "~0").replace("/", "~1")
