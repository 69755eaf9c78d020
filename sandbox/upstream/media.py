"""What the bytes of a media file say, read by FFmpeg's libraries in a process of its own.

Run as a program this is the worker: a line of JSON in, a line of JSON out. FFmpeg reads what
strangers made, so its crash or its endless loop must not be the server's.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class MediaFacts:
    """What is known about a file; all None for one that cannot be read.

    Attributes:
        format: `mp4`, `wav`, `png` and so on.
        duration: Seconds; None for images.
        width: Pixels; None for audio.
        height: Pixels; None for audio.
        has_thumbnail: Whether a JPEG was made of it.
    """

    format: str | None = None
    duration: float | None = None
    width: int | None = None
    height: int | None = None
    has_thumbnail: bool = False
