"""Which of Sync's media types a file has: the one table of what browsers and systems call it. Pure.

The spellings and extensions are facts from Chromium's `net/base/mime_util.cc`, Firefox's
`nsExternalHelperAppService.cpp`, the registry of Windows and its DLNA types, Apple's uniform type
identifiers, Android's `android.mime.types` and codec names, freedesktop.org's shared-mime-info,
libmagic, and the issue threads of upload libraries.
"""

import re

_NAME = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"  # RFC 6838, section 4.2
# Recorders write parameters in any form (`video/webm;codecs=vp8,opus`), so none is read.
_ESSENCE = re.compile(rf"\s*({_NAME})\s*/\s*({_NAME})(?:[;,\s].*)?", re.ASCII | re.DOTALL)
_WILDCARD = re.compile(rf"\*/\*|{_NAME}/\*")
_FAMILIES = ("video", "audio", "image")

# The type that is sent to Sync, and other spellings of it. Sync lists the first nine of `audio`,
# three of `image` and four of `video`. Whether it takes the others is unknown: they are sent too.
SPELLINGS: dict[str, str] = {
    "audio/aac": """audio/aac-adts audio/aacp audio/adts audio/vnd.dlna.adts audio/x-aac
        audio/x-aac-adts audio/x-aacp audio/x-adts audio/x-hx-aac-adif audio/x-hx-aac-adts""",
    "audio/alac": "audio/x-alac",
    "audio/flac": "audio/x-flac application/flac application/x-flac",
    "audio/mp4": """audio/m4a audio/m4b audio/m4p audio/m4r audio/mp4a audio/mpeg4 audio/vnd.mp4
        audio/x-m4a audio/x-m4b audio/x-m4p audio/x-m4r audio/x-mp4 audio/x-mp4a""",
    "audio/mpeg": """audio/mp1 audio/mp2 audio/mp3 audio/mpa audio/mpeg-3 audio/mpeg3 audio/mpg
        audio/mpg3 audio/x-mp1 audio/x-mp2 audio/x-mp3 audio/x-mpeg audio/x-mpeg-2 audio/x-mpeg-3
        audio/x-mpeg2 audio/x-mpeg3 audio/x-mpegaudio audio/x-mpg audio/x-mpg3 application/mp3
        application/x-mp3""",
    "audio/ogg": """audio/oga audio/ogg-opus audio/x-flac+ogg audio/x-oga audio/x-ogg
        audio/x-oggflac audio/x-opus+ogg audio/x-speex+ogg audio/x-vorbis+ogg application/ogg
        application/x-ogg application/x-ogg-audio""",
    "audio/wav": """audio/pcm-wav audio/vnd.wav audio/vnd.wave audio/wave audio/x-pn-wav
        audio/x-pn-wave audio/x-vnd.wave audio/x-wav audio/x-wave application/wav
        application/x-wav""",
    "audio/x-ms-wma": "audio/vnd.ms-wma audio/wma audio/x-wma video/x-ms-wma",
    "audio/x-m3a": "audio/m3a",
    "audio/3gpp": "audio/3gp audio/x-3gpp",
    "audio/3gpp2": "audio/3g2",
    "audio/ac3": "audio/ac-3 audio/vnd.dolby.dd-raw audio/x-ac3",
    "audio/amr": "audio/amr-nb audio/x-amr",
    "audio/amr-wb": "audio/x-amr-wb",
    "audio/basic": "audio/au audio/x-au audio/x-basic",
    "audio/eac3": "audio/eac-3 audio/x-eac3",
    "audio/webm": "audio/weba audio/x-webm",
    "audio/x-aiff": "audio/aif audio/aifc audio/aiff audio/x-aif audio/x-aifc audio/x-pn-aiff",
    "audio/x-caf": "audio/caf",
    "audio/x-matroska": "audio/matroska audio/mka audio/x-mka",
    "image/jpeg": """image/jfif image/jpe image/jpg image/pipeg image/pjpeg image/vnd.jpeg
        image/x-citrix-jpeg image/x-citrix-pjpeg image/x-jfif image/x-jpeg image/x-jpg
        image/x-pjpeg application/jpg application/x-jpg""",
    "image/png": "image/x-citrix-png image/x-png application/png application/x-png",
    "image/webp": "image/x-webp",
    "image/apng": "image/vnd.mozilla.apng image/x-apng",
    "image/avif": "image/avif-sequence",
    "image/bmp": "image/x-bmp image/x-ms-bmp image/x-windows-bmp",
    "image/gif": "image/x-citrix-gif image/x-gif",
    "image/heic": "image/x-heic",
    "image/heif": "image/x-heif",
    "image/jxl": "image/x-jxl",
    "image/svg+xml": "image/svg image/svg-xml image/x-svg+xml",
    "image/tiff": "image/tif image/x-tif image/x-tiff",
    "video/mp4": """video/f4v video/m4v video/mp4v video/mp4v-es video/mpeg4 video/mpg4
        video/vnd.mp4 video/x-f4v video/x-m4v video/x-mp4 video/x-mp4v video/x-mpeg4
        application/mp4 application/mpeg4 application/x-extension-m4v application/x-extension-mp4
        application/x-mp4""",
    "video/quicktime": """video/mov video/qt video/x-mov video/x-qt video/x-quicktime image/mov
        application/quicktime application/x-quicktime""",
    "video/webm": "video/x-webm application/webm application/x-webm",
    "video/x-msvideo": """video/avi video/divx video/msvideo video/vnd.avi video/vnd.divx
        video/x-avi video/x-divx video/x-ms-avi video/xmpg2 image/avi application/avi
        application/x-avi application/x-msvideo application/x-troff-msvideo""",
    "video/3gpp": "video/3gp video/x-3gpp",
    "video/3gpp2": "video/3g2 video/3gp2",
    "video/mp2t": "video/m2ts video/mp2ts video/mpegts video/vnd.dlna.mpeg-tts video/x-mpegts",
    "video/mpeg": """video/mp1s video/mp2p video/mpeg-system video/mpeg2 video/mpg video/mpv
        video/x-mpeg video/x-mpeg-system video/x-mpeg2 video/x-mpeg2a video/x-mpg""",
    "video/ogg": """video/ogv video/theora video/x-ogg video/x-ogm video/x-ogm+ogg video/x-ogv
        video/x-theora video/x-theora+ogg application/x-ogm application/x-ogm-video
        application/x-ogg-video""",
    "video/x-dv": "video/dv",
    "video/x-flv": "video/flv video/vnd.adobe.flash.video application/x-flash-video",
    "video/x-matroska": """video/matroska video/matroska-3d video/mkv video/x-matroska-3d
        video/x-mkv application/matroska application/x-matroska""",
    "video/x-ms-asf": "video/asf video/x-ms-asf-plugin video/x-ms-wm application/vnd.ms-asf",
    "video/x-ms-wmv": "video/vnd.ms-wmv video/wmv video/x-wmv",
}
# Names of codecs, which browsers and Android report as types. The extension determines the
# container.
CODECS = {
    "audio/mp4a-latm": "audio/mp4",
    "audio/opus": "audio/ogg",
    "audio/speex": "audio/ogg",
    "audio/vorbis": "audio/ogg",
    "audio/x-opus": "audio/ogg",
    "audio/x-speex": "audio/ogg",
    "audio/x-vorbis": "audio/ogg",
}
EXTENSIONS: dict[str, str] = {
    "audio/aac": "aac adt adts",
    "audio/alac": "alac",
    "audio/flac": "flac",
    "audio/mp4": "m4a m4b m4p m4r mp4a f4a f4b",
    "audio/mpeg": "mp3 mp1 mp2 mpa mpga mpega m1a m2a m3a mp2a",
    "audio/ogg": "ogg oga opus spx",
    "audio/wav": "wav wave bwf",
    "audio/x-ms-wma": "wma",
    "audio/3gpp": "3ga",
    "audio/ac3": "ac3",
    "audio/amr": "amr",
    "audio/amr-wb": "awb",
    "audio/basic": "au snd",
    "audio/eac3": "eac3 ec3",
    "audio/webm": "weba",
    "audio/x-aiff": "aif aiff aifc",
    "audio/x-caf": "caf",
    "audio/x-matroska": "mka",
    "image/jpeg": "jpg jpeg jpe jfi jfif jif pjpeg pjp",
    "image/png": "png",
    "image/webp": "webp",
    "image/apng": "apng",
    "image/avif": "avif avifs",
    "image/bmp": "bmp dib",
    "image/gif": "gif",
    "image/heic": "heic",
    "image/heif": "heif hif",
    "image/jxl": "jxl",
    "image/svg+xml": "svg",
    "image/tiff": "tif tiff",
    "video/mp4": "mp4 m4v mp4v mpg4 mpeg4 f4v f4p insv lrv",  # the last two are cameras'
    "video/quicktime": "mov qt moov mqv",
    "video/webm": "webm",
    "video/x-msvideo": "avi divx",
    "video/3gpp": "3gp 3gpp",
    "video/3gpp2": "3g2 3gp2 3gpp2",
    "video/mp2t": "ts mts m2t m2ts",
    "video/mpeg": "mpg mpeg mpe m1v m2v mp2v m2p mpv vob",
    "video/ogg": "ogv ogm",
    "video/x-dv": "dv",
    "video/x-flv": "flv",
    "video/x-matroska": "mkv mk3d",
    "video/x-ms-asf": "asf",
    "video/x-ms-wmv": "wmv",
}
# Extensions that say more than the types that are reported for them. For example Chromium and
# Firefox report `video/mp4` or `audio/mpeg` for `.m4a` on some systems, Firefox `application/ogg`
# or `video/ogg` for `.ogg`.
TELLING: dict[str, str] = {
    "m4a m4b m4p m4r mp4a f4a f4b alac m4v mp4v f4v": """audio/3gpp audio/aac audio/mp4 audio/mpeg
        video/3gpp video/mp4 video/quicktime""",
    "3ga": "video/3gpp",
    "ogg oga opus spx ogv ogm": "audio/ogg video/ogg",
    "weba mka": "audio/webm audio/x-matroska video/webm video/x-matroska",
    "wma wmv": "audio/x-ms-wma video/x-ms-asf video/x-ms-wmv",
}
# Containers that hold sound or picture alike, by the type of each.
_AUDIO_OF = {
    "video/3gpp": "audio/3gpp",
    "video/3gpp2": "audio/3gpp2",
    "video/mp4": "audio/mp4",
    "video/ogg": "audio/ogg",
    "video/webm": "audio/webm",
    "video/x-matroska": "audio/x-matroska",
}
_OTHER = _AUDIO_OF | {audio: video for video, audio in _AUDIO_OF.items()}


def _inverted(table: dict[str, str]) -> dict[str, str]:
    return {name: key for key, names in table.items() for name in names.split()}


_CANONICAL = _inverted(SPELLINGS) | CODECS
_KNOWN = frozenset(SPELLINGS)
_BY_EXTENSION = _inverted(EXTENSIONS)
_OVERRULED = {
    extension: frozenset(types.split())
    for extensions, types in TELLING.items()
    for extension in extensions.split()
}
_OPEN = frozenset({"ogg"})  # telling, though films have it as well


def resolve(reported: str, file_name: str, family: str | None = None) -> str | None:
    """Return a file's media type: without parameters, in lower case, by the name that Sync has.

    The extension decides if the reported type is empty, malformed, of no media family or unknown,
    or if the extension determines the container more reliably.

    Args:
        reported: The type that a browser or a recorder gives the file: any text.
        file_name: The file's name.
        family: `video`, `audio` or `image`, if the caller names one. It decides between sound and
            picture if the container may have either; otherwise it changes nothing.

    Returns:
        The type, or None if nothing determines it.
    """
    extension = file_name.rstrip(". ").rpartition(".")[2].lower() if "." in file_name else ""
    decided = _decide(_essence(reported), extension)
    is_settled = extension in _OVERRULED and extension not in _OPEN
    other = _OTHER.get(decided or "", "")
    return other if not is_settled and other and family == family_of(other) else decided


def family_of(media_type: str) -> str:
    """Return what stands before the slash."""
    return media_type.partition("/")[0]


def accepted(entry: str) -> str:
    """Return an entry of a list of accepted types by the name that Sync has; wildcards stay.

    Raises:
        ValueError: It is no media type and no wildcard.
    """
    entry = entry.lower()
    if _WILDCARD.fullmatch(entry):
        return entry
    if _essence(entry) != entry:
        raise ValueError("a content type such as video/* or audio/mpeg")
    return _CANONICAL.get(entry, entry)


def _essence(text: str) -> str | None:
    match = _ESSENCE.fullmatch(text.lower())
    return f"{match[1]}/{match[2]}" if match else None


def _decide(essence: str | None, extension: str) -> str | None:
    by_extension = _BY_EXTENSION.get(extension)
    if essence is None or by_extension is None:
        return by_extension if essence is None else _CANONICAL.get(essence, essence)
    canonical = _CANONICAL.get(essence, essence)
    if essence in CODECS:
        heard = _AUDIO_OF.get(by_extension, by_extension)
        return heard if family_of(heard) == "audio" else canonical
    is_unknown = canonical not in _KNOWN and family_of(canonical) == family_of(by_extension)
    is_vague = family_of(essence) not in _FAMILIES or is_unknown
    is_overruled = canonical in _OVERRULED.get(extension, ())
    return by_extension if is_vague or is_overruled else canonical
