"""The vendor's Python SDK, unchanged, with the sandbox."""

import time
from collections.abc import Iterator

import httpx
import pytest
from sync import Audio, GenerationOptions, Sync, Video
from sync.common import NotFoundError, UnauthorizedError

from tests.support.upstream_process import KEY, ROOT, RunningUpstream

SAMPLE = ROOT / "sandbox" / "samples" / "sample.mp4"
SORTS = [
    f"{key}{way}" for key in ("name", "date", "duration", "size", "kind") for way in ("Asc", "Desc")
]


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """A client whose connections are closed at the end, which the SDK does not do."""
    with httpx.Client() as connections:
        yield connections


@pytest.fixture
def client(upstream: RunningUpstream, http: httpx.Client) -> Sync:
    """The SDK's client for the sandbox."""
    return Sync(base_url=upstream.url, api_key=KEY, httpx_client=http)


def test_sdk_gets_asset(upstream: RunningUpstream, client: Sync) -> None:
    """The SDK reads every field of an asset."""
    asset = upstream.asset(SAMPLE.read_bytes(), name="take")
    got = client.assets.get(asset["id"])
    assert (got.id, got.name, got.url, got.type) == (asset["id"], "take", asset["url"], "VIDEO")
    assert (got.size, got.format, got.duration_seconds) == (SAMPLE.stat().st_size, "mp4", 2.0)
    assert (got.width, got.height, got.input_type) == (320, 180, "UPLOAD")
    assert got.visibility == "USER"
    assert got.thumbnail_url == asset["thumbnailUrl"]
    assert abs(got.created_at.timestamp() - time.time()) < 60


def test_sdk_lists_assets(upstream: RunningUpstream, client: Sync) -> None:
    """The SDK can use every filter, every sort and the cursor."""
    upstream.asset(name="one", type="AUDIO")
    upstream.asset(name="two", type="VIDEO", projectId="sandbox-project")
    upstream.asset(name="three", type="IMAGE")
    page = client.assets.list(types=["AUDIO", "VIDEO"], sort_by="nameAsc")
    assert [asset.name for asset in page.items] == ["one", "two"]
    assert [asset.name for asset in client.assets.list(types=["IMAGE"]).items] == ["three"]
    assert client.assets.list(search_query="TW").total_count == 1
    assert client.assets.list(project_id="sandbox-project").items[0].name == "two"
    for sort in SORTS:
        assert client.assets.list(sort_by=sort).total_count == 3
    first = client.assets.list(limit=2)
    second = client.assets.list(limit=2, cursor=first.next_cursor)
    assert [asset.name for asset in [*first.items, *second.items]] == ["three", "two", "one"]
    assert second.next_cursor is None


def test_sdk_raises_its_errors(upstream: RunningUpstream, client: Sync, http: httpx.Client) -> None:
    """The SDK raises its own errors for refusals."""
    with pytest.raises(NotFoundError) as missing:
        client.assets.get("550e8400-e29b-41d4-a716-446655440000")
    assert missing.value.body.status_code == 404
    with pytest.raises(UnauthorizedError):
        Sync(base_url=upstream.url, api_key="wrong", httpx_client=http).assets.list()


def test_sdk_creates_generation(upstream: RunningUpstream, client: Sync) -> None:
    """The SDK creates a generation with an `assetId`, gets it until it completes, and lists it."""
    upstream.behave(generationSeconds=0.3)
    video = upstream.asset(SAMPLE.read_bytes())
    audio = upstream.asset(type="AUDIO")
    created = client.generations.create(
        model="lipsync-2",
        input=[Video(asset_id=video["id"]), Audio(asset_id=audio["id"])],
        options=GenerationOptions(sync_mode="cut_off"),
    )
    assert created.status == "PENDING"
    time.sleep(0.4)
    done = client.generations.get(created.id)
    assert (done.status, done.output_duration) == ("COMPLETED", 2.0)
    assert done.output_url
    assert done.input[0].asset_id == video["id"]
    assert [item.id for item in client.generations.list(status=["COMPLETED"])] == [created.id]
    assert client.generations.list(status=["FAILED", "REJECTED"]) == []
    assert client.generations.list(ids=[created.id])[0].id == created.id
