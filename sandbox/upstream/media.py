"""What the bytes of a media file say, read by FFmpeg's libraries in a process of its own.

Run as a program this is the worker: a line of JSON in, a line of JSON out. FFmpeg reads what
strangers made, so its crash or its endless loop must not be the server's.
"""

import json
import signal
import sys
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

# Playlists and scripts, which would make FFmpeg open other files, are not among these.
_READABLE = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,wav,mp3,ogg,flac,aac,asf,aiff,"
    "jpeg_pipe,png_pipe,webp_pipe,gif,gif_pipe,bmp_pipe,tiff_pipe,avif"
)
# FFmpeg's name of a family, where it is not the usual end of a file's name.
_USUAL = {"mov": "mp4", "matroska": "mkv", "jpeg": "jpg", "asf": "wma"}
_IMAGES = ("_pipe", "gif")
_THUMBNAIL_WIDTH = 320  # pixels


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


def read_facts(path: Path, file_name: str, thumbnail: Path) -> MediaFacts:
    """Read a file, and make its thumbnail when it shows anything.

    Args:
        path: The bytes.
        file_name: As people call the file; its end decides between formats of one family.
        thumbnail: Where the JPEG goes.
    """
    # This import costs a tenth of a second, and the server never needs it.
    import av  # noqa: PLC0415

    try:
        with (
            path.open("rb") as file,
            av.open(file, "r", options={"format_whitelist": _READABLE}) as container,
        ):
            return _describe(container, file_name, thumbnail)
    except (av.FFmpegError, OSError, ValueError):
        return MediaFacts()


def _describe(container: "InputContainer", file_name: str, thumbnail: Path) -> MediaFacts:
    import av  # noqa: PLC0415 - as above

    name = container.format.name
    duration = None
    if container.duration is not None and not name.endswith(_IMAGES):
        duration = round(container.duration / 1_000_000, 3)
    found = _format(name, file_name)
    pictures, sounds = container.streams.video, container.streams.audio
    # A format is only believed when something in it can be decoded.
    stream = pictures[0] if pictures else sounds[0] if sounds else None
    frame = None if stream is None else next(iter(container.decode(stream)), None)
    if frame is None:
        return MediaFacts()
    if not isinstance(frame, av.VideoFrame):
        return MediaFacts(found, duration)
    made = _make_thumbnail(frame, thumbnail)
    if name.endswith(("mp3", "flac", "ogg", "wav", "aac")):
        # The picture in a song's file is its cover.
        return MediaFacts(found, duration, has_thumbnail=made)
    return MediaFacts(found, duration, frame.width, frame.height, made)


def _format(name: str, file_name: str) -> str:
    names = [part.removesuffix("_pipe") for part in name.split(",")]
    end = PurePosixPath(file_name).suffix.lower().removeprefix(".")
    if end in names or _USUAL.get(names[0]) == end:
        return end
    return _USUAL.get(names[0], names[0])


def _make_thumbnail(frame: "VideoFrame", path: Path) -> bool:
    import av  # noqa: PLC0415 - as above

    width = min(_THUMBNAIL_WIDTH, frame.width)
    height = max(1, round(frame.height * width / frame.width))
    partial = path.with_suffix(".part")
    try:
        with av.open(partial, "w", format="mjpeg") as output:
            stream = output.add_stream("mjpeg", rate=1)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
            small = frame.reformat(width, height, "yuvj420p", dst_color_range="JPEG")
            small.pts, small.time_base = 0, Fraction(1)
            for packet in [*stream.encode(small), *stream.encode(None)]:
                output.mux(packet)
        partial.rename(path)
    except (av.FFmpegError, OSError, ValueError):
        partial.unlink(missing_ok=True)
        return False
    return True


def _answer(line: str) -> dict[str, Any]:
    order = json.loads(line)
    return asdict(read_facts(Path(order["path"]), order["fileName"], Path(order["thumbnail"])))


def main() -> None:
    """Answer until the server closes the pipe, be it by its own death."""
    # Ctrl-C reaches the whole group of processes; the server alone decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        print(json.dumps(_answer(line)), flush=True)


if __name__ == "__main__":
    main()
