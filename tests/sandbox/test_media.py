"""What an asset says about its file, and the pictures made of it."""

from pathlib import Path

import pytest
import requests

from tests.support.upstream_process import PAGE, ROOT, RunningUpstream

SAMPLES = ROOT / "sandbox" / "samples"


def register_sample(upstream: RunningUpstream, name: str, content_type: str) -> dict[str, object]:
    """Upload and register a sample, and give its asset."""
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
def test_facts(
    upstream: RunningUpstream, name: str, content_type: str, facts: tuple[object, ...]
) -> None:
    """Format, duration and dimensions are those of the real file, which is small."""
    asset = register_sample(upstream, name, content_type)
    assert (asset["format"], asset["durationSeconds"], asset["width"], asset["height"]) == facts
    assert Path(SAMPLES / name).stat().st_size < 100_000


def test_thumbnail(upstream: RunningUpstream) -> None:
    """A video's thumbnail is a JPEG that the sandbox's pages may show; audio has none."""
    video = register_sample(upstream, "sample.mp4", "video/mp4")
    answer = requests.get(str(video["thumbnailUrl"]), headers={"Origin": PAGE}, timeout=5)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.content.startswith(b"\xff\xd8\xff")
    assert register_sample(upstream, "sample.wav", "audio/wav")["thumbnailUrl"] is None


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"#EXTM3U\n#EXTINF:1\n/etc/hostname\n", b"\x00\x00\x00\x18ftypmp42" * 9]
)
def test_unreadable(upstream: RunningUpstream, data: bytes) -> None:
    """A file that is no media is registered all the same, with those facts null."""
    ticket = upstream.presign()
    headers = {"Content-Type": "video/mp4"}
    assert requests.put(ticket["uploadUrl"], data=data, headers=headers, timeout=5).ok
    asset = upstream.register(ticket["url"]).json()
    assert asset["size"] == len(data)
    assert {asset[name] for name in ("format", "durationSeconds", "width", "thumbnailUrl")} == {
        None
    }


def test_truncated_sample(upstream: RunningUpstream) -> None:
    """A broken file harms neither the server nor what is asked about the next one."""
    data = bytearray((SAMPLES / "sample.mp4").read_bytes())
    data[3000:] = bytes(len(data) - 3000)
    assert upstream.register(upstream.upload(bytes(data))).status_code == 201
    assert register_sample(upstream, "sample.mp4", "video/mp4")["durationSeconds"] == 2.0
