"""Reads data of images that FFmpeg ignores: mirrored EXIF orientations, animated WebP files.

orientation  1          2           3      4           5           6          7            8
displayed    unchanged  mirrored    180 °  mirrored    transposed  90 °       transversed  270 °
                        left-right         top-bottom              clockwise               clockwise
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

UPRIGHT = 1
TURNED = (5, 6, 7, 8)  # orientations that swap width and height

_ORIENTATION_TAG = 0x0112
_SHORT = 3  # the type of the tag's value
_LARGEST_DIRECTORY = 200  # entries that are read
_JPEG_SCAN = 0xDA  # the marker after which the picture begins
_JPEG_EXIF = 0xE1
_FRAME_HEADER = 16  # bytes of an animation's frame before its picture


def orientation(data: bytes) -> int:
    """Return the EXIF orientation of a JPEG, PNG, WebP or TIFF file, or 1 if it has none."""
    for block in _exif_blocks(data):
        try:
            found = _orientation_in(block.removeprefix(b"Exif\0\0"))
        except struct.error:
            found = None
        if found is not None and 1 <= found <= max(TURNED):
            return found
    return UPRIGHT


def _exif_blocks(data: bytes) -> Iterator[bytes]:
    if data.startswith(b"\xff\xd8"):
        yield from _jpeg_exif(data)
    elif data.startswith(b"\x89PNG"):
        yield from (body for name, body in _png_chunks(data) if name == b"eXIf")
    elif is_webp(data):
        yield from (body for name, body in _riff_chunks(data, 12) if name == b"EXIF")
    elif data[:4] in {b"II*\0", b"MM\0*"}:
        yield data


def _jpeg_exif(data: bytes) -> Iterator[bytes]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _JPEG_SCAN:  # noqa: PLR2004 - each marker begins with it
        (size,) = struct.unpack_from(">H", data, at + 2)
        if data[at + 1] == _JPEG_EXIF and data[at + 4 : at + 10] == b"Exif\0\0":
            yield data[at + 4 : at + 2 + size]
        at += 2 + max(2, size)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 12 + size


def _riff_chunks(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _orientation_in(tiff: bytes) -> int | None:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for number in range(min(count, _LARGEST_DIRECTORY)):
        tag, kind, _ = struct.unpack_from(f"{order}HHI", tiff, start + 2 + 12 * number)
        if (tag, kind) == (_ORIENTATION_TAG, _SHORT):
            (value,) = struct.unpack_from(f"{order}H", tiff, start + 10 + 12 * number)
            return int(value)
    return None


@dataclass(frozen=True)
class AnimatedWebp:
    """An animation.

    Attributes:
        width: Pixels of the canvas.
        height: Pixels of the canvas.
        seconds: The duration of one run.
        first: Its first frame, as a separate WebP file.
    """

    width: int
    height: int
    seconds: float
    first: bytes


def is_webp(data: bytes) -> bool:
    """Whether these are the first bytes of a WebP file."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def animated_webp(data: bytes) -> AnimatedWebp | None:
    """Return the animation of a WebP file, or None for any other file."""
    if not is_webp(data):
        return None
    canvas = first = b""
    milliseconds = 0
    # Chunks are read one at a time, because a hostile file has millions of them.
    for name, body in _riff_chunks(data, 12):
        if name == b"VP8X":
            canvas = canvas or body
        elif name == b"ANMF" and len(body) > _FRAME_HEADER:
            first = first or body
            milliseconds += int.from_bytes(body[12:15], "little")
    if len(canvas) < 10 or not first:  # noqa: PLR2004 - bytes of the canvas's description
        return None
    return AnimatedWebp(
        width=int.from_bytes(canvas[4:7], "little") + 1,
        height=int.from_bytes(canvas[7:10], "little") + 1,
        seconds=milliseconds / 1000,
        first=_still(first),
    )


def _still(frame: bytes) -> bytes:
    """Return a file with one frame: its size with the flag for transparency, then its picture."""
    description = b"\x10\0\0\0" + frame[6:12]
    body = b"WEBPVP8X" + struct.pack("<I", len(description)) + description + frame[_FRAME_HEADER:]
    return b"RIFF" + struct.pack("<I", len(body)) + body
