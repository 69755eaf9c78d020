"""The client of Sync's API: which requests it repeats, for how long, and what it accepts."""

from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.aws.secrets import CachedSecret, fixed
from chalicelib.core import errors
from chalicelib.core.clock import Clock
from chalicelib.syncapi import errors as sync_errors
from chalicelib.syncapi.client import MAX_PAGES, MAX_URL_SECONDS, SyncClient, Timeouts
from tests.support.clocks import ManualClock
from tests.support.scripted_sync import Received, Reply, ScriptedSync, asset, presigned

if TYPE_CHECKING:
    from collections.abc import Callable

PRESIGN = ("POST", "/v2/assets/upload")
REGISTER = ("POST", "/v2/assets")
URL = "https://storage.example/one.mp4"
SECONDS = Timeouts()
# Ambiguous outcomes. The responses arrive at once, so there is time for a second request.
AMBIGUOUS = [
    pytest.param(None, id="reset"),
    pytest.param(Reply(500), id="500"),
    pytest.param(Reply(503), id="503"),
    pytest.param(Reply(504), id="504"),
    pytest.param(Reply(408), id="408"),
    pytest.param(Reply(302, headers={"Location": "/"}), id="302"),
    pytest.param(Reply(201, b"<html>"), id="html"),
    pytest.param(Reply(201, b'{"id": "a'), id="half"),
]


def client_of(sync: ScriptedSync, clock: Clock | None = None) -> SyncClient:
    """Return a client with the timeouts of production."""
    clock = clock or Clock()
    return SyncClient(sync.url, fixed("a-key", clock), clock)


def presign(client: SyncClient) -> Any:
    """Presign a file."""
    return client.presign("one.mp4", "video/mp4", 5, lambda: None)


@pytest.mark.parametrize("reply", AMBIGUOUS)
def test_registration_is_sent_once(sync: ScriptedSync, reply: Reply | None) -> None:
    """A registration with an ambiguous outcome is not sent again, even if time is left."""
    sync.script = lambda _: reply
    with pytest.raises(sync_errors.OutcomeUnknown):
        client_of(sync).register(URL, "VIDEO", None, None)
    assert sync.count(*REGISTER) == 1


@pytest.mark.parametrize("reply", AMBIGUOUS)
@pytest.mark.parametrize("call", ["presign", "list", "delete"])
def test_idempotent_request_is_sent_twice(
    sync: ScriptedSync, call: str, reply: Reply | None
) -> None:
    """An idempotent request is sent once more, and then it fails."""
    sync.script = lambda _: reply
    client = client_of(sync)
    calls: dict[str, Callable[[], object]] = {
        "presign": lambda: presign(client),
        "list": lambda: list(client.newest_assets("VIDEO", None, None)),
        "delete": lambda: client.delete("a1"),
    }
    with pytest.raises(sync_errors.OutcomeUnknown):
        calls[call]()
    assert len(sync.requests) == 2


def test_read_is_sent_once(sync: ScriptedSync) -> None:
    """A read of one asset is not repeated, because a registration waits for it."""
    with pytest.raises(sync_errors.UpstreamFault):
        client_of(sync).read("a1")
    assert sync.count("GET", "/v2/assets/a1") == 1


@pytest.mark.parametrize(
    ("seconds", "requests"),
    [(SECONDS.presign - 1, 2), (SECONDS.presign - 0.9, 1)],
    ids=["a-second-left", "less-left"],
)
def test_presign_is_repeated_in_time(sync: ScriptedSync, seconds: float, requests: int) -> None:
    """A presign is sent again only if a second of its time is left."""
    clock = ManualClock()

    def fail_late(_: Received) -> Reply:
        if len(sync.requests) == 1:
            clock.advance(seconds)
        return Reply(500)

    sync.script = fail_late
    with pytest.raises(sync_errors.UpstreamFault):
        presign(client_of(sync, clock))
    assert sync.count(*PRESIGN) == requests


def test_repeated_presign_has_remaining_time(sync: ScriptedSync) -> None:
    """The second request of a presign has the time that the first one left."""
    clock = ManualClock()

    def slow(_: Received) -> Reply:
        clock.advance(7)
        return presigned() if len(sync.requests) > 1 else Reply(500)

    sync.script = slow
    with pytest.raises(sync_errors.UpstreamTimeout):
        presign(client_of(sync, clock))
    assert sync.count(*PRESIGN) == 2


def test_refused_key_is_read_again(sync: ScriptedSync) -> None:
    """After a 401 the key is read again. If it has changed, even a registration is repeated."""
    clock = ManualClock()
    keys = iter(["old", "new", "new"])
    sync.script = lambda _: Reply(401) if len(sync.requests) == 1 else Reply(201, asset(id="a1"))
    client = SyncClient(sync.url, CachedSecret(lambda: next(keys), clock), clock)
    assert client.register(URL, "VIDEO", None, None).id == "a1"
    assert sync.count(*REGISTER) == 2


@pytest.mark.parametrize("status", [401, 402, 403])
def test_same_key_is_not_sent_again(sync: ScriptedSync, status: int) -> None:
    """If the refused key has not changed, the request is not repeated."""
    sync.script = lambda _: Reply(status)
    with pytest.raises(sync_errors.UpstreamUnauthorized):
        client_of(sync).register(URL, "VIDEO", None, None)
    assert sync.count(*REGISTER) == 1


@pytest.mark.parametrize("status", [402, 403])
def test_other_refusal_leaves_the_key(sync: ScriptedSync, status: int) -> None:
    """Only a 401 is about the key, so after a 402 or 403 no other key is tried."""
    clock = ManualClock()
    keys = iter(["old", "new"])
    sync.script = lambda _: Reply(status)
    client = SyncClient(sync.url, CachedSecret(lambda: next(keys), clock), clock)
    with pytest.raises(sync_errors.UpstreamUnauthorized):
        client.register(URL, "VIDEO", None, None)
    assert len(sync.requests) == 1


def test_registration_has_only_given_fields(sync: ScriptedSync) -> None:
    """A registration has the upload's name and project, or no such fields."""
    sync.script = lambda _: Reply(201, asset(id="a1"))
    client = client_of(sync)
    client.register(URL, "VIDEO", None, None)
    client.register(URL, "AUDIO", "Take 1", "p1")
    assert [one.body for one in sync.requests] == [
        {"url": URL, "type": "VIDEO"},
        {"url": URL, "type": "AUDIO", "name": "Take 1", "projectId": "p1"},
    ]


@pytest.mark.parametrize("body", [{}, {"id": ""}, {"id": 5}, {"id": None}], ids=str)
def test_asset_without_id_is_ambiguous(sync: ScriptedSync, body: dict[str, Any]) -> None:
    """A success whose asset has no id is an ambiguous outcome."""
    sync.script = lambda _: Reply(201, body)
    with pytest.raises(sync_errors.UpstreamFault):
        client_of(sync).register(URL, "VIDEO", None, None)


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [(1, 1), (1.9, 1), (MAX_URL_SECONDS, MAX_URL_SECONDS), (MAX_URL_SECONDS * 2, MAX_URL_SECONDS)],
)
def test_presigned_url_has_whole_seconds(sync: ScriptedSync, seconds: float, kept: int) -> None:
    """`expires_in` is in whole seconds, and no longer than a signature is valid."""
    sync.script = lambda _: presigned(expires_in=seconds)
    assert presign(client_of(sync)).expires_in == kept


@pytest.mark.parametrize(
    "change",
    [
        {"uploadUrl": "no url"},
        {"url": "/path"},
        {"url": "https://[::1"},
        {"url": "https:///path"},
        {"url": "ftp://storage.example/path"},
        {"uploadUrl": "https://user@storage.example/path"},
        {"uploadUrl": None},
        {"url": 5},
        {"expiresIn": 0.5},
        {"expiresIn": True},
        {"expiresIn": "3600"},
    ],
    ids=str,
)
def test_unusable_presign_is_a_fault(sync: ScriptedSync, change: dict[str, Any]) -> None:
    """A presign without two URLs and at least one second is a fault of Sync."""
    sync.script = lambda _: Reply(201, {**presigned().body, **change})
    with pytest.raises(sync_errors.UpstreamFault):
        presign(client_of(sync))


def endless(request: Received) -> Reply:
    """Return a page of an endless list."""
    number = int(request.query.get("cursor", 0)) + 1
    return Reply(200, {"items": [asset()], "nextCursor": str(number)})


def test_list_ends_with_last_page(sync: ScriptedSync) -> None:
    """A page without a cursor is the last one, so no further page is requested."""
    sync.script = lambda _: Reply(200, {"items": [asset()], "nextCursor": None})
    assert [cursor for _, cursor in client_of(sync).newest_assets("VIDEO", None, "7")] == [None]
    assert len(sync.requests) == 1


def test_list_is_read_page_by_page(sync: ScriptedSync) -> None:
    """The list is read newest first, each page by the cursor of the last one, up to 20 pages."""
    sync.script = endless
    pages = list(client_of(sync).newest_assets("VIDEO", "p1", None))
    assert [cursor for _, cursor in pages] == [str(n + 1) for n in range(MAX_PAGES)]
    queries = [one.query for one in sync.requests]
    first = {"sortBy": "dateDesc", "limit": "100", "types": "VIDEO", "projectId": "p1"}
    assert queries[:2] == [first, {**first, "cursor": "1"}]
    assert len(queries) == MAX_PAGES == 20


def test_list_resumes_at_a_cursor(sync: ScriptedSync) -> None:
    """The first request has the given cursor, and no project if none is given."""
    sync.script = endless
    pages = client_of(sync).newest_assets("AUDIO", None, "7")
    assert next(pages)[1] == "8"
    query = {"sortBy": "dateDesc", "limit": "100", "types": "AUDIO", "cursor": "7"}
    assert sync.requests[0].query == query


def test_list_ends_when_its_time_is_over(sync: ScriptedSync) -> None:
    """When the time is over, no further page is requested, and the pages so far are kept."""
    clock = ManualClock()

    def slow(request: Received) -> Reply:
        clock.advance(SECONDS.lookup / 2)
        return endless(request)

    sync.script = slow
    pages = list(client_of(sync, clock).newest_assets("VIDEO", None, None))
    assert [cursor for _, cursor in pages] == ["1", "2"]
    assert len(sync.requests) == 2


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"items": None}, id="no-list"),
        pytest.param({"items": [asset(id="")]}, id="no-id"),
        pytest.param({"items": [asset(createdAt=None)]}, id="no-time"),
        pytest.param({"items": [asset(type=5)]}, id="no-type"),
        pytest.param({"items": ["a"]}, id="no-asset"),
        pytest.param({"items": [], "nextCursor": 5}, id="no-cursor"),
    ],
)
@pytest.mark.parametrize("page", [0, 1])
def test_unreadable_page_ends_list(sync: ScriptedSync, body: dict[str, Any], page: int) -> None:
    """If the first page can't be read, the lookup fails. A later one ends the list."""
    sync.script = lambda one: Reply(200, body) if len(sync.requests) > page else endless(one)
    pages = client_of(sync).newest_assets("VIDEO", None, None)
    if page:
        assert [cursor for _, cursor in pages] == ["1"]
    else:
        with pytest.raises(sync_errors.UpstreamFault):
            list(pages)


def test_unknown_asset_counts_as_deleted(sync: ScriptedSync) -> None:
    """A deletion succeeds if Sync does not know the asset, and fails after any other refusal."""
    statuses = iter([404, 403, 409])
    sync.script = lambda _: Reply(next(statuses))
    client = client_of(sync)
    client.delete("a/1")
    assert (sync.requests[0].method, sync.requests[0].path) == ("DELETE", "/v2/assets/a%2F1")
    for kind in (sync_errors.UpstreamUnauthorized, sync_errors.UpstreamRefused):
        with pytest.raises(kind):
            client.delete("a1")


def test_refused_permit_is_not_requested_again(sync: ScriptedSync) -> None:
    """A presign without a permit is not sent, and not repeated."""
    refused: list[int] = []

    def refuse() -> None:
        refused.append(1)
        raise errors.RateLimited("Wait.", retry_after=3)

    with pytest.raises(errors.RateLimited):
        client_of(sync).presign("one.mp4", "video/mp4", 5, refuse)
    assert (refused, sync.requests) == ([1], [])


def test_presign_names_the_file(sync: ScriptedSync) -> None:
    """A presign has the file's name, type and size, by Sync's names."""
    sync.script = lambda _: presigned()
    presign(client_of(sync))
    [sent] = sync.requests
    assert sent.body == {"fileName": "one.mp4", "contentType": "video/mp4", "size": 5}
