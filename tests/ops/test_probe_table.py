"""The probe's conclusions from what the sandbox can't do: it decides what was seen, or nothing."""

from typing import Any

import pytest

from ops.probing.calls import Exchange
from ops.probing.evidence import Evidence, Sent
from ops.probing.table import conclude

NOT_UPLOADED = "register before the upload"
URL = "https://assets.example/uploads/k/one%281%29.wav"
ASSET = {"id": "a", "createdAt": "2026-01-01T00:00:00Z", "type": "AUDIO", "visibility": "USER"}


def error(status: int, message: Any = "no", code: str | None = None, **more: Any) -> Exchange:
    """Return a refusal as Sync documents it."""
    body = {"message": message, "statusCode": status, **more}
    return Exchange(status, body | ({"errorCode": code} if code else {}))


def seen(responses: dict[str, Exchange], *appearances: dict[str, Any]) -> Evidence:
    """Return the evidence of responses and of one asset's appearances."""
    found = Evidence(responses)
    found.sent["register"] = Sent(URL, " one ")
    if appearances:
        found.responses["register"] = Exchange(201, ASSET)
        found.assets["register"] = [{**ASSET, **one} for one in appearances]
    return found


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (error(409), "notUploadedStatus must be one of 400, 404, 422, not 409"),
        (Exchange(201, ASSET), "was not refused: it returned 201"),
        (error(401), "returned 401, which is not about the request"),
        (error(429), "returned 429, which is not about the request"),
        (Exchange(403, None, "<html>blocked</html>"), "returned 403, which is not about"),
        (Exchange(502, None, "Bad Gateway"), "returned 502, which is not about the request"),
    ],
)
def test_unexpected_status_is_undecided(response: Exchange, why: str) -> None:
    """A status that the sandbox can't have, or that is not about the request, decides nothing."""
    found = conclude(seen({NOT_UPLOADED: response}))
    assert why in found.undecided["notUploadedStatus"]
    assert "notUploadedStatus" not in found.behavior


def test_missing_response_is_undecided() -> None:
    """A step that was not taken is named with its reason."""
    evidence = Evidence(gaps={NOT_UPLOADED: "was not sent: for a reason"})
    reason = conclude(evidence).undecided["notUploadedStatus"]
    assert reason == f"`{NOT_UPLOADED}` was not sent: for a reason."
    assert conclude(Evidence()).behavior == {}


@pytest.mark.parametrize(
    ("code", "values"), [(None, [False]), ("uploaded_file_not_found", [True]), ("other", [])]
)
def test_code_is_known_absent_or_undecided(code: str | None, values: list[bool]) -> None:
    """Another code than the expected one is neither its presence nor its absence."""
    found = conclude(seen({NOT_UPLOADED: error(422, code=code)}))
    assert [found.behavior[name] for name in found.behavior if name == "notUploadedCode"] == values
    assert found.behavior["notUploadedStatus"] == 422


def test_messages_of_both_shapes_are_undecided() -> None:
    """If some errors have a list and others a string, the shape is undecided."""
    both = {"a": error(400, ["no"]), "b": error(404)}
    assert "'list', 'string'" in conclude(seen(both)).undecided["messageShape"]
    assert conclude(seen({"a": both["a"]})).behavior["messageShape"] == "list"


def test_sizes_that_differ_are_undecided() -> None:
    """If 0 bytes and too many bytes have different statuses, there is no one status."""
    responses = {
        "presign": Exchange(201, {}),
        "presign 0 bytes": error(400),
        "presign 5 GiB and a byte": error(413),
    }
    assert "400, 413" in conclude(seen(responses)).undecided["sizeRangeStatus"]


def test_limit_like_the_range_is_undecided() -> None:
    """If 5 GiB is refused like a byte more, the plan may not be the reason."""
    responses = {
        "presign": Exchange(201, {}),
        "presign 5 GiB": error(422, "5368709120 is too much"),
        "presign 5 GiB and a byte": error(422, "5368709121 is too much"),
    }
    found = conclude(seen(responses))
    assert "oversizeStatus" not in found.behavior
    responses["presign 5 GiB"] = error(422, "5368709120 exceeds your plan")
    assert conclude(seen(responses)).behavior["oversizeStatus"] == 422
    del responses["presign"]
    assert "oversizeStatus" not in conclude(seen(responses)).behavior


@pytest.mark.parametrize(
    ("refusal", "value"),
    [
        (error(404, f"{URL} is missing"), "notFound"),
        (error(404, "it is empty"), None),
        (error(422, "it is empty"), "refused"),
        (error(422, "it is empty", code="empty"), None),
    ],
)
def test_empty_object_is_compared_with_missing_one(refusal: Exchange, value: str | None) -> None:
    """An empty object counts as missing if its refusal is the same but for what it quotes."""
    evidence = seen({NOT_UPLOADED: error(404, "x is missing"), "register an empty object": refusal})
    evidence.sent[NOT_UPLOADED] = Sent("x", None)
    assert conclude(evidence).behavior.get("emptyObject") == value


@pytest.mark.parametrize(
    ("urls", "value"),
    [
        ([URL], "same"),
        ([None], "absent"),
        (["https://assets.example/uploads/k/one(1).wav"], "normalized"),
        (["https://ASSETS.example:443/uploads/k/one%281%29.wav"], "normalized"),
        (["https://cdn.example/one.wav?X-Amz-Signature=0abc"], "rewritten"),
        ([URL, None], None),
    ],
)
def test_urls_are_compared(urls: list[str | None], value: str | None) -> None:
    """A URL is the same, absent, respelled or another one, if all responses agree."""
    found = conclude(seen({}, *({"url": url} for url in urls)))
    assert found.behavior.get("assetUrl") == value


@pytest.mark.parametrize(
    ("name", "value"), [(" one ", "same"), ("one", "trimmed"), (None, "absent"), ("ONE", None)]
)
def test_names_are_compared(name: str | None, value: str | None) -> None:
    """A name is the same, trimmed, absent, or changed in a way that the sandbox can't do."""
    assert conclude(seen({}, {"name": name})).behavior.get("assetLabels") == value


def test_project_contradicts_the_name() -> None:
    """A project that is absent although the name is there decides nothing."""
    evidence = seen({}, {"name": " one "})
    evidence.sent["register in a project"] = Sent(URL, " one ", "p")
    evidence.assets["register in a project"] = [{**ASSET, "projectId": None}]
    assert "`projectId` is None" in conclude(evidence).undecided["assetLabels"]
    evidence.assets["register in a project"] = [{**ASSET, "projectId": "p"}]
    assert conclude(evidence).behavior["assetLabels"] == "same"


def test_null_and_missing_fields_are_undecided() -> None:
    """If some empty fields are null and others are missing, both are listed."""
    found = conclude(seen({}, {"name": None, "url": URL}))
    assert "Null: `name`. Missing: `durationSeconds`" in found.undecided["optionalFields"]


@pytest.mark.parametrize(
    ("missing", "wrong", "value"),
    [
        ("Send x-api-key", "Send x-api-key", "header"),
        ("Send x-api-key", "Unauthorized", "byCause"),
        ("Unauthorized", "Unauthorized", "plain"),
        ("Unauthorized", "Send x-api-key", None),
        ("Unauthorized", "Go away", None),
    ],
)
def test_401_shapes_are_known_by_their_words(missing: str, wrong: str, value: str | None) -> None:
    """The shapes of a 401 are those for a missing key, without a cause, or unknown ones."""
    responses = {
        "read without a key": error(401, missing),
        "read with a wrong key": error(401, wrong),
    }
    assert conclude(seen(responses)).behavior.get("unauthorizedShape") == value


def test_foreign_status_needs_its_code() -> None:
    """An unknown key of storage that counts as not uploaded does not show the other status."""
    step = "register an unknown key of storage"
    found = conclude(seen({step: error(404, code="uploaded_file_not_found")}))
    assert "404 `uploaded_file_not_found`" in found.undecided["foreignStatus"]
