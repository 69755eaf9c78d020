"""An asset's facts about its file, and its thumbnail."""

from pathlib import Path

import pytest
import requests

from tests.support.upstream_process import PAGE, ROOT, RunningUpstream

SAMPLES = ROOT / "sandbox" / "samples"


def register_sample(upstream: RunningUpstream, name: str, content_type: str) -> dict[str, object]:
    """Upload and register a sample, and return its asset."""
    url = upstream.upload((SAMPLES / name).read_bytes(), name, content_type)
    asset: dict[str, object] = upstream.register(url).json()
    return asset


@pytest.mark.parametrize(
    ("name", "content_type", "facts"),
    [
        ("sample.mp4", "video/mp4", ("mp4", 2.0, 320, 180)),
        ("sample.wav", "audio/wav", ("wav", 2.0, None, None)),
        ("sample.png", "image/png", ("png", None, 320, 180)),
    ],
)
def test_asset_has_facts_of_real_file(
    upstream: RunningUpstream, name: str, content_type: str, facts: tuple[object, ...]
) -> None:
    """Format, duration and size are those of the real file, and the samples are small."""
    asset = register_sample(upstream, name, content_type)
    assert (asset["format"], asset["durationSeconds"], asset["width"], asset["height"]) == facts
    assert Path(SAMPLES / name).stat().st_size < 100_000


def test_video_has_thumbnail(upstream: RunningUpstream) -> None:
    """A video has a JPEG thumbnail that the sandbox's pages may show; audio has none."""
    video = register_sample(upstream, "sample.mp4", "video/mp4")
    response = requests.get(str(video["thumbnailUrl"]), headers={"Origin": PAGE}, timeout=5)
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert response.content.startswith(b"\xff\xd8\xff")
    assert register_sample(upstream, "sample.wav", "audio/wav")["thumbnailUrl"] is None


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"#EXTM3U\n#EXTINF:1\n/etc/hostname\n", b"\x00\x00\x00\x18ftypmp42" * 9]
)
def test_register_accepts_unreadable_file(upstream: RunningUpstream, data: bytes) -> None:
    """A file that is not media can be registered, and those fields are null."""
    presigned = upstream.presign()
    headers = {"Content-Type": "video/mp4"}
    assert requests.put(presigned["uploadUrl"], data=data, headers=headers, timeout=5).ok
    asset = upstream.register(presigned["url"]).json()
    assert asset["size"] == len(data)
    assert {asset[name] for name in ("format", "durationSeconds", "width", "thumbnailUrl")} == {
        None
    }


def test_truncated_file_harms_nothing(upstream: RunningUpstream) -> None:
    """A broken file affects neither the server nor the facts of the next file."""
    data = bytearray((SAMPLES / "sample.mp4").read_bytes())
    data[3000:] = bytes(len(data) - 3000)
    assert upstream.register(upstream.upload(bytes(data))).status_code == 201
    assert register_sample(upstream, "sample.mp4", "video/mp4")["durationSeconds"] == 2.0
