"""The facts about media files, which are as a player shows them."""

import tracemalloc
from fractions import Fraction
from pathlib import Path

import pytest

from sandbox.upstream.image_headers import animated_webp
from sandbox.upstream.media import MediaFacts, read_facts
from tests.sandbox import media_files as make

SIZE = (make.WIDTH, make.HEIGHT)
TURNED = (make.HEIGHT, make.WIDTH)
MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
LIVE = {"live": "1"}  # without a duration, as MediaRecorder writes it
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof+skip_trailer"}


def facts_of(folder: Path, data: bytes, name: str = "file") -> tuple[MediaFacts, Path]:
    """Return a file's facts and the path of its thumbnail."""
    path, thumbnail = folder / "data", folder / "thumbnail.jpg"
    path.write_bytes(data)
    return read_facts(path, name, thumbnail), thumbnail


def size_of(facts: MediaFacts) -> tuple[int | None, int | None]:
    """Return width and height."""
    return facts.width, facts.height


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "big-endian jpeg", "png", "webp", "video"])
def test_facts_of_rotated_media(tmp_path: Path, kind: str, orientation: int) -> None:
    """The size and the thumbnail of a photo or video are those of its upright picture."""
    data = {
        "jpeg": lambda: make.jpeg(orientation),
        "big-endian jpeg": lambda: make.jpeg(orientation, ">"),
        "png": lambda: make.png(orientation),
        "webp": lambda: make.webp(orientation),
        "video": lambda: make.with_matrix(make.video(frames=2), MATRICES[orientation]),
    }[kind]()
    facts, thumbnail = facts_of(tmp_path, data)
    assert size_of(facts) == (TURNED if orientation >= 5 else SIZE)
    assert make.white_corner(thumbnail) == make.CORNERS[orientation]


@pytest.mark.parametrize(
    "matrix",
    [(0.7071, 0.7071, -0.7071, 0.7071), (0.5, 0.866, -0.866, 0.5), (0, 0, 0, 0), (1, 1, 1, 1)],
)
def test_facts_ignore_oblique_matrix(
    tmp_path: Path, matrix: tuple[float, float, float, float]
) -> None:
    """Like browsers, it ignores a rotation that is not by right angles."""
    facts, _ = facts_of(tmp_path, make.with_matrix(make.video(frames=2), matrix))
    assert size_of(facts) == SIZE


@pytest.mark.parametrize(
    ("pixel", "width"), [(Fraction(4, 3), 128), (Fraction(8, 9), 85), (Fraction(1), 96)]
)
def test_facts_of_anamorphic_video(tmp_path: Path, pixel: Fraction, width: int) -> None:
    """A video without square pixels has its displayed width, even if it is rotated."""
    data = make.video(pixel=pixel, frames=2)
    assert size_of(facts_of(tmp_path, data)[0]) == (width, make.HEIGHT)
    turned, thumbnail = facts_of(tmp_path, make.with_matrix(data, MATRICES[6]))
    assert size_of(turned) == (make.HEIGHT, width)
    assert make.white_corner(thumbnail) == "top right"


@pytest.mark.parametrize(
    ("name", "form", "codec", "has_cover"),
    [
        ("song.mp3", "mp3", "libmp3lame", True),
        ("song.m4a", "mp4", "aac", True),
        ("song.flac", "flac", "flac", True),
        ("song.m4a", "mp4", "aac", False),
        ("song.wav", "wav", "pcm_s16le", False),
        ("song.ogg", "ogg", "libopus", False),
        ("song.aac", "adts", "aac", False),
        ("song.webm", "webm", "libopus", False),
    ],
)
def test_facts_of_audio(tmp_path: Path, name: str, form: str, codec: str, has_cover: bool) -> None:  # noqa: FBT001 - a parameter
    """Audio has a duration and no size, even with a cover, which becomes its thumbnail."""
    facts, _ = facts_of(tmp_path, make.sound(form, codec, with_cover=has_cover), name)
    assert facts.format == name.rpartition(".")[2]
    assert facts.duration == pytest.approx(1, abs=0.03)
    assert size_of(facts) == (None, None)
    assert facts.has_thumbnail == has_cover


@pytest.mark.parametrize(
    ("name", "form", "codec", "pixels"),
    [
        ("moving.webp", "webp", "libwebp_anim", "yuv420p"),
        ("moving.gif", "gif", "gif", "rgb8"),
        ("moving.png", "apng", "apng", "rgb24"),
    ],
)
def test_facts_of_animated_image(
    tmp_path: Path, name: str, form: str, codec: str, pixels: str
) -> None:
    """An animated image has a size, a thumbnail and a duration; a still image has no duration."""
    facts, thumbnail = facts_of(tmp_path, make.animation(form, codec, pixels), name)
    assert facts == MediaFacts(name.rpartition(".")[2], 0.2, *SIZE, has_thumbnail=True)
    assert make.white_corner(thumbnail) == "top left"
    still, _ = facts_of(tmp_path, make.animation(form, codec, pixels, frames=1), name)
    assert still == MediaFacts(name.rpartition(".")[2], None, *SIZE, has_thumbnail=True)


@pytest.mark.parametrize(
    ("name", "data", "size"),
    [
        ("recording.webm", make.video("webm", "libvpx", LIVE), SIZE),
        ("recording", make.video("webm", "libvpx", LIVE), SIZE),
        ("recording.weba", make.sound("webm", "libopus", LIVE), (None, None)),
        ("recording.mp4", make.video(options=FRAGMENTED), SIZE),
    ],
)
def test_facts_of_browser_recording(
    tmp_path: Path, name: str, data: bytes, size: tuple[int | None, int | None]
) -> None:
    """A browser's recording, which states no duration, is measured."""
    facts, _ = facts_of(tmp_path, data, name)
    assert facts.format == ("mp4" if name.endswith("mp4") else "webm")
    assert facts.duration == pytest.approx(1, abs=0.03)
    assert size_of(facts) == size


BROKEN = {
    "nothing": b"",
    "one byte": b"\xff",
    "a JPEG's beginning": make.jpeg(6)[:20],
    "a JPEG with endless EXIF": make.jpeg(6).replace(b"\x00\x08\x00\x01", b"\xff\xff\xff\xff"),
    "a WebP's beginning": make.animation("webp", "libwebp_anim", "yuv420p")[:40],
    "an empty WebP": b"RIFF\x04\0\0\0WEBP",
    "a WebP whose frame is nonsense": b"RIFF\xff\0\0\0WEBPVP8X\x0a\0\0\0"
    + bytes(10)
    + b"ANMF\x20\0\0\0"
    + bytes(32),
    "a PNG's beginning": make.png(6)[:50],
    "a TIFF's beginning": make.exif(6),
    "a recording's beginning": make.video("webm", "libvpx", LIVE)[:200],
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_facts_of_broken_file(tmp_path: Path, data: bytes) -> None:
    """A truncated or inconsistent file raises nothing."""
    facts, thumbnail = facts_of(tmp_path, data)
    assert facts.has_thumbnail == thumbnail.exists()


def test_animated_webp_with_many_chunks() -> None:
    """A WebP file with very many chunks needs little more memory than its size."""
    data = b"RIFF\xff\xff\xff\x03WEBP" + b"ABCD\0\0\0\0" * 50_000
    tracemalloc.start()
    try:
        assert animated_webp(data) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(data)
