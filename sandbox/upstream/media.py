"""Reads media files with FFmpeg's libraries, in a separate process.

As a program this is the worker: it reads and writes lines of JSON. A hostile file can make FFmpeg
crash or loop, and the server must survive that.
"""

import io
import json
import signal
import struct
import sys
import time
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from sandbox.upstream.image_headers import TURNED, UPRIGHT, animated_webp, is_webp, orientation

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# This list excludes playlists and scripts, which would make FFmpeg open other files.
_READABLE = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,wav,mp3,ogg,flac,aac,asf,aiff,"
    "jpeg_pipe,png_pipe,apng,webp_pipe,gif,gif_pipe,bmp_pipe,tiff_pipe,avif"
)
# The usual file extension of a family of formats, if it is not FFmpeg's name of the family.
_EXTENSIONS = {"mov": "mp4", "matroska": "mkv", "jpeg": "jpg", "apng": "png", "asf": "wma"}
_ANIMATED = ("gif", "apng")
_BRANDS = {"avif": "avif", "avis": "avif"}
_THUMBNAIL = 320  # pixels of the longer side
_LARGEST_IMAGE = 67_108_864  # bytes that are read of an image
_MEASURING_SECONDS = 5.0  # for a recording without a duration
# The filters that turn a picture upright, by its EXIF orientation.
_FILTERS = {
    2: (("hflip", None),),
    3: (("hflip", None), ("vflip", None)),
    4: (("vflip", None),),
    5: (("transpose", "cclock_flip"),),
    6: (("transpose", "clock"),),
    7: (("transpose", "clock_flip"),),
    8: (("transpose", "cclock"),),
}
# The same orientations as display matrices: the directions of the picture's x and y axes.
_MATRICES = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
_RIGHT_ANGLES = {-90: 6, 90: 8, 180: 3, -180: 3}


@dataclass(frozen=True)
class MediaFacts:
    """The facts about a file; all are None if it cannot be read.

    Attributes:
        format: `mp4`, `wav`, `png` and so on.
        duration: Seconds; None for still images, and if it is unknown.
        width: Pixels as a player shows it; None for audio.
        height: Pixels as a player shows it; None for audio.
        has_thumbnail: Whether it has a thumbnail.
    """

    format: str | None = None
    duration: float | None = None
    width: int | None = None
    height: int | None = None
    has_thumbnail: bool = False


@dataclass(frozen=True)
class _DisplayedFrame:
    """A frame as a player shows it.

    Attributes:
        frame: The encoded frame.
        orientation: Its EXIF orientation.
        pixel: A pixel's width divided by its height.
    """

    frame: "VideoFrame"
    orientation: int = UPRIGHT
    pixel: Fraction = Fraction(1)

    def size(self) -> tuple[int, int]:
        """Return the displayed width and height."""
        width = max(1, round(self.frame.width * self.pixel))
        height = self.frame.height
        return (height, width) if self.orientation in TURNED else (width, height)


def read_facts(path: Path, file_name: str, thumbnail: Path) -> MediaFacts:
    """Return a file's facts, and write its thumbnail if it has a picture.

    Args:
        path: The file with the bytes.
        file_name: The user's name of it; its extension decides between formats of one family.
        thumbnail: The path of the JPEG.
    """
    # This import takes a tenth of a second, and the server does not need it.
    import av  # noqa: PLC0415 - as above

    try:
        with path.open("rb") as file:
            head = file.read(64)
            file.seek(0)
            if is_webp(head) and (animation := animated_webp(file.read(_LARGEST_IMAGE))):
                still = _read(io.BytesIO(animation.first), file_name, thumbnail, head)
                return replace(
                    still,
                    format="webp",
                    duration=round(animation.seconds, 3),
                    width=animation.width,
                    height=animation.height,
                )
            return _read(file, file_name, thumbnail, head)
    except (av.FFmpegError, OSError, ValueError):
        return MediaFacts()


def _read(file: IO[bytes], file_name: str, thumbnail: Path, head: bytes) -> MediaFacts:
    import av  # noqa: PLC0415 - as above

    file.seek(0)
    with av.open(file, "r", options={"format_whitelist": _READABLE}) as container:
        found = _format(container, file_name, head)
        pictures = [stream for stream in container.streams.video if not _is_cover(stream)]
        sounds = container.streams.audio
        # A format counts only if at least one frame can be decoded.
        streams = [*pictures, *sounds]
        frame = next(iter(container.decode(streams[0])), None) if streams else None
        if frame is None:
            return MediaFacts()
        duration = _duration(container)
        if isinstance(frame, av.VideoFrame):
            shown = _shown(container, pictures[0], frame, file)
            width, height = shown.size()
            made = _make_thumbnail(shown, thumbnail)
            return MediaFacts(found, duration, width, height, made)
        return MediaFacts(found, duration, has_thumbnail=_show_cover(file, thumbnail))


def _is_cover(stream: "VideoStream") -> bool:
    from av.stream import Disposition  # noqa: PLC0415 - as above

    # A song's cover, and the previews for a player's scroll bar, are not the content.
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _is_image(name: str) -> bool:
    return name.endswith("_pipe") or name in _ANIMATED


def _duration(container: "InputContainer") -> float | None:
    """Return the duration in seconds, which is measured if the file does not state it."""
    name = container.format.name
    if name.endswith("_pipe"):
        return None
    stated = None if container.duration is None else container.duration / 1_000_000
    # An image states the duration of one frame, and the one of raw AAC is an estimate.
    is_stated = stated is not None and not _is_image(name) and name != "aac"
    seconds = stated if is_stated else _measure(container)
    return None if seconds is None else round(seconds, 3)


def _measure(container: "InputContainer") -> float | None:
    """Return the end of the last frame, in seconds, or None if reading takes too long."""
    end = Fraction(0)
    give_up_at = time.monotonic() + _MEASURING_SECONDS
    for packet in container.demux():
        if time.monotonic() > give_up_at:
            return None
        if packet.pts is not None and packet.time_base is not None:
            end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
    return float(end) if end else None


def _shown(
    container: "InputContainer", stream: "VideoStream", frame: "VideoFrame", file: IO[bytes]
) -> _DisplayedFrame:
    if _is_image(container.format.name):
        # The density in an image is for printing; browsers show it with square pixels.
        file.seek(0)
        return _DisplayedFrame(frame, orientation(file.read(_LARGEST_IMAGE)))
    return _DisplayedFrame(frame, _turn_of(frame), stream.sample_aspect_ratio or Fraction(1))


def _turn_of(frame: "VideoFrame") -> int:
    """Return the orientation of a video's frame; like browsers, support right angles only."""
    try:
        side_data: Any = frame.side_data
        matrix = side_data["DISPLAYMATRIX"]
    except KeyError:
        return UPRIGHT
    except ValueError:  # The frame also has side data that PyAV does not know.
        return _RIGHT_ANGLES.get(90 * round(frame.rotation / 90), UPRIGHT)
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    largest = max(map(abs, (a, b, c, d))) or 1
    return _MATRICES.get(tuple(round(one / largest) for one in (a, b, c, d)), UPRIGHT)


def _format(container: "InputContainer", file_name: str, head: bytes) -> str:
    name = container.format.name
    if brand := _BRANDS.get(container.metadata.get("major_brand", "")):
        return brand
    names = [part.removesuffix("_pipe") for part in name.split(",")]
    end = PurePosixPath(file_name).suffix.lower().removeprefix(".")
    if end in names or _EXTENSIONS.get(names[0]) == end:
        return end
    if b"webm" in head and "webm" in names:
        return "webm"
    return _EXTENSIONS.get(names[0], names[0])


def _show_cover(file: IO[bytes], thumbnail: Path) -> bool:
    """Write the thumbnail of a song's cover, and return whether it has one."""
    import av  # noqa: PLC0415 - as above

    file.seek(0)
    with av.open(file, "r", options={"format_whitelist": _READABLE}) as container:
        cover = next((one for one in container.streams.video if _is_cover(one)), None)
        frame = None if cover is None else next(iter(container.decode(cover)), None)
    return isinstance(frame, av.VideoFrame) and _make_thumbnail(_DisplayedFrame(frame), thumbnail)


def _make_thumbnail(shown: _DisplayedFrame, path: Path) -> bool:
    import av  # noqa: PLC0415 - as above

    width, height = shown.size()
    scale = min(1.0, _THUMBNAIL / max(width, height))
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    partial = path.with_suffix(".part")
    try:
        with av.open(partial, "w", format="mjpeg") as output:
            stream = output.add_stream("mjpeg", rate=1)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
            upright = _upright(shown, width, height)
            small = upright.reformat(width, height, "yuvj420p", dst_color_range="JPEG")
            small.pts, small.time_base = 0, Fraction(1)
            for packet in [*stream.encode(small), *stream.encode(None)]:
                output.mux(packet)
        partial.rename(path)
    except (av.FFmpegError, OSError, ValueError):
        partial.unlink(missing_ok=True)
        return False
    return True


def _upright(shown: _DisplayedFrame, width: int, height: int) -> "VideoFrame":
    """Return the upright frame, in about the given size."""
    import av  # noqa: PLC0415 - as above
    from av.filter import Graph  # noqa: PLC0415 - as above

    if shown.orientation == UPRIGHT:
        return shown.frame
    if shown.orientation in TURNED:
        width, height = height, width
    small = shown.frame.reformat(width, height, "rgb24")
    small.pts, small.time_base = 0, Fraction(1)
    graph = Graph()
    last = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat("rgb24"), time_base=Fraction(1)
    )
    for name, argument in (*_FILTERS[shown.orientation], ("buffersink", None)):
        following = graph.add(name, argument)
        last.link_to(following)
        last = following
    graph.configure()
    graph.push(small)
    turned = graph.pull()
    if not isinstance(turned, av.VideoFrame):
        raise ValueError("the filter returned no picture")  # noqa: TRY004 - the caller catches it
    return turned


def _respond(line: str) -> dict[str, Any]:
    request = json.loads(line)
    return asdict(
        read_facts(Path(request["path"]), request["fileName"], Path(request["thumbnail"]))
    )


def main() -> None:
    """Respond to requests until the server closes the pipe or dies."""
    # Ctrl-C reaches the whole process group, but only the server may end this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        print(json.dumps(_respond(line)), flush=True)


if __name__ == "__main__":
    main()
