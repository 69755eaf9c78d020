"""Every undocumented behaviour of Sync: how the probe finds it out, or why it does not.

One row for each switch of the sandbox (`sandbox/upstream/behavior.py`), by its name there. To add a
switch, add a row; a test lists the switches that have none. A row that is probed derives the value
from the evidence of a run. It raises `Undecided` rather than guess.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias
from urllib.parse import unquote

from chalicelib.core import urls
from chalicelib.core.types import Json
from ops.probing.calls import Exchange
from ops.probing.evidence import CONTENT_TYPES, Evidence, Undecided, agreed, words
from sandbox.upstream.behavior import Behavior, BehaviorError, camel

_OPTIONAL = (
    *("name", "url", "format", "inputType", "thumbnailUrl", "projectId"),
    *("size", "width", "height", "durationSeconds"),
)
_FOREIGN = "file_not_in_org_storage"
_NOT_UPLOADED = "uploaded_file_not_found"
_OVERSIZE = "file_size_exceeds_plan_limit"


@dataclass(frozen=True)
class Probed:
    """A behaviour that a run can find out without harm.

    Attributes:
        question: The question, for the report.
        find: Returns the value, as the sandbox has it or as it was seen; raises `Undecided`.
        meaning: What it means for the broker: one sentence, or one for each value.
        concerns: The values that cost the operator something, so that the doctor warns of them.
    """

    question: str
    find: Callable[[Evidence], Any]
    meaning: str | Mapping[Any, str]
    concerns: tuple[Any, ...] = ()

    def means(self, value: Any) -> str:
        """Return what a value means for the broker."""
        if isinstance(self.meaning, str):
            return self.meaning
        return self.meaning[value]


@dataclass(frozen=True)
class NotProbed:
    """A behaviour that can't be found out without harm.

    Attributes:
        reason: Why, as a sentence.
    """

    reason: str


Row: TypeAlias = Probed | NotProbed


def _not_uploaded_status(seen: Evidence) -> int:
    return seen.refusal("register before the upload").status


def _not_uploaded_code(seen: Evidence) -> bool:
    return _has_code(seen.refusal("register before the upload"), _NOT_UPLOADED)


def _has_code(refusal: Exchange, expected: str) -> bool:
    if refusal.code not in {None, expected}:
        raise Undecided(f"The code was `{refusal.code}`, not `{expected}`.")
    return refusal.code is not None


def _empty_object(seen: Evidence) -> str:
    found = seen.response("register an empty object")
    if found.is_success:
        return "registered"
    missing = seen.refusal("register before the upload")
    if _is_same_refusal(found, missing, seen):
        return "notFound"
    if found.status == 422 and found.code is None:  # noqa: PLR2004 - the sandbox's only other refusal
        return "refused"
    raise Undecided(f"It was refused with {words(found)}, which the sandbox can't do.")


def _is_same_refusal(one: Exchange, other: Exchange, seen: Evidence) -> bool:
    """Whether two refusals differ in nothing but what they quote from their requests."""
    texts = []
    for exchange in (one, other):
        text = exchange.message
        for sent in seen.sent.values():
            for quoted in (sent.url, unquote(sent.url), sent.name):
                text = text.replace(quoted, "") if quoted else text
        texts.append((exchange.status, exchange.code, re.sub(r"\d+", "0", text)))
    return texts[0] == texts[1]


def _size_refusal(seen: Evidence, step: str) -> Exchange:
    """Return the refusal of a size, of a content type that is accepted with another size."""
    seen.success("presign")
    return seen.refusal(step)


def _oversize(seen: Evidence) -> Exchange:
    refusal = _size_refusal(seen, "presign 5 GiB")
    if _is_same_refusal(refusal, seen.refusal("presign 5 GiB and a byte"), seen):
        raise Undecided("5 GiB and a byte more are refused alike, so the plan may not be why.")
    return refusal


def _oversize_status(seen: Evidence) -> int:
    return _oversize(seen).status


def _oversize_code(seen: Evidence) -> bool:
    return _has_code(_oversize(seen), _OVERSIZE)


def _size_range_status(seen: Evidence) -> Any:
    steps = ("presign 0 bytes", "presign 5 GiB and a byte")
    return agreed(
        [_size_refusal(seen, step).status for step in steps], "0 and 5 GiB + 1 bytes differ"
    )


def _unreachable_status(seen: Evidence) -> int:
    return seen.refusal("register an unreachable URL").status


def _foreign_status(seen: Evidence) -> int:
    refusal = seen.refusal("register an unknown key of storage")
    if refusal.code != _FOREIGN:
        raise Undecided(f"It was refused with {words(refusal)}, not with `{_FOREIGN}`.")
    return refusal.status


def _duplicate_url(seen: Evidence) -> str:
    first, second = seen.success("register"), seen.success("register again")
    return "same" if first.get("id") == second.get("id") else "new"


def _unnamed_asset(seen: Evidence) -> str:
    found = seen.appearances("register without a name")
    name = agreed([one.get("name") for one in found], "The responses name it differently")
    if name is None:
        labels = agreed(
            [one.get("name") is None for one in seen.appearances("register")],
            "The responses differ in whether an asset has its name",
        )
        if labels:
            raise Undecided("No response has an asset's name, with or without one.")
        return "null"
    sent = seen.sent["register without a name"]
    if name in {sent.file_name, unquote(sent.url.rpartition("/")[2])}:
        return "fileName"
    raise Undecided(f"Its name is {name!r}, which the sandbox can't do.")


def _records_digest(seen: Evidence) -> bool:
    body = seen.success("find by digest")
    return isinstance(body.get("asset"), dict)


def _content_type_status(seen: Evidence) -> Any:
    seen.success("presign")  # else a refusal may be for another reason
    names = [f"presign {name}" for name in CONTENT_TYPES]
    refused = [name for name in names if not seen.response(name).is_success]
    if not refused:
        raise Undecided("No content type that was tried is refused.")
    found = [seen.refusal(name).status for name in refused]
    return agreed(found, "Content types are refused differently")


def _expires_in(seen: Evidence) -> Any:
    return agreed(seen.expiries, "The presigns have different values")


def _unauthorized_shape(seen: Evidence) -> str:
    shapes = {
        step: _shape_of_401(seen, step) for step in ("read without a key", "read with a wrong key")
    }
    match tuple(shapes.values()):
        case ("header", "header"):
            return "header"
        case ("plain", "plain"):
            return "plain"
        case ("header", "plain"):
            return "byCause"
    raise Undecided("A wrong key gets the words for a missing one, and the other way round.")


def _shape_of_401(seen: Evidence, step: str) -> str:
    found = seen.responses.get(step)
    if found is None:
        raise Undecided(f"`{step}` {seen.gaps.get(step, 'was not sent')}.")
    if found.status != 401 or found.body is None:  # noqa: PLR2004 - the status in question
        raise Undecided(f"`{step}` returned {found.status}, not a 401 in JSON.")
    if "x-api-key" in found.message:
        return "header"
    if found.message == "Unauthorized" and "error" not in found.body:
        return "plain"
    raise Undecided(f"`{step}` returned a 401 of another shape.")


def _message_shape(seen: Evidence) -> Any:
    errors = [one.body for one in seen.responses.values() if one.body and not one.is_success]
    found = [
        "list" if isinstance(one["message"], list) else "string"
        for one in errors
        if isinstance(one.get("message"), list | str)
    ]
    return agreed(found, "Errors have both shapes")


def _optional_fields(seen: Evidence) -> str:
    found = seen.appearances("register")
    null = {name for one in found for name in _OPTIONAL if name in one and one[name] is None}
    missing = {name for one in found for name in _OPTIONAL if name not in one}
    if null and missing:
        raise Undecided(f"Null: {_names(null)}. Missing: {_names(missing)}.")
    if not null and not missing:
        raise Undecided("The asset has all its fields.")
    return "null" if null else "missing"


def _names(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _asset_url(seen: Evidence) -> Any:
    sent = seen.sent["register"].url if "register" in seen.sent else ""
    found = [_url_kind(one, sent) for one in seen.appearances("register")]
    return agreed(found, "The responses differ")


def _url_kind(asset: Json, sent: str) -> str:
    url = asset.get("url")
    if not isinstance(url, str) or not url:
        return "absent"
    if url == sent:
        return "same"
    is_respelled = unquote(urls.normalized(url)) == unquote(urls.normalized(sent))
    return "normalized" if is_respelled else "rewritten"


def _asset_labels(seen: Evidence) -> Any:
    names = [
        _label_kind(one, seen.sent["register"].name or "") for one in seen.appearances("register")
    ]
    kind = agreed(names, "The responses differ")
    with_project = "register in a project"
    for one in seen.assets.get(with_project, []):
        expected = None if kind == "absent" else seen.sent[with_project].project_id
        if one.get("projectId") != expected:
            raise Undecided(f"The name is {kind}, but `projectId` is {one.get('projectId')!r}.")
    return kind


def _label_kind(asset: Json, sent: str) -> str:
    name = asset.get("name")
    if name is None:
        return "absent"
    if name == sent:
        return "same"
    return "trimmed" if name == sent.strip() else repr(name)


def _malformed_id_status(seen: Evidence) -> int:
    return seen.refusal("read a malformed id").status


def _delete_forbidden(seen: Evidence) -> bool:
    found = seen.response("delete")
    if found.is_success:
        return False
    if found.code == "asset_forbidden":
        return True
    raise Undecided(f"`delete` returned {words(found)}.")


def _list_lag_seconds(seen: Evidence) -> float:
    if seen.list_lag is None:
        seen.success("register")
        raise Undecided(f"The lag {seen.gaps.get('lag of the list', 'was not measured')}.")
    return seen.list_lag


def _project_assets_in_unfiltered_list(seen: Evidence) -> bool:
    if seen.in_unfiltered_list is None:
        seen.success("register in a project")
        raise Undecided("The project's list could not be read, or did not show the asset in time.")
    return seen.in_unfiltered_list


def _storage_cors(seen: Evidence) -> bool:
    if seen.cors_refusal is None:
        raise Undecided(f"`preflight` {seen.gaps.get('preflight', 'was not sent')}.")
    return not seen.cors_refusal


_PAID = "A generation costs money, so none is made."

SWITCHES: Mapping[str, Row] = {
    "not_uploaded_status": Probed(
        "What status has the registration of a file that is not in storage?",
        _not_uploaded_status,
        "The broker lets the upload wait for its bytes, whatever the status.",
    ),
    "not_uploaded_code": Probed(
        f"Has the refusal of a file that is not in storage the code `{_NOT_UPLOADED}`?",
        _not_uploaded_code,
        "The broker does not need the code.",
    ),
    "empty_object": Probed(
        "What becomes of an empty object that is registered?",
        _empty_object,
        {
            "registered": "The broker fails the upload and deletes the asset.",
            "refused": "The upload can't be completed: Sync refuses it.",
            "notFound": "The upload can't be completed: Sync treats the file as missing.",
        },
    ),
    "plan_max_bytes": NotProbed(
        "A presign shows only whether 5 GiB are too much, and the probe uploads no large file."
    ),
    "oversize_status": Probed(
        "What status has the refusal of a file that is larger than the plan allows?",
        _oversize_status,
        "The broker passes the refusal on. Set `MAX_UPLOAD_BYTES` to the plan's limit.",
    ),
    "oversize_code": Probed(
        f"Has the refusal of a file over the plan's limit the code `{_OVERSIZE}`?",
        _oversize_code,
        {
            True: "The broker knows from the code that another try is useless.",
            False: "Without the code, the broker takes the refusal for a file not yet in storage.",
        },
        concerns=(False,),
    ),
    "unreachable_status": Probed(
        "What status has the registration of a public URL that can't be fetched?",
        _unreachable_status,
        "The broker passes a 4xx on. It looks for an asset after a 5xx.",
    ),
    "foreign_status": Probed(
        f"What status has `{_FOREIGN}`?",
        _foreign_status,
        "The broker goes by the code, whatever the status.",
    ),
    "duplicate_url": Probed(
        "What does a second registration of a URL return?",
        _duplicate_url,
        {
            "new": "A repeated registration makes a second asset, so the broker never repeats one.",
            "same": "A repeated registration would be harmless; the broker does not rely on it.",
        },
    ),
    "unnamed_asset": Probed(
        "What name has an asset that was registered without one?",
        _unnamed_asset,
        {
            "null": "Names show only what your pages send.",
            "fileName": "A lost registration without a name is found by its URL alone.",
        },
    ),
    "records_digest": Probed(
        "Does `GET /v2/assets/uploaded` find an upload by its SHA-256?",
        _records_digest,
        "The broker does not use that call.",
    ),
    "size_range_status": Probed(
        "What status has a presign for 0 bytes, and for more than 5 GiB?",
        _size_range_status,
        "The broker refuses such sizes before it asks Sync.",
    ),
    "refused_content_types": NotProbed(
        "There are too many content types. The requests below show what became of three."
    ),
    "content_type_status": Probed(
        "What status has a presign for a content type that is refused?",
        _content_type_status,
        "The broker passes the refusal on.",
    ),
    "expires_in": Probed(
        "For how many seconds is a presigned URL valid?",
        _expires_in,
        "The broker reads the value of each presign.",
    ),
    "presigns_per_minute": NotProbed(
        "Sync would have to refuse presigns, and your users' uploads with them."
    ),
    "rate_window": NotProbed("The limit of presigns would have to be used up."),
    "retry_after_on429": NotProbed("The limit of presigns would have to be used up."),
    "unauthorized_shape": Probed(
        "Which shape has a 401 without a key, and one with a wrong key?",
        _unauthorized_shape,
        "The broker goes by the status.",
    ),
    "message_shape": Probed(
        "Is the `message` of an error a string or a list?",
        _message_shape,
        "The broker reads both.",
    ),
    "optional_fields": Probed(
        "Are an asset's empty fields null or missing?",
        _optional_fields,
        "The broker reads both alike.",
    ),
    "asset_url": Probed(
        "Has an asset the URL that it was registered with?",
        _asset_url,
        {
            "same": "The broker finds a lost registration by its URL.",
            "normalized": "The broker finds a lost registration by its URL in normal form.",
            "absent": "A lost registration may need `python -m ops settle`: assets have no URLs.",
            "rewritten": "A lost registration may need `python -m ops settle`: URLs change.",
        },
        concerns=("absent", "rewritten"),
    ),
    "asset_labels": Probed(
        "Has an asset the name and the project that were sent?",
        _asset_labels,
        {
            "same": "The broker tells lost registrations of one URL apart by their names.",
            "trimmed": "A lost registration may need `settle` if its name has blanks around it.",
            "absent": "A lost registration of a public URL may need `python -m ops settle`.",
        },
        concerns=("trimmed", "absent"),
    ),
    "malformed_id_status": Probed(
        "What status has an id that is not a UUID?",
        _malformed_id_status,
        "The broker only uses ids that Sync returned.",
    ),
    "delete_forbidden": Probed(
        "May this key delete the assets that it has made?",
        _delete_forbidden,
        {
            False: "The broker can delete the assets of refused files.",
            True: "The broker can't delete the assets of refused files: `AssetNotDeletedAlarm`.",
        },
        concerns=(True,),
    ),
    "list_lag_seconds": Probed(
        "After how many seconds does the list show a new asset?",
        _list_lag_seconds,
        "Set `SETTLE_SECONDS` well above it: the broker trusts the list only after that time.",
    ),
    "project_assets_in_unfiltered_list": Probed(
        "Does the list without `projectId` have the assets of projects?",
        _project_assets_in_unfiltered_list,
        "The broker asks for the list of the upload's project.",
    ),
    "projects": NotProbed("Which projects exist is your data, and not how Sync behaves."),
    "storage_cors": Probed(
        "May a page of another origin PUT to storage?",
        _storage_cors,
        {
            True: "Browsers can upload straight to storage.",
            False: "Browsers can't upload. Put a relay in front of storage (docs/relay.md).",
        },
    ),
    "storage_idle_seconds": NotProbed("It would take a stalled upload of unknown length."),
    "clock_skew_seconds": NotProbed(
        "It is a matter of the moment. `python -m ops doctor` compares the clocks."
    ),
    "generation_seconds": NotProbed(_PAID),
    "generation_outcome": NotProbed(_PAID),
    "generation_asset_status": NotProbed(_PAID),
    "webhook_secret": NotProbed("It is a secret, which the probe does not read."),
    "webhook_header": NotProbed(_PAID),
}


@dataclass(frozen=True)
class Findings:
    """What the evidence of a run shows.

    Attributes:
        behavior: The values by the sandbox's names in JSON.
        undecided: Why a value is not known, by the same names.
    """

    behavior: dict[str, Any]
    undecided: dict[str, str]


def conclude(seen: Evidence) -> Findings:
    """Return what the evidence shows. Values that the sandbox does not know are undecided."""
    behavior: dict[str, Any] = {}
    undecided: dict[str, str] = {}
    for name, row in probed().items():
        key = camel(name)
        try:
            value = row.find(seen)
            Behavior().changed({key: value})
        except Undecided as reason:
            undecided[key] = reason.reason
        except BehaviorError as error:
            undecided[key] = f"Sync does what the sandbox can't do: {error}."
        else:
            behavior[key] = value
    return Findings(behavior, undecided)


def probed() -> dict[str, Probed]:
    """Return the rows of the behaviours that a run can find out."""
    rows = {one.name: SWITCHES[one.name] for one in fields(Behavior)}
    return {name: row for name, row in rows.items() if isinstance(row, Probed)}


def not_probed() -> dict[str, str]:
    """Return why the other behaviours are not asked for, by their names in JSON."""
    rows = {camel(name): row for name, row in SWITCHES.items()}
    return {name: row.reason for name, row in rows.items() if isinstance(row, NotProbed)}
