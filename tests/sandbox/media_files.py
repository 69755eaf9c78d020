"""Small media files like those of devices, recorders and programs, made when a test needs them."""

import binascii
import io
import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Disposition

WIDTH, HEIGHT, RATE = 96, 64, 25
_SOUND_RATE = 48_000

# The displayed corner of the encoded picture's top left corner, by EXIF orientation.
CORNERS = {
    1: "top left",
    2: "top right",
    3: "bottom right",
    4: "bottom left",
    5: "top left",
    6: "top right",
    7: "bottom right",
    8: "bottom left",
}


def picture(number: int = 0) -> av.VideoFrame:
    """Return a black picture with a white top left quarter and a line that varies by number."""
    frame = av.VideoFrame(WIDTH, HEIGHT, "rgb24")
    line = frame.planes[0].line_size
    white = (b"\xff" * (WIDTH // 2 * 3)).ljust(line, b"\0")
    changing = bytes([40 * number % 256]) * line
    frame.planes[0].update(white * (HEIGHT // 2) + changing + bytes(line) * (HEIGHT // 2 - 1))
    frame.pts, frame.time_base = number, Fraction(1, RATE)
    return frame


def white_corner(path: Path) -> str:
    """Return the corner of a thumbnail that is white."""
    with av.open(path) as container:
        frame = next(container.decode(video=0)).reformat(format="gray")
    data, line = bytes(frame.planes[0]), frame.planes[0].line_size
    quarter_x, quarter_y = frame.width // 4, frame.height // 4
    levels = {
        f"{vertical} {horizontal}": data[y * line + x]
        for vertical, y in (("top", quarter_y), ("bottom", frame.height - 1 - quarter_y))
        for horizontal, x in (("left", quarter_x), ("right", frame.width - 1 - quarter_x))
    }
    (corner,) = [name for name, level in levels.items() if level > 128]
    return corner


def image(codec: str = "mjpeg", pixels: str = "yuvj420p") -> bytes:
    """Return one encoded picture."""
    frame = picture().reformat(format=pixels)
    stream = av.CodecContext.create(codec, "w")
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
    stream.time_base = Fraction(1, RATE)
    return b"".join(bytes(packet) for packet in [*stream.encode(frame), *stream.encode(None)])


def exif(orientation: int, order: str = "<") -> bytes:
    """Return EXIF data with an orientation and nothing else."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def jpeg(orientation: int, order: str = "<") -> bytes:
    """Return a photo as phones write it: the pixels as the sensor has them, and an orientation."""
    data, block = image(), b"Exif\0\0" + exif(orientation, order)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


def png(orientation: int) -> bytes:
    """Return a PNG with an `eXIf` chunk."""
    data, body = image("png", "rgb24"), b"eXIf" + exif(orientation)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", binascii.crc32(body))
    return data[:33] + chunk + data[33:]


def webp(orientation: int) -> bytes:
    """Return a WebP file with an `EXIF` chunk."""
    simple, block = image("libwebp", "yuv420p"), exif(orientation)
    sizes = (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x08\0\0\0" + sizes + simple[12:]
    body += b"EXIF" + struct.pack("<I", len(block)) + block
    return b"RIFF" + struct.pack("<I", len(body)) + body


def animation(form: str, codec: str, pixels: str, frames: int = 5) -> bytes:
    """Return an animated image with frames of 0.04 seconds."""
    return _muxed(form, {}, codec, pixels, frames=frames)


def video(
    form: str = "mp4",
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    pixel: Fraction | None = None,
    frames: int = RATE,
) -> bytes:
    """Return a video of one second without sound."""
    return _muxed(form, options or {}, codec, "yuv420p", pixel, frames)


def _muxed(  # one parameter for each property that a test varies
    form: str,
    options: Mapping[str, str],
    codec: str,
    pixels: str,
    pixel: Fraction | None = None,
    frames: int = RATE,
) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=dict(options)) as output:
        stream = output.add_stream(codec, RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        if pixel is not None:
            stream.codec_context.sample_aspect_ratio = pixel
        for number in range(frames):
            output.mux(stream.encode(picture(number).reformat(format=pixels)))
        output.mux(stream.encode(None))
    return file.getvalue()


def with_matrix(data: bytes, matrix: tuple[float, float, float, float]) -> bytes:
    """Return an MP4 whose only track has this display matrix, as phones write it."""
    at = data.index(b"tkhd") + 44
    a, b, c, d = (round(one * 65_536) for one in matrix)
    return data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[at + 36 :]


def sound(
    form: str, codec: str, options: Mapping[str, str] | None = None, *, with_cover: bool = False
) -> bytes:
    """Return one second of silence, with a cover for a song."""
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=dict(options or {})) as output:
        stream = output.add_stream(codec, _SOUND_RATE, layout="mono")
        cover = None
        if with_cover:
            cover = output.add_stream("mjpeg", 1)
            cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
            cover.disposition = Disposition.attached_pic
            frame = picture().reformat(format="yuvj420p")
            frame.time_base = Fraction(1)
            output.mux([*cover.encode(frame), *cover.encode(None)])
        for number in range(50):
            silence = av.AudioFrame("s16", "mono", _SOUND_RATE // 50)
            silence.planes[0].update(bytes(silence.planes[0].buffer_size))
            silence.sample_rate, silence.pts = _SOUND_RATE, number * silence.samples
            output.mux(stream.encode(silence))
        output.mux(stream.encode(None))
    return file.getvalue()
