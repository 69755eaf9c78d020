"""What the bytes of a media file say, read by FFmpeg's libraries in a process of its own.

Run as a program this is the worker: a line of JSON in, a line of JSON out. FFmpeg reads what
strangers made, so its crash or its endless loop must not be the server's.
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

# Playlists and scripts, which would make FFmpeg open other files, are not among these.
_READABLE = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,wav,mp3,ogg,flac,aac,asf,aiff,"
    "jpeg_pipe,png_pipe,apng,webp_pipe,gif,gif_pipe,bmp_pipe,tiff_pipe,avif"
)
# FFmpeg's name of a family, where it is not the usual end of a file's name.
_USUAL = {"mov": "mp4", "matroska": "mkv", "jpeg": "jpg", "apng": "png", "asf": "wma"}
_ANIMATED = ("gif", "apng")
_BRANDS = {"avif": "avif", "avis": "avif"}
_THUMBNAIL = 320  # pixels of the longer side
_LARGEST_IMAGE = 67_108_864  # bytes of an image that is looked at as a whole
_MEASURING_SECONDS = 5.0  # for a recording that does not say how long it is
# How pictures are put upright, by their orientation in EXIF's numbers.
_FILTERS = {
    2: (("hflip", None),),
    3: (("hflip", None), ("vflip", None)),
    4: (("vflip", None),),
    5: (("transpose", "cclock_flip"),),
    6: (("transpose", "clock"),),
    7: (("transpose", "clock_flip"),),
    8: (("transpose", "cclock"),),
}
# The same as a display matrix: where the picture's x and its y point to.
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
    """What is known about a file; all None for one that cannot be read.

    Attributes:
        format: `mp4`, `wav`, `png` and so on.
        duration: Seconds; None for still images, and where it can't be known.
        width: Pixels as a player shows it; None for audio.
        height: Pixels as a player shows it; None for audio.
        has_thumbnail: Whether a JPEG was made of it.
    """

    format: str | None = None
    duration: float | None = None
    width: int | None = None
    height: int | None = None
    has_thumbnail: bool = False


@dataclass(frozen=True)
class _Shown:
    """How a player shows a frame.

    Attributes:
        frame: Its first picture as it was encoded.
        orientation: How that is turned and mirrored, in EXIF's numbers.
        pixel: Width of a pixel in relation to its height.
    """

    frame: "VideoFrame"
    orientation: int = UPRIGHT
    pixel: Fraction = Fraction(1)

    def size(self) -> tuple[int, int]:
        """Return width and height as they are shown."""
        width = max(1, round(self.frame.width * self.pixel))
        height = self.frame.height
        return (height, width) if self.orientation in TURNED else (width, height)


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
        # A format is only believed when something in it can be decoded.
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

    # The picture in a song's file, and the little ones for a player's scroll bar.
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _is_image(name: str) -> bool:
    return name.endswith("_pipe") or name in _ANIMATED


def _duration(container: "InputContainer") -> float | None:
    """Return the duration in seconds, measured where the file does not say it."""
    name = container.format.name
    if name.endswith("_pipe"):
        return None
    said = None if container.duration is None else container.duration / 1_000_000
    # An image says the duration of its only frame, and one of raw AAC is a guess.
    is_said = said is not None and not _is_image(name) and name != "aac"
    seconds = said if is_said else _measure(container)
    return None if seconds is None else round(seconds, 3)


def _measure(container: "InputContainer") -> float | None:
    """Read on after the first frame, and return when the last one ends."""
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
) -> _Shown:
    if _is_image(container.format.name):
        # The density that an image states is for printing; it is shown with square pixels.
        file.seek(0)
        return _Shown(frame, orientation(file.read(_LARGEST_IMAGE)))
    return _Shown(frame, _turn_of(frame), stream.sample_aspect_ratio or Fraction(1))


def _turn_of(frame: "VideoFrame") -> int:
    """Return how a video's frame is turned: by right angles alone, as browsers do."""
    try:
        side_data: Any = frame.side_data
        matrix = side_data["DISPLAYMATRIX"]
    except KeyError:
        return UPRIGHT
    except ValueError:  # beside it there is something that PyAV has no name for
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
    if end in names or _USUAL.get(names[0]) == end:
        return end
    if b"webm" in head and "webm" in names:
        return "webm"
    return _USUAL.get(names[0], names[0])


def _show_cover(file: IO[bytes], thumbnail: Path) -> bool:
    """Make the thumbnail of a song's cover, if it has one."""
    import av  # noqa: PLC0415 - as above

    file.seek(0)
    with av.open(file, "r", options={"format_whitelist": _READABLE}) as container:
        cover = next((one for one in container.streams.video if _is_cover(one)), None)
        frame = None if cover is None else next(iter(container.decode(cover)), None)
    return isinstance(frame, av.VideoFrame) and _make_thumbnail(_Shown(frame), thumbnail)


def _make_thumbnail(shown: _Shown, path: Path) -> bool:
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


def _upright(shown: _Shown, width: int, height: int) -> "VideoFrame":
    """Return the frame turned as it is shown, in a size near the one that is wanted."""
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
        raise ValueError("the filter gave no picture")  # noqa: TRY004 - caught with all else
    return turned


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
