"""Sizes, waits and kinds of files in words for end users. Pure."""

import math
import re
from collections.abc import Sequence

_UNITS = ("kB", "MB", "GB", "TB", "PB")
_LARGEST = 10**17  # bytes; no file is as large, and the number would not help
_KINDS = {
    "audio/3gpp": "3GP audio",
    "audio/mp4": "M4A audio",
    "audio/mpeg": "MP3 audio",
    "audio/ogg": "Ogg audio",
    "audio/webm": "WebM audio",
    "audio/x-matroska": "MKA audio",
    "image/svg+xml": "SVG image",
    "image/webp": "WebP image",
    "video/3gpp": "3GP video",
    "video/3gpp2": "3G2 video",
    "video/mp2t": "MPEG-TS video",
    "video/ogg": "Ogg video",
    "video/quicktime": "MOV video",
    "video/webm": "WebM video",
    "video/x-flv": "Flash video",
    "video/x-matroska": "MKV video",
    "video/x-msvideo": "AVI video",
    "video/x-ms-asf": "ASF video",
    "video/x-ms-wmv": "WMV video",
    "audio/x-ms-wma": "WMA audio",
}
_AN = re.compile(r"[aeioAEIO]|M[0-9KOPX]|S[A-Z]")  # words and letters spoken with a vowel


def quoted(name: str | None, otherwise: str = "The file") -> str:
    """Return a name as the subject of a sentence, or another subject if it is empty."""
    return f'"{name}"' if name else otherwise


def size(amount: float) -> str:
    """Return a number of bytes in decimal units: 6,442,450,944 is "6.4 GB"."""
    if amount < 1000:  # noqa: PLR2004 - the step between two units
        return "1 byte" if amount == 1 else f"{amount:.0f} bytes"
    power = min(len(_UNITS), int(math.log10(amount) / 3))
    if round(amount / 1000**power, 1) >= 1000 and power < len(_UNITS):  # noqa: PLR2004 - as above
        power += 1  # 999,999 bytes are 1 MB, not 1000 kB
    return f"{amount / 1000**power:.1f}".removesuffix(".0") + f" {_UNITS[power - 1]}"


def empty(name: str) -> str:
    """Return why an empty file is refused."""
    return f"{name} is empty."


def arrived_empty(name: str) -> str:
    """Return why a file that arrived empty is refused; the original may be complete."""
    return f"{name} arrived empty. Upload it again."


def too_large(name: str, amount: float, most: int) -> str:
    """Return why a file that is larger than its caller may upload is refused."""
    if amount > _LARGEST:
        return f"{name} is too large. The largest file allowed is {size(most)}."
    if size(amount) == size(most):
        return f"{name} is slightly larger than {size(most)}, which is the most allowed."
    return f"{name} is {size(amount)}. The largest file allowed is {size(most)}."


def wait(seconds: float) -> str:
    """Return a time as a word for when to come back: "in 5 minutes"."""
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds > length:
            return f"in {math.ceil(seconds / length)} {unit}s"
    whole = max(1, math.ceil(seconds))
    return "in a minute" if whole == 60 else f"in {whole} second{'' if whole == 1 else 's'}"  # noqa: PLR2004 - seconds in a minute


def choose(content_types: Sequence[str]) -> str:
    """Return what to do if a file of another kind was chosen; nothing if no kind is allowed."""
    if "*/*" in content_types:
        content_types = ("video/*", "audio/*", "image/*")
    kinds = list(dict.fromkeys(_kind(one) for one in content_types))
    if not kinds:
        return ""
    *first, last = (article(kinds[0]), *kinds[1:])
    return f" Choose {', '.join(first)}{' or ' if first else ''}{last} file."


def article(kind: str) -> str:
    """Return a kind of file with its article: "an MP4 video"."""
    return f"{'an' if _AN.match(kind) else 'a'} {kind}"


def said(reason: str) -> str:
    """Return Sync's reason for a refusal as a sentence, or nothing."""
    reason = reason.strip()
    return (
        f" Sync says: {reason}{'' if reason.endswith(('.', '!', '?')) else '.'}" if reason else ""
    )


def _kind(content_type: str) -> str:
    family, _, name = content_type.partition("/")
    if name == "*":
        return family
    plain = name.removeprefix("x-").removeprefix("vnd.").upper()
    is_medium = family in {"video", "audio", "image"}
    return _KINDS.get(content_type) or (f"{plain} {family}" if is_medium else plain)
