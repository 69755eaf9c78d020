"""From what a browser sent to clean input, or to an error that names the member.

The JSON Schemas in `schemas/` are the one description of every body: they are what is checked
here, what `/openapi.json` shows, and what the tests hold the answers against.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from chalicelib import file_rules
from chalicelib.core import errors, media_types, wording
from chalicelib.core.types import Json
from chalicelib.idempotency import RequestKey
from chalicelib.quotas.limits import Limits
from chalicelib.uploads import public_urls
from chalicelib.uploads.errors import ContentTypeNotAccepted
from chalicelib.uploads.models import NewFile, NewUrl

MAX_BODY_BYTES = 64 * 1024
MAX_PAGE = 100
DEFAULT_PAGE = 20
MAX_ERRORS = 20  # so that a small body of nonsense gets no large answer
KEY_PATTERN = r"^[\x21-\x7e]{1,255}$"
# Characters that nobody sees, and that let the rest be read in another order than it is written in
# (Unicode, UAX #9): "gpj.exe" as "exe.jpg".
_DIRECTIONS = "U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069"
_NO_DIRECTIONS = f"no character that changes the direction of text ({_DIRECTIONS})"
_FORBIDDEN = {
    "/fileName": f"must hold no path separator, no control character and {_NO_DIRECTIONS}",
    "/name": f"must hold no control character and {_NO_DIRECTIONS}",
}

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

    from chalicelib.syncapi.models import AssetType

_SCHEMAS = Path(__file__).parent / "schemas"


@cache
def schema(name: str) -> Json:
    """Read one of the schemas by its file's name without the ending."""
    content: Json = json.loads((_SCHEMAS / f"{name}.json").read_text("utf-8"))
    return content


def schema_names() -> list[str]:
    """List the schemas."""
    return sorted(path.stem for path in _SCHEMAS.glob("*.json"))


@cache
def _validator(name: str) -> "Draft202012Validator":
    # Imported here, so that a route without a body starts without loading it.
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - as above

    # Built once for each container: building costs thirty times what checking does.
    # The schemas' patterns end in a negative look-ahead, because `$` passes a last line feed in
    # Python and not in JavaScript.
    return Draft202012Validator(schema(name))


def parse(body: bytes, content_type: str | None) -> Json:
    """Read a body as a JSON object.

    Raises:
        BodyTooLarge: It is over 64 KiB.
        UnsupportedMediaType: It is not declared as JSON in UTF-8.
        InvalidJson: It is missing, no JSON, no object, or has a member twice.
    """
    if len(body) > MAX_BODY_BYTES:
        raise errors.BodyTooLarge(f"The body must be at most {MAX_BODY_BYTES} bytes.")
    # Any site's page may send a body without a type, or as a form's, and is not asked before.
    if (content_type or body.strip()) and not _is_json(content_type or ""):
        raise errors.UnsupportedMediaType("Send the body with Content-Type: application/json.")
    if not body.strip():
        raise errors.InvalidJson("The body is missing; it must be a JSON object.", errors=_WHOLE)
    try:
        # Decoded here, because `json` would guess UTF-16 and UTF-32 too.
        document = json.loads(
            body.decode(), parse_constant=_no_constant, object_pairs_hook=_unique_members
        )
        # Half of a surrogate pair is legal in JSON, and can't be written as UTF-8.
        json.dumps(document, ensure_ascii=False).encode()
    except _RepeatedMemberError as error:
        raise errors.InvalidJson("The body has a member twice.", errors=_TWICE) from error
    except (ValueError, RecursionError) as error:
        raise errors.InvalidJson("The body must be JSON in UTF-8.", errors=_WHOLE) from error
    if not isinstance(document, dict):
        raise errors.InvalidJson("The body must be a JSON object.", errors=_WHOLE)
    return document


_CHARSETS: tuple[list[str], ...] = ([], ["utf-8"])
_WHOLE = ({"pointer": "", "detail": "must be a JSON object"},)
_TWICE = ({"pointer": "", "detail": "must not have a member twice"},)


class _RepeatedMemberError(ValueError):
    """Parsers differ in which of two equal members counts, so what has both is refused."""


def _is_json(content_type: str) -> bool:
    """Say whether a type is JSON alone, and in UTF-8 (RFC 8259, section 8.1, knows no other)."""
    essence, *parameters = (part.strip(" \t").lower() for part in content_type.split(";"))
    pairs = (parameter.partition("=") for parameter in parameters)
    charsets = [value.strip(' \t"') for name, _, value in pairs if name.strip() == "charset"]
    # Several such headers arrive as one, with commas between them.
    return essence == "application/json" and "," not in content_type and charsets in _CHARSETS


def _unique_members(pairs: list[tuple[str, Any]]) -> Json:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _RepeatedMemberError
    return members


def _no_constant(name: str) -> float:
    raise ValueError(name)


def new_file(document: Json, limits: Limits) -> NewFile:
    """Check the body of `POST /uploads`, and decide the file's media type.

    Raises:
        InvalidInput: A member is not as it must be.
        FileEmpty: The size is 0.
        FileTooLarge: The size is over the caller's limit.
        ContentTypeNotAccepted: The caller may not upload this kind of file.
    """
    found = _violations("new-upload", document)
    found += _name_violations(document.get("fileName"))
    found += _project_violations(document.get("projectId"), limits)
    content_type, asset_type = "", document.get("type")
    if not (_names(found, "/contentType") or _names(found, "/fileName")):
        content_type = file_rules.decide_type(document, limits) or ""
        if not content_type:
            found.append(_at("/contentType", file_rules.MALFORMED))
        family = media_types.family_of(content_type).upper()
        known = family in file_rules.FAMILIES
        if asset_type is None and content_type and not known:
            found.append(_at("/type", "is required, because contentType does not tell it"))
        elif known and asset_type != family and asset_type in file_rules.FAMILIES:
            found.append(_at("/type", f"must be {family} to agree with contentType, or be absent"))
        asset_type = asset_type or family
    if all(error["pointer"] == "/size" for error in found):
        file_rules.refuse_size(document, limits)
    _raise_if(found)
    return NewFile(
        file_name=document["fileName"],
        content_type=content_type,
        size=int(document["size"]),
        type=cast("AssetType", asset_type),
        name=document.get("name"),
        project_id=document.get("projectId"),
    )


def new_url(
    document: Json,
    limits: Limits,
    storage_hosts: Collection[str],
    exceptions: Collection[str],
) -> NewUrl:
    """Check the body of `POST /assets`.

    Raises:
        InvalidInput: A member is not as it must be.
        ContentTypeNotAccepted: The caller may not upload any file of this type.
    """
    found = _violations("new-asset", document)
    found += _project_violations(document.get("projectId"), limits)
    url = document.get("url")
    if isinstance(url, str) and not _names(found, "/url"):
        reason = public_urls.refusal(url, storage_hosts, exceptions)
        if reason is not None:
            found.append(_at("/url", reason))
    _raise_if(found)
    if not limits.accepts_some(document["type"].lower()):
        # What is at the URL is not known before Sync fetches it; the kind is.
        accepted = ", ".join(limits.content_types)
        kind = document["type"].lower()
        raise ContentTypeNotAccepted(
            f"{wording.article(kind).capitalize()} file can't be used here."
            f"{wording.choose(limits.content_types)}",
            errors=(_at("/type", f"must be of a kind among {accepted}"),),
        )
    return NewUrl(
        url=document["url"],
        type=document["type"],
        name=document.get("name"),
        project_id=document.get("projectId"),
    )


def request_key(headers: Mapping[str, str], route: str, document: Json) -> RequestKey | None:
    """Read the `Idempotency-Key`, and hash what it stands for.

    Raises:
        InvalidIdempotencyKey: It is empty, over 255 characters, or not visible ASCII.
    """
    text = headers.get("idempotency-key")
    if text is None:
        return None
    if not re.fullmatch(KEY_PATTERN, text) or text.endswith("\n"):
        detail = "must be 1 to 255 visible ASCII characters"
        raise errors.InvalidIdempotencyKey(
            f"Idempotency-Key {detail}.",
            errors=({"header": "Idempotency-Key", "detail": detail},),
        )
    canonical = json.dumps([route, document], sort_keys=True)
    return RequestKey(text, hashlib.sha256(canonical.encode()).hexdigest())


def page(query: Mapping[str, str]) -> tuple[int, str | None]:
    """Check the parameters of a list.

    Returns:
        How many items, and the cursor.

    Raises:
        InvalidInput: `limit` is no whole number from 1 to 100, or `cursor` is empty.
    """
    raw = query.get("limit", str(DEFAULT_PAGE))
    is_whole = raw.isascii() and raw.isdigit() and len(raw) <= len(str(MAX_PAGE))
    if not is_whole or not 1 <= int(raw) <= MAX_PAGE:
        detail = f"must be a whole number from 1 to {MAX_PAGE}"
        raise errors.InvalidInput(
            f"limit {detail}.", errors=({"parameter": "limit", "detail": detail},)
        )
    return int(raw), query.get("cursor")


def _violations(name: str, document: Json) -> list[dict[str, str]]:
    """Check against a schema; one error for each member, in the order of the members."""
    found: dict[str, dict[str, str]] = {}
    for error in _validator(name).iter_errors(document):
        for pointer, detail in _explain(error):
            found.setdefault(pointer, _at(pointer, detail))
    return sorted(found.values(), key=lambda one: one["pointer"])


def _explain(error: "ValidationError") -> list[tuple[str, str]]:
    """Say what would be right, in words that do not repeat what was sent."""
    path = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error.path)
    rule: Any = error.validator_value
    instance: Any = error.instance
    match error.validator:
        case "required":
            missing = [member for member in rule if member not in instance]
            return [(f"{path}/{member}", "is required") for member in missing]
        case "additionalProperties":
            known = list(cast("Json", error.schema)["properties"])
            unknown = [member for member in instance if member not in known][:MAX_ERRORS]
            detail = "is not a known member; known are " + ", ".join(known)
            return [(f"{path}/{_pointer(member)}", detail) for member in unknown]
    words = {
        "type": f"must be of type {rule}",
        "enum": f"must be one of {', '.join(map(str, rule))}" if error.validator == "enum" else "",
        "minLength": "must not be empty",
        "maxLength": f"must be at most {rule} characters",
        "minimum": f"must be at least {rule} byte",
        "maximum": f"must be at most {rule} bytes",
    }
    rightly = words.get(str(error.validator)) or _FORBIDDEN.get(path)
    return [(path, rightly or "must hold no control character")]


def _pointer(member: str) -> str:
    """Write a member's name, which anybody may have made up, into a pointer of bounded length."""
    return member[:64].replace("~", "~0").replace("/", "~1")


def _name_violations(file_name: object) -> list[dict[str, str]]:
    if not isinstance(file_name, str):
        return []
    if file_name in {".", ".."}:
        return [_at("/fileName", "must be the name of a file")]
    return []


def _project_violations(project_id: object, limits: Limits) -> list[dict[str, str]]:
    if not isinstance(project_id, str) or project_id in limits.project_ids:
        return []
    return [_at("/projectId", "must be a project that this broker allows")]


def _names(found: list[dict[str, str]], pointer: str) -> bool:
    return any(error["pointer"] == pointer for error in found)


def _at(pointer: str, detail: str) -> dict[str, str]:
    return {"pointer": pointer, "detail": detail}


# What an end user may have caused. The text is not repeated: it may be one that nobody can read.
_WORDS = {
    "/fileName": "Rename the file and choose it again: its name {}.",
    "/name": "Choose another name: it {}.",
}
_INVISIBLE = "an invisible character that can't be used"
# What developers read is exact; these are the words for people.
_PLAIN = {
    _FORBIDDEN["/fileName"]: f"has a slash, or {_INVISIBLE}",
    _FORBIDDEN["/name"]: f"has {_INVISIBLE}",
}


def _raise_if(found: list[dict[str, str]]) -> None:
    if found:
        pointer, detail = found[0]["pointer"], found[0]["detail"]
        first = f"{pointer.lstrip('/')} {detail}."
        if pointer == "/url" and detail != "is required":
            first = public_urls.in_words(detail)
        elif pointer in _WORDS and detail != "is required":
            first = _WORDS[pointer].format(_PLAIN.get(detail, detail))
        raise errors.InvalidInput(first, errors=tuple(found[:MAX_ERRORS]))
