"""The media type that the broker decides for the types that browsers and systems report."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core import media_types

# The types in Sync's documentation of media, without `audio/x-m4a`, which is `audio/mp4` here.
SYNC = """video/mp4 video/quicktime video/webm video/x-msvideo audio/wav audio/mpeg audio/ogg
    audio/flac audio/alac audio/mp4 audio/x-ms-wma audio/aac audio/x-m3a image/jpeg image/png
    image/webp"""
UNLISTED = """audio/webm video/x-matroska audio/x-matroska image/heic image/heif image/gif
    image/avif image/svg+xml video/ogg video/3gpp video/mpeg audio/amr audio/x-caf audio/midi
    audio/basic video/x-never-heard-of image/vnd.adobe.photoshop application/zip
    text/plain model/gltf+json"""

# The types of `MediaRecorder.mimeType` and of its blobs in Chromium, Firefox and Safari (which
# spells codecs in several ways), and types that applications write by hand.
RECORDINGS = {
    "video/webm": """
        video/webm;codecs=vp8,opus
        video/webm;codecs=vp9,opus
        video/webm;codecs=av01.0.04M.08,opus
        video/webm;codecs="vp8,opus"
        video/webm;codecs="vp8, opus"
        video/webm; codecs="vp8, opus"
        video/webm;codecs=vp8
        video/webm;codecs=h264
        video/webm; codecs=vp8.0, opus
        VIDEO/WEBM;CODECS=VP8,OPUS
        video/webm;
        video/webm ;
        video/webm;;codecs
        video/webm;codecs=
        video/webm;codecs=vp8,opus;
        video/webm,codecs=vp8
        video/webm codecs=vp8
        video / webm ; codecs = vp8 , opus
        video/webm;="';/\\
        video/webm;codecs=vp8,opus;rate=30;é""",
    "video/mp4": """
        video/mp4;codecs=avc1.42000a,mp4a.40.2
        video/mp4; codecs="avc1.42E01E, mp4a.40.2"
        video/mp4;codecs=avc1,opus
        video/mp4;codecs=hvc1.1.6.L93.B0,mp4a.40.2
        video/mp4;codecs=vp9,opus
        Video/MP4;codecs=h264,aac""",
    "video/x-matroska": """
        video/x-matroska;codecs=avc1,opus
        video/x-matroska;codecs=avc1.64001f,opus
        video/x-matroska;codecs=hvc1,opus
        video/x-matroska; codecs=avc1""",
    "audio/webm": """
        audio/webm;codecs=opus
        audio/webm;codecs="opus"
        audio/webm; codecs=opus
        audio/webm;codecs=pcm
        audio/webm;""",
    "audio/ogg": """
        audio/ogg; codecs=opus
        audio/ogg;codecs=opus
        audio/ogg; codecs="opus" """,
    "audio/mp4": """
        audio/mp4;codecs=mp4a.40.2
        audio/mp4; codecs=mp4a.40.2
        audio/mp4;codecs=opus
        audio/mp4; codecs="alac" """,
    "audio/wav": "audio/wav;codecs=1",
    "audio/x-matroska": "audio/x-matroska;codecs=opus",
}
# Spellings of browsers and systems, for a file without a known extension.
ALIASES = {
    "audio/wav": """audio/x-wav audio/wave audio/x-wave audio/vnd.wave audio/vnd.wav
        audio/x-pn-wav audio/x-pn-wave""",
    "audio/mpeg": """audio/mp3 audio/x-mp3 audio/mpeg3 audio/x-mpeg3 audio/x-mpeg-3 audio/x-mpeg
        audio/mpg audio/x-mpg audio/x-mpegaudio audio/mpa audio/mp2""",
    "audio/mp4": "audio/m4a audio/x-m4a audio/x-m4b audio/x-m4p audio/mp4a-latm audio/x-m4r",
    "audio/aac": "audio/x-aac audio/aacp audio/vnd.dlna.adts audio/x-hx-aac-adts audio/aac-adts",
    "audio/flac": "audio/x-flac application/x-flac",
    "audio/alac": "audio/x-alac",
    "audio/ogg": """audio/x-ogg application/ogg application/x-ogg audio/opus audio/vorbis
        audio/x-vorbis+ogg audio/x-opus+ogg audio/x-speex+ogg audio/speex audio/x-flac+ogg""",
    "audio/x-ms-wma": "audio/wma audio/x-wma",
    "video/x-msvideo": """video/avi video/msvideo video/x-avi video/vnd.avi video/divx
        video/vnd.divx application/x-troff-msvideo image/avi""",
    "video/quicktime": "video/x-quicktime video/mov image/mov",
    "video/mp4": "video/x-m4v video/m4v video/mp4v-es application/mp4 video/x-f4v",
    "video/x-matroska": "video/matroska video/mkv video/x-mkv application/x-matroska",
    "audio/x-matroska": "audio/matroska",
    "video/3gpp": "video/3gp",
    "audio/3gpp": "audio/3gp",
    "video/mp2t": "video/vnd.dlna.mpeg-tts video/mp2ts",
    "video/mpeg": "video/mpg video/x-mpeg video/mp2p video/x-mpeg-system",
    "video/ogg": "video/x-theora+ogg video/x-ogm+ogg",
    "image/jpeg": "image/jpg image/pjpeg image/jfif image/pipeg image/x-citrix-jpeg image/x-jpeg",
    "image/png": "image/x-png image/x-citrix-png",
    "image/bmp": "image/x-ms-bmp image/x-bmp",
    "audio/x-aiff": "audio/aiff",
}
NAMES = {
    "video/mp4": "clip.mp4 CLIP.MP4 clip.m4v a.b.mp4 .mp4 VID_1.insv GL01.LRV",
    "video/quicktime": "IMG_0001.MOV clip.qt",
    "video/webm": "take.webm",
    "video/x-msvideo": "old.avi old.AVI",
    "video/x-matroska": "show.mkv",
    "video/mp2t": "cam.ts 00001.MTS 00001.m2ts",
    "video/ogg": "film.ogv film.ogm",
    "video/3gpp": "phone.3gp",
    "video/mpeg": "tape.mpg tape.mpeg",
    "video/x-ms-wmv": "tape.wmv",
    "audio/wav": "voice.wav voice.WAV",
    "audio/mpeg": "song.mp3 song.mp2 song.mpga",
    "audio/mp4": "memo.m4a book.m4b ring.m4r",
    "audio/ogg": "voice.ogg voice.oga voice.opus voice.spx",
    "audio/webm": "voice.weba",
    "audio/flac": "song.flac",
    "audio/alac": "song.alac",
    "audio/aac": "song.aac song.adts",
    "audio/x-ms-wma": "song.wma",
    "audio/x-matroska": "song.mka",
    "audio/3gpp": "voice.3ga",
    "audio/amr": "voice.amr",
    "audio/amr-wb": "voice.awb",
    "audio/ac3": "film.ac3",
    "audio/basic": "voice.au voice.snd",
    "video/x-dv": "tape.dv",
    "image/jpeg": "face.jpg face.jpeg face.jpe face.jfif face.pjpeg face.pjp face.JFIF",
    "image/png": "face.png",
    "image/webp": "face.webp",
    "image/heic": "IMG_1.HEIC",
    "image/avif": "face.avif face.avifs",
    "image/gif": "face.gif",
}


def pairs(table: dict[str, str], separator: str | None = None) -> list[tuple[str, str]]:
    """Return each spelling of a table with the type that is expected for it."""
    return [
        (text if separator is None else text.lstrip(), expected)
        for expected, texts in table.items()
        for text in texts.split(separator)
        if text.strip()
    ]


@pytest.mark.parametrize(("reported", "expected"), pairs(RECORDINGS, "\n"))
@pytest.mark.parametrize("name", ["upload", "recording.{}"])
def test_recorder_type_is_its_essence(reported: str, expected: str, name: str) -> None:
    """The essence of a recorder's type decides, with and without an extension."""
    extension = {"x-matroska": "mkv"}.get(expected.partition("/")[2], expected.partition("/")[2])
    if expected == "audio/x-matroska":
        extension = "mka"
    for text in (reported, f"  {reported}  ", reported.replace(";", " ;\t")):
        assert media_types.resolve(text, name.format(extension)) == expected


@pytest.mark.parametrize("media_type", f"{SYNC} {UNLISTED}".split())
def test_known_type_is_unchanged(media_type: str) -> None:
    """Types that Sync lists have one name, and types that it does not list are unchanged."""
    assert media_types.resolve(media_type, "a file") == media_type
    assert media_types.resolve(media_type.upper(), "a file.x-y") == media_type
    assert media_types.accepted(media_type.upper()) == media_type


@pytest.mark.parametrize(("reported", "expected"), pairs(ALIASES))
def test_alias_becomes_sync_spelling(reported: str, expected: str) -> None:
    """A browser's or system's spelling becomes Sync's, in settings too."""
    assert media_types.resolve(reported, "a file") == expected
    assert media_types.resolve(f" {reported.upper()}; a=b", "a file") == expected
    assert media_types.accepted(reported.upper()) == expected


NOTHING = ["", "  ", "application/octet-stream", "binary/octet-stream", "text/plain", "*/*"]
NOTHING += ["application/x-unknown", "model/vnd.mts", "video", "video/", "/mp4", "a b/c", "video/*"]


@pytest.mark.parametrize(("name", "expected"), pairs(NAMES))
def test_extension_decides_without_known_type(name: str, expected: str) -> None:
    """If the reported type is unknown, the extension decides, in upper and lower case."""
    for reported in NOTHING:
        assert media_types.resolve(reported, name) == expected, reported
    assert media_types.resolve("", name + " ") == expected


# The name of a file, the type that a browser or a system reports for it, and the right type.
NAMES_AND_TYPES = """
    voice.ogg   application/ogg             audio/ogg
    voice.ogg   video/ogg                   audio/ogg
    voice.ogg   audio/x-vorbis+ogg          audio/ogg
    voice.oga   video/ogg                   audio/ogg
    voice.opus  video/ogg                   audio/ogg
    voice.opus  audio/opus                  audio/ogg
    voice.spx   application/ogg             audio/ogg
    film.ogv    application/ogg             video/ogg
    film.ogv    audio/ogg                   video/ogg
    voice.weba  video/webm                  audio/webm
    voice.webm  audio/webm                  audio/webm
    voice.webm  audio/opus                  audio/webm
    take.webm   video/webm                  video/webm
    memo.m4a    video/mp4                   audio/mp4
    memo.m4a    audio/mpeg                  audio/mp4
    memo.m4a    audio/aac                   audio/mp4
    memo.m4a    video/3gpp                  audio/mp4
    memo.m4a    audio/mp4a-latm             audio/mp4
    memo.M4A    application/octet-stream    audio/mp4
    book.m4b    video/mp4                   audio/mp4
    ring.m4r    audio/mpeg                  audio/mp4
    song.alac   audio/mp4                   audio/alac
    song.alac   video/mp4                   audio/alac
    song.m4a    audio/alac                  audio/alac
    song.aac    audio/mp4a-latm             audio/aac
    song.mka    video/x-matroska            audio/x-matroska
    song.wma    video/x-ms-asf              audio/x-ms-wma
    clip.m4v    audio/mp4                   video/mp4
    clip.mp4    audio/mp4                   audio/mp4
    clip.mp4    application/mp4             video/mp4
    cam.ts      text/vnd.trolltech.linguist video/mp2t
    cam.ts      video/vnd.dlna.mpeg-tts     video/mp2t
    cam.mts     model/vnd.mts               video/mp2t
    old.avi     application/x-troff-msvideo video/x-msvideo
    song.mp3    audio/x-mpeg-layer-3        audio/mpeg
    clip.mp4    video/x-something           video/mp4
    take.mp4    video/webm                  video/webm
    take.mkv    video/webm                  video/webm
    face.png    image/webp                  image/webp
    take.mp4    image/png                   image/png
    phone.3gp   audio/3gpp                  audio/3gpp
    notes.pdf   application/pdf             application/pdf
    notes.txt   text/plain                  text/plain
    clip.mp4    application/pdf             video/mp4
"""


@pytest.mark.parametrize("row", NAMES_AND_TYPES.strip().splitlines())
def test_type_from_name_and_reported_type(row: str) -> None:
    """If the extension names the container more exactly than the reported type, it decides."""
    name, reported, expected = row.split()
    assert media_types.resolve(reported, name) == expected


@pytest.mark.parametrize(
    ("name", "reported", "family", "expected"),
    [
        ("voice.webm", "video/webm;codecs=opus", "audio", "audio/webm"),
        ("upload", "video/webm", "audio", "audio/webm"),
        ("voice.mp4", "", "audio", "audio/mp4"),
        ("voice.mp4", "video/mp4", "audio", "audio/mp4"),
        ("voice.mkv", "video/x-matroska", "audio", "audio/x-matroska"),
        ("film.ogg", "application/ogg", "video", "video/ogg"),
        ("film.ogg", "audio/ogg", "video", "video/ogg"),
        ("voice.ogg", "application/ogg", "audio", "audio/ogg"),
        ("upload", "application/ogg", "video", "video/ogg"),
        ("memo.m4a", "audio/mp4", "video", "audio/mp4"),
        ("film.ogv", "video/ogg", "audio", "video/ogg"),
        ("clip.mov", "video/quicktime", "audio", "video/quicktime"),
        ("song.mp3", "audio/mpeg", "video", "audio/mpeg"),
        ("take.webm", "video/webm", "image", "video/webm"),
    ],
)
def test_family_decides_container_type(
    name: str, reported: str, family: str, expected: str
) -> None:
    """The caller's `type` decides between sound and picture, if nothing contradicts it."""
    assert media_types.resolve(reported, name, family) == expected


@pytest.mark.parametrize("reported", [one for one in NOTHING if "/" not in one or "*" in one])
@pytest.mark.parametrize("name", ["notes", "notes.xyz", "", "mp4", "x.constructor", "x.__proto__"])
def test_unknown_type_and_name_have_no_type(reported: str, name: str) -> None:
    """If neither the type nor the extension is known, there is no type."""
    assert media_types.resolve(reported, name) is None


@pytest.mark.parametrize("entry", ["", "video", "*/mp4", "video/", "a b/c", "video/mp4;a=b", "é/x"])
def test_invalid_entry_is_refused(entry: str) -> None:
    """A setting's entry must be a type without parameters, or a wildcard."""
    with pytest.raises(ValueError, match="content type"):
        media_types.accepted(entry)


def test_type_table_is_one_to_one() -> None:
    """Each spelling has exactly one type, and each extension too."""
    spellings = [one for texts in media_types.SPELLINGS.values() for one in texts.split()]
    spellings += media_types.CODECS
    assert len(set(spellings)) == len(spellings)
    assert not set(spellings) & set(media_types.SPELLINGS)
    assert set(media_types.CODECS.values()) | set(media_types.EXTENSIONS) <= set(
        media_types.SPELLINGS
    )
    extensions = [one for texts in media_types.EXTENSIONS.values() for one in texts.split()]
    assert len(set(extensions)) == len(extensions)
    telling = [one for texts in media_types.TELLING for one in texts.split()]
    assert set(telling) <= set(extensions)
    for spelling in spellings:
        found = media_types.resolve(spelling, "a file")
        assert found is not None
        assert media_types.resolve(found, "a file") == found


@given(st.text() | st.from_regex(r"(video|audio|x)/[^;]+;.*"), st.text())
def test_any_reported_text_resolves_stably(reported: str, name: str) -> None:
    """Whatever is reported, the result is valid in a header, and is resolved to itself."""
    found = media_types.resolve(reported, name)
    if found is not None:
        assert re.fullmatch(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+", found)
        assert media_types.resolve(found, name) == found
