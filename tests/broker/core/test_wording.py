"""The messages of refusals: the name of the file, human units, and what to do next."""

import re

import pytest

from chalicelib.core import wording
from tests.support.running_broker import Api, RunningBroker, token
from tests.support.upstream_process import RunningUpstream


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1500, "1.5 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1 MB"),
        (64_500_000, "64.5 MB"),
        (6_442_450_944, "6.4 GB"),
        (5_368_709_120, "5.4 GB"),
        (10**12, "1 TB"),
        (10**20, "100000 PB"),
    ],
)
def test_size_has_decimal_units(amount: int, words: str) -> None:
    """Sizes are in decimal units with one decimal, as file managers show them."""
    assert wording.size(amount) == words


@pytest.mark.parametrize(
    ("accepted", "words"),
    [
        (("video/*", "audio/*", "image/*"), "a video, audio or image file"),
        (("*/*",), "a video, audio or image file"),
        (("audio/*",), "an audio file"),
        (("video/mp4",), "an MP4 video file"),
        (("video/quicktime", "video/mp4"), "an MOV video or MP4 video file"),
        (("audio/mpeg", "image/*"), "an MP3 audio or image file"),
        (("image/png", "image/jpeg", "image/webp"), "a PNG image, JPEG image or WebP image file"),
        (("image/svg+xml",), "an SVG image file"),
        (("audio/x-caf",), "a CAF audio file"),
        (("application/mxf",), "an MXF file"),
    ],
)
def test_choose_names_accepted_kinds(accepted: tuple[str, ...], words: str) -> None:
    """Accepted kinds have the names that people know, never media types."""
    assert wording.choose(accepted) == f" Choose {words}."


def test_choose_without_accepted_kinds() -> None:
    """If nothing is accepted, the message has no advice to choose another file."""
    assert wording.choose(()) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 second"), (1.2, "2 seconds"), (60, "a minute"), (61, "2 minutes"), (3601, "2 hours")],
)
def test_wait_is_rounded_up(seconds: float, words: str) -> None:
    """A wait is rounded up to whole units."""
    assert wording.wait(seconds) == f"in {words}"


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (11, '"a" is 11 bytes. The largest file allowed is 10 bytes.'),
        (10**30, '"a" is too large. The largest file allowed is 10 bytes.'),
        (float("inf"), '"a" is too large. The largest file allowed is 10 bytes.'),
    ],
)
def test_impossible_size_is_not_repeated(amount: float, words: str) -> None:
    """A size that no file can have is not repeated."""
    assert wording.too_large('"a"', amount, 10) == words


def test_presign_refusal_names_file_and_type(api: Api, upstream: RunningUpstream) -> None:
    """Sync's refusal of a type at the presign names the file and its type."""
    upstream.behave(refusedContentTypes=["video/x-matroska"])
    body = {"fileName": "clip.mkv", "contentType": "video/x-matroska;codecs=avc1,opus", "size": 5}
    response = api.call("POST", "/uploads", json=body)
    assert (response.status_code, response.json()["code"]) == (422, "file_rejected")
    detail = response.json()["detail"]
    start = 'Sync does not accept "clip.mkv" (video/x-matroska). Sync says: contentType'
    assert detail.startswith(start)
    assert detail.endswith(".")
    upstream.behave(planMaxBytes=4, refusedContentTypes=[])
    response = api.call("POST", "/uploads", json=body)
    assert (response.status_code, response.json()["code"]) == (413, "file_too_large")
    assert response.json()["detail"].startswith(
        '"clip.mkv" is larger than Sync allows. Sync says: '
    )


@pytest.mark.parametrize("status", [404, 405, 410])
def test_unknown_presign_url_does_not_blame_file(
    api: Api, upstream: RunningUpstream, status: int
) -> None:
    """If Sync does not know the presign's URL, the message does not blame the file."""
    upstream.order({"kind": "answer", "status": status}, "POST", "/v2/assets/upload")
    body = {"fileName": "clip.mp4", "contentType": "video/mp4", "size": 5}
    response = api.call("POST", "/uploads", json=body)
    assert (response.status_code, response.json()["code"]) == (502, "upstream_refused")
    assert response.json()["detail"].endswith("Tell those who run it.")
    assert api.call("GET", "/uploads").json() == {"items": []}


def test_lowered_plan_refuses_renewal(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """A plan that was lowered refuses a renewal like a new upload."""
    upload = api.begin()
    broker.clock.advance(2000)
    upstream.behave(planMaxBytes=4)
    response = api.call("POST", f"/uploads/{upload['id']}/renew")
    assert (response.status_code, response.json()["code"]) == (413, "file_too_large")
    assert response.json()["detail"].startswith('"clip.mp4" is larger than Sync allows.')


NOT_FOR_END_USERS = re.compile(r"sync\.|(video|audio|image|application)/|https?:|\d{4}|[a-z]_[a-z]")


def test_ended_upload_has_plain_message(
    api: Api, broker: RunningBroker, upstream: RunningUpstream
) -> None:
    """Each end of an upload names the file and says what to do, without codes and URLs."""
    pending, cancelled, done = api.begin(), api.begin(), api.registered()
    api.call("DELETE", f"/uploads/{cancelled['id']}")
    upstream.order({"kind": "answer", "status": 404}, "POST", "/v2/assets")
    upstream.order({"kind": "answer", "status": 422}, "POST", "/v2/assets")
    responses = {
        '"clip.mp4" has not arrived at Sync yet.': api.complete(pending),
        '"clip.mp4" has not arrived at Sync yet. Try again in a moment.': api.complete(pending),
        '"clip.mp4" was cancelled. Choose the file to upload it again.': api.complete(cancelled),
        '"clip.mp4" is uploaded already.': api.call("DELETE", f"/uploads/{done['id']}"),
        "There is no such upload, or it belongs to somebody else.": api.call(
            "GET", f"/uploads/{'0' * 32}"
        ),
        "The link was refused by Sync.": api.call(
            "POST", "/assets", json={"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
        ),
    }
    for words, response in responses.items():
        assert response.json()["detail"] == words
        assert not NOT_FOR_END_USERS.search(words)
    api.token = token(upload={"contentTypes": ["audio/*"]})
    link = {"url": "https://media.example.com/a.mp4", "type": "VIDEO"}
    refused = api.call("POST", "/assets", json=link).json()["detail"]
    assert refused == "A video file can't be used here. Choose an audio file."
    plain = api.call("POST", "/assets", json={**link, "url": "http://media.example.com/a.mp4"})
    assert plain.json()["detail"] == "This link can't be added: it must be https."
    assert broker.lines()


def test_quota_refusal_has_plain_message(broker: RunningBroker, upstream: RunningUpstream) -> None:
    """A refusal by a quota has its numbers and says when to try again."""
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 600_000}
    for settings, words in (
        ({"MAX_OPEN_UPLOADS": "1"}, r"You have 1 upload that did not finish, and 1 can be open "),
        ({"UPLOADS_PER_DAY": "1"}, r"You have started 1 upload today, which is all that you can\."),
        (
            {"BYTES_PER_DAY": "1000000"},
            r"You have uploaded 600 kB of the 1 MB that you can upload in a day, and this file",
        ),
    ):
        broker.configure(upstream, **settings)
        api = Api(broker)
        assert api.call("POST", "/uploads", json=body).status_code == 201
        refused = api.call("POST", "/uploads", json=body).json()
        assert refused["code"] == "quota_exceeded"
        assert re.match(words, refused["detail"])


@pytest.mark.parametrize("field", ["maxOpen", "perDay", "bytesPerDay"])
def test_caller_without_quota_gets_no_advice(api: Api, field: str) -> None:
    """A caller without any quota is not advised to finish an upload or to wait."""
    api.token = token(upload={field: 0})
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5}
    refused = api.call("POST", "/uploads", json=body).json()
    assert refused["code"] == "quota_exceeded"
    assert refused["detail"] == "You can't upload anything here. Ask those who run this service."


@pytest.mark.parametrize(
    "url",
    [
        "https://bücher.example/x.mp4",
        "https://media.example.com/my clip.mp4",
        "media.example.com/x.mp4",
        "https://me:secret@media.example.com/x.mp4",
        "https://media%2eexample.com/x.mp4",
        "https://localhost/x.mp4",
        "https://[::1/x.mp4",
        "https://media.example.com:x/x.mp4",
        "https://assets.sync.so/x.mp4",
        "",
    ],
)
def test_refused_link_has_plain_message(
    broker: RunningBroker, upstream: RunningUpstream, url: str
) -> None:
    """The message for a refused link is for end users; `errors` has the rule."""
    broker.configure(upstream, SYNC_STORAGE_HOSTS="assets.sync.so")
    response = Api(broker).call("POST", "/assets", json={"url": url, "type": "VIDEO"}).json()
    assert response["detail"].startswith("This link can't be added: it ")
    assert not re.search(r"ASCII|URL|host|credentials|escapes|href", response["detail"])
    assert response["errors"][0]["detail"].startswith("must ")


def test_refused_name_has_plain_message(api: Api) -> None:
    """The message for a name with an invisible character does not name the character."""
    body = {"fileName": "a.mp4", "contentType": "video/mp4", "size": 5, "name": "\u200fa"}
    response = api.call("POST", "/uploads", json=body).json()
    assert response["detail"] == (
        "Choose another name: it has an invisible character that can't be used."
    )
