"""Which files a caller may upload: their media type and their size. Pure."""

from typing import Any

from chalicelib.core import media_types, wording
from chalicelib.quotas.limits import Limits
from chalicelib.uploads.errors import ContentTypeNotAccepted, FileEmpty, FileTooLarge

FAMILIES = ("VIDEO", "AUDIO", "IMAGE")  # no set: what was sent need not be hashable
MALFORMED = "must be a media type such as video/mp4, where fileName has no known extension"


def decide_type(document: dict[str, Any], limits: Limits) -> str | None:
    """Return a file's media type; None where its text is malformed and nothing else tells it.

    Args:
        document: The body of `POST /uploads`, in which `contentType` and `fileName` are texts.
        limits: What the caller may upload.

    Raises:
        ContentTypeNotAccepted: The caller may not upload this kind of file.
    """
    reported, file_name = document["contentType"], document["fileName"]
    family = document.get("type")
    decided = media_types.resolve(
        reported, file_name, family.lower() if family in FAMILIES else None
    )
    if decided is None and reported.strip():
        return None
    reason = "."
    if decided is None:
        wrong = "is empty, and fileName has no known extension"
        reason = ": its name does not tell what kind of file it is."
    elif limits.accepts(decided):
        return decided
    else:
        wrong = f"is {decided}, and must be one of " + ", ".join(limits.content_types)
    name, advice = wording.quoted(file_name), wording.choose(limits.content_types)
    raise ContentTypeNotAccepted(
        f"{name} can't be used here{reason}{advice}",
        errors=({"pointer": "/contentType", "detail": wrong},),
    )


def refuse_size(document: dict[str, Any], limits: Limits) -> None:
    """Refuse a file by its declared size.

    Raises:
        FileEmpty: It is 0.
        FileTooLarge: It is over the caller's limit.
    """
    name, size = wording.quoted(document["fileName"]), document.get("size")
    # To Python, true is a number too.
    if not isinstance(size, int | float) or isinstance(size, bool):
        return
    most = limits.max_upload_bytes
    if size == 0:
        detail = "must be at least 1 byte"
        raise FileEmpty(wording.empty(name), errors=({"pointer": "/size", "detail": detail},))
    if size > most:
        detail = f"must be at most {most} bytes"
        raise FileTooLarge(
            wording.too_large(name, size, most), errors=({"pointer": "/size", "detail": detail},)
        )
