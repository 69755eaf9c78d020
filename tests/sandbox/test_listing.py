"""`GET /v2/assets`: sorts, filters and cursors."""

import base64
import json
import time
from typing import Any

import pytest

from tests.support.upstream_process import ROOT, RunningUpstream

SORTS = [
    f"{key}{way}" for key in ("name", "date", "duration", "size", "kind") for way in ("Asc", "Desc")
]


def listing(upstream: RunningUpstream, **query: Any) -> dict[str, Any]:
    """Return a page."""
    response = upstream.call("GET", "/v2/assets", params=query)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


def names(page: dict[str, Any]) -> list[str]:
    """Return the names on a page."""
    return [asset["name"] for asset in page["items"]]


def all_names(upstream: RunningUpstream, **query: Any) -> list[str]:
    """Return the names on all pages."""
    found: list[str] = []
    while True:
        page = listing(upstream, **query)
        found += names(page)
        if "nextCursor" not in page:
            return found
        query["cursor"] = page["nextCursor"]


@pytest.fixture
def library(upstream: RunningUpstream) -> RunningUpstream:
    """Five assets that every sort puts in a different order."""
    samples = ROOT / "sandbox" / "samples"
    upstream.asset(b"1" * 50, name="delta", type="IMAGE")
    upstream.asset((samples / "sample.wav").read_bytes(), name="Alpha", type="AUDIO")
    upstream.asset((samples / "sample.mp4").read_bytes(), name="charlie", type="VIDEO")
    upstream.asset(b"1" * 10, name="\u00c9cho 100%", type="VIDEO")
    upstream.asset(b"1" * 10, name="bravo", type="AUDIO")
    return upstream


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("name", ["Alpha", "bravo", "charlie", "delta", "\u00c9cho 100%"]),
        ("date", ["delta", "Alpha", "charlie", "\u00c9cho 100%", "bravo"]),
        ("duration", ["delta", "\u00c9cho 100%", "bravo", "Alpha", "charlie"]),
        ("size", ["\u00c9cho 100%", "bravo", "delta", "charlie", "Alpha"]),
        ("kind", ["Alpha", "bravo", "delta", "charlie", "\u00c9cho 100%"]),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_list_sorts(library: RunningUpstream, key: str, expected: list[str], limit: int) -> None:
    """Each sort has its order and the opposite one, for every page size."""
    assert all_names(library, sortBy=f"{key}Asc", limit=limit) == expected
    assert all_names(library, sortBy=f"{key}Desc", limit=limit) == expected[::-1]


def test_list_is_newest_first(library: RunningUpstream) -> None:
    """By default the newest asset is first, and the count is of all assets."""
    page = listing(library, limit=2)
    assert names(page) == ["bravo", "\u00c9cho 100%"]
    assert page["totalCount"] == 5
    last = listing(library, cursor=page["nextCursor"])
    assert last["totalCount"] == 5
    assert "nextCursor" not in last


def test_list_cursor_is_stable(library: RunningUpstream) -> None:
    """Adding or deleting assets between two pages neither repeats nor hides another asset."""
    page = listing(library, limit=2)
    library.asset(name="new")
    library.call("DELETE", f"/v2/assets/{page['items'][1]['id']}")
    assert names(listing(library, cursor=page["nextCursor"])) == ["charlie", "Alpha", "delta"]


@pytest.mark.parametrize(
    "types",
    ["AUDIO,IMAGE", "AUDIO, IMAGE", '["AUDIO","IMAGE"]', ["AUDIO", "IMAGE"]],
)
def test_list_filters_types(library: RunningUpstream, types: object) -> None:
    """Types are a list with commas, a JSON array or a repeated parameter."""
    page = listing(library, types=types)
    assert names(page) == ["bravo", "Alpha", "delta"]
    assert page["totalCount"] == 3
    assert len(all_names(library, types="[]")) == 5


def test_list_searches_names(library: RunningUpstream) -> None:
    """A search finds a part of a name in any case, and has no wildcards."""
    assert names(listing(library, searchQuery="ALPH")) == ["Alpha"]
    assert names(listing(library, searchQuery="\u00e9CHO")) == ["\u00c9cho 100%"]
    assert names(listing(library, searchQuery="0%")) == ["\u00c9cho 100%"]
    assert names(listing(library, searchQuery="_")) == []


def test_list_filters_projects(upstream: RunningUpstream) -> None:
    """A project's assets can be listed separately, and be left out of the unfiltered list."""
    upstream.asset(name="free")
    upstream.asset(name="bound", projectId="sandbox-project")
    assert names(listing(upstream, projectId="sandbox-project")) == ["bound"]
    assert names(listing(upstream)) == ["bound", "free"]
    upstream.behave(projectAssetsInUnfilteredList=False)
    assert names(listing(upstream)) == ["free"]
    assert names(listing(upstream, projectId="sandbox-project")) == ["bound"]
    assert listing(upstream, projectId="other") == {"items": [], "totalCount": 0}


def test_list_lags_behind_registration(upstream: RunningUpstream) -> None:
    """The list can lag behind a registration, while the asset itself is available."""
    upstream.behave(listLagSeconds=3)
    asset = upstream.asset()
    registered = time.monotonic()
    assert listing(upstream)["totalCount"] == 0
    assert upstream.call("GET", f"/v2/assets/{asset['id']}").status_code == 200
    time.sleep(max(0, registered + 3 - time.monotonic()))
    assert listing(upstream)["totalCount"] == 1


def test_asset_times_follow_skewed_clock(upstream: RunningUpstream) -> None:
    """The upstream's clock can be behind, and an asset's times show it."""
    upstream.behave(clockSkewSeconds=-7200)
    moment = time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() - 7200))
    assert upstream.asset()["createdAt"].startswith(moment)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "ten"},
        {"sortBy": "date"},
        {"types": "VIDEO,TEXT"},
        {"types": json.dumps([{}])},
        {"cursor": "x"},
        {"cursor": "W10="},
        {"cursor": base64.urlsafe_b64encode(b'["dateDesc", "\\ud800", 1]').decode()},
        {"cursor": base64.urlsafe_b64encode(b'["dateDesc", 1, 99999999999999999999]').decode()},
        {"cursor": base64.urlsafe_b64encode(b"[" * 4000).decode()},
        {"limit": "9" * 5000},
    ],
)
def test_list_refuses_bad_query(upstream: RunningUpstream, query: dict[str, object]) -> None:
    """An invalid query is a 400 that names the parameter."""
    response = upstream.call("GET", "/v2/assets", params=query)
    assert response.status_code == 400
    assert response.json()["field"] in query


def test_list_refuses_cursor_of_another_sort(library: RunningUpstream) -> None:
    """A cursor of another sort is refused."""
    cursor = listing(library, limit=1)["nextCursor"]
    response = library.call("GET", "/v2/assets", params={"cursor": cursor, "sortBy": "nameAsc"})
    assert response.status_code == 400
