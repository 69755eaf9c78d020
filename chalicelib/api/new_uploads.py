"""The bodies of `POST /uploads` and `POST /assets`: what a caller may upload, checked."""

from collections.abc import Collection
from typing import TYPE_CHECKING, cast

from chalicelib.core import media_types, wording
from chalicelib.core.errors import InvalidInput
from chalicelib.core.types import Json
from chalicelib.quotas.limits import Limits
from chalicelib.uploads import public_urls
from chalicelib.uploads.errors import ContentTypeNotAccepted, FileEmpty, FileTooLarge
from chalicelib.uploads.models import NewFile, NewUrl
from chalicelib.web import bodies
from chalicelib.web.bodies import at

if TYPE_CHECKING:
    from chalicelib.syncapi.models import AssetType

# Not sets: a field's value need not be hashable.
_FAMILIES = ("VIDEO", "AUDIO", "IMAGE")
_FOLDERS = (".", "..")
_MALFORMED = "must be a media type such as video/mp4, where fileName has no known extension"
# Invisible characters that let the others be read in another order than they are written in
# (Unicode, UAX #9): "gpj.exe" as "exe.jpg".
_DIRECTIONS = "U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069"
_NO_DIRECTIONS = f"no character that changes the direction of text ({_DIRECTIONS})"
_PATTERN_DETAILS = {
    "/fileName": f"must hold no path separator, no control character and {_NO_DIRECTIONS}",
    "/name": f"must hold no control character and {_NO_DIRECTIONS}",
}
# For end users, who may have chosen such a name. The name itself may be unreadable, so it is left
# out.
_SENTENCES = {
    "/fileName": "Rename the file and choose it again: its name {}.",
    "/name": "Choose another name: it {}.",
}
# A page makes these mistakes, not an end user.
_OF_DEVELOPERS = ("is required", "is not a known field", "must be of type")
_INVISIBLE = "an invisible character that can't be used"
_PLAIN_DETAILS = {
    _PATTERN_DETAILS["/fileName"]: f"has a slash, or {_INVISIBLE}",
    _PATTERN_DETAILS["/name"]: f"has {_INVISIBLE}",
}


def new_file(document: Json, limits: Limits) -> NewFile:
    """Return the file of a body of `POST /uploads`, with its media type decided.

    Args:
        document: The body.
        limits: What the caller may upload.

    Raises:
        InvalidInput: A field is not as it must be.
        FileEmpty: The size is 0.
        FileTooLarge: The size is over the caller's limit.
        ContentTypeNotAccepted: The caller may not upload this kind of file.
    """
    found = bodies.violations("new-upload", document, _PATTERN_DETAILS)
    if document.get("fileName") in _FOLDERS:
        found.append(at("/fileName", "must be the name of a file"))
    found += _project_violations(document.get("projectId"), limits)
    content_type, asset_type = "", document.get("type")
    if not _names(found, "/contentType", "/fileName"):
        content_type = _decide_type(document, limits) or ""
        if not content_type:
            found.append(at("/contentType", _MALFORMED))
        family = media_types.family_of(content_type).upper()
        if asset_type is None and content_type and family not in _FAMILIES:
            found.append(at("/type", "is required, because contentType does not determine it"))
        elif family in _FAMILIES and asset_type != family and asset_type in _FAMILIES:
            found.append(at("/type", f"must be {family} to agree with contentType, or be absent"))
        asset_type = asset_type or family
    if all(error["pointer"] == "/size" for error in found):
        _refuse_size(document, limits)
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
    document: Json, limits: Limits, storage_hosts: Collection[str], exceptions: Collection[str]
) -> NewUrl:
    """Return the public URL of a body of `POST /assets`.

    Args:
        document: The body.
        limits: What the caller may upload.
        storage_hosts: Hosts of Sync's storage.
        exceptions: Origins that need be neither https nor public.

    Raises:
        InvalidInput: A field is not as it must be.
        ContentTypeNotAccepted: The caller may not upload any file of this type.
    """
    found = bodies.violations("new-asset", document, _PATTERN_DETAILS)
    found += _project_violations(document.get("projectId"), limits)
    url = document.get("url")
    if isinstance(url, str) and not _names(found, "/url"):
        reason = public_urls.refusal(url, storage_hosts, exceptions)
        if reason is not None:
            found.append(at("/url", reason))
    _raise_if(found)
    kind = document["type"].lower()
    if not limits.accepts_some(kind):
        # The content at the URL is unknown before Sync fetches it; its kind is known.
        raise ContentTypeNotAccepted(
            f"{wording.article(kind).capitalize()} file can't be used here."
            f"{wording.choose(limits.content_types)}",
            errors=(at("/type", f"must be of a kind among {', '.join(limits.content_types)}"),),
        )
    return NewUrl(
        url=document["url"],
        type=document["type"],
        name=document.get("name"),
        project_id=document.get("projectId"),
    )


def _decide_type(document: Json, limits: Limits) -> str | None:
    """Return a file's media type; None if only a malformed `contentType` could determine it.

    Raises:
        ContentTypeNotAccepted: The caller may not upload this kind of file.
    """
    reported, file_name = document["contentType"], document["fileName"]
    family = document.get("type")
    decided = media_types.resolve(
        reported, file_name, family.lower() if family in _FAMILIES else None
    )
    if decided is None and reported.strip():
        return None
    reason = "."
    if decided is None:
        wrong = "is empty, and fileName has no known extension"
        reason = ": the kind of file can't be recognised from its name."
    elif limits.accepts(decided):
        return decided
    else:
        wrong = f"is {decided}, and must be one of " + ", ".join(limits.content_types)
    name, advice = wording.quoted(file_name), wording.choose(limits.content_types)
    raise ContentTypeNotAccepted(
        f"{name} can't be used here{reason}{advice}", errors=(at("/contentType", wrong),)
    )


def _refuse_size(document: Json, limits: Limits) -> None:
    """Refuse a file by its declared size.

    Raises:
        FileEmpty: It is 0.
        FileTooLarge: It is over the caller's limit.
    """
    size, most = document.get("size"), limits.max_upload_bytes
    # To Python, true is a number too.
    if not isinstance(size, int | float) or isinstance(size, bool) or 0 < size <= most:
        return
    name = wording.quoted(document["fileName"])
    if size == 0:
        raise FileEmpty(wording.empty(name), errors=(at("/size", "must be at least 1 byte"),))
    if size > most:
        raise FileTooLarge(
            wording.too_large(name, size, most),
            errors=(at("/size", f"must be at most {most} bytes"),),
        )


def _project_violations(project_id: object, limits: Limits) -> list[dict[str, str]]:
    if not isinstance(project_id, str) or project_id in limits.project_ids:
        return []
    return [at("/projectId", "must be a project that this broker allows")]


def _names(found: list[dict[str, str]], *pointers: str) -> bool:
    return any(error["pointer"] in pointers for error in found)


def _raise_if(found: list[dict[str, str]]) -> None:
    if found:
        first = _sentence(found[0]["pointer"], found[0]["detail"])
        raise InvalidInput(first, errors=tuple(found[: bodies.MAX_ERRORS]))


def _sentence(pointer: str, detail: str) -> str:
    """Return what is wrong with a field as a sentence, for an end user if one chose the value."""
    if not detail.startswith(_OF_DEVELOPERS):
        if pointer == "/url":
            return public_urls.in_words(detail)
        if pointer in _SENTENCES:
            return _SENTENCES[pointer].format(_PLAIN_DETAILS.get(detail, detail))
    return f"{pointer.lstrip('/')} {detail}."
