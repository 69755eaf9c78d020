"""The undocumented behaviours of Sync, as switches that can be changed at run time."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any


class BehaviorError(Exception):
    """A change has an unknown behaviour or an invalid value."""


@dataclass(frozen=True)
class Rule:
    """The values that a behaviour accepts.

    Attributes:
        words: A description.
        accepts: Whether a value is one of them.
        choices: All of them; empty if they are too many to list.
    """

    words: str
    accepts: Callable[[Any], bool]
    choices: tuple[Any, ...] = ()


def _one_of(*choices: str | int) -> Rule:
    # In Python, True equals 1, so the types are compared too.
    allowed = {(type(choice), choice) for choice in choices}
    words = "one of " + ", ".join(repr(choice) for choice in choices)
    return Rule(
        words,
        lambda value: isinstance(value, str | int) and (type(value), value) in allowed,
        choices,
    )


def _whole(lowest: int, highest: int) -> Rule:
    return Rule(
        f"a whole number from {lowest} to {highest}",
        lambda value: type(value) is int and lowest <= value <= highest,
    )


def _seconds(lowest: float, highest: float) -> Rule:
    return Rule(
        f"a number of seconds from {lowest:g} to {highest:g}",
        lambda value: (
            type(value) in {int, float} and math.isfinite(value) and lowest <= value <= highest
        ),
    )


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) and item for item in value)


_FLAG = Rule("true or false", lambda value: isinstance(value, bool), (True, False))
_TEXTS = Rule("a list of non-empty strings", _is_texts)
_TEXT = Rule("a non-empty string", lambda value: isinstance(value, str) and value != "")
_DAY = 86_400.0


def _switch(default: Any, rule: Rule) -> Any:
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True)
class Behavior:
    """The upstream's behaviour where the vendor documents none or several.

    In JSON the names are camelCase. A list of strings is a tuple here, to stay frozen.
    """

    # Registration: the response before the upload (unknown: 400 or 422, its code from notes).
    not_uploaded_status: int = _switch(400, _one_of(400, 404, 422))
    not_uploaded_code: bool = _switch(default=True, rule=_FLAG)
    # Registration of an empty object (unknown).
    empty_object: str = _switch("registered", _one_of("registered", "refused", "notFound"))
    # The plan's size limit in bytes (undocumented), and the refusal of a larger file.
    plan_max_bytes: int = _switch(5_368_709_120, _whole(1, 5_368_709_120))
    oversize_status: int = _switch(422, _one_of(400, 413, 422))
    oversize_code: bool = _switch(default=True, rule=_FLAG)
    # A public URL that cannot be fetched (unknown).
    unreachable_status: int = _switch(422, _one_of(400, 404, 422, 502))
    # A URL of this storage with an unknown key (`file_not_in_org_storage`).
    foreign_status: int = _switch(422, _one_of(400, 403, 404, 422))
    # A second registration of one URL: a new asset or the same one (unknown).
    duplicate_url: str = _switch("new", _one_of("new", "same"))
    # The name of an asset that was registered without one (unknown).
    unnamed_asset: str = _switch("null", _one_of("null", "fileName"))
    # Whether SHA-256 digests are recorded, so that `GET /v2/assets/uploaded` finds them (unknown).
    records_digest: bool = _switch(default=True, rule=_FLAG)

    # Presign: a declared size below 1 or above 5 GiB, and the refused content types (unknown).
    size_range_status: int = _switch(400, _one_of(400, 413, 422))
    refused_content_types: tuple[str, ...] = _switch((), _TEXTS)
    content_type_status: int = _switch(400, _one_of(400, 415, 422))
    # Seconds that a presigned URL is valid: documented as 3600, observed as 604800.
    expires_in: int = _switch(3600, _whole(1, 604_800))
    # The documented limit, how its minute is counted (unknown), and `Retry-After` of a 429.
    presigns_per_minute: int = _switch(120, _whole(0, 1_000_000))
    rate_window: str = _switch("sliding", _one_of("sliding", "fixed"))
    retry_after_on429: bool = _switch(default=True, rule=_FLAG)

    # Shapes. A 401 has one of two known shapes, always the same one or by its cause (`byCause`).
    unauthorized_shape: str = _switch("byCause", _one_of("byCause", "header", "plain"))
    message_shape: str = _switch("string", _one_of("string", "list"))
    optional_fields: str = _switch("null", _one_of("null", "missing"))
    asset_url: str = _switch("same", _one_of("same", "absent", "rewritten", "normalized"))
    # Whether an asset has the name and project that were sent (both fields are optional).
    asset_labels: str = _switch("same", _one_of("same", "trimmed", "absent"))
    # An id that is not a UUID: 404 `asset_not_found`, or 400 `invalid_asset_id_format`.
    malformed_id_status: int = _switch(404, _one_of(400, 404))
    # Whether `DELETE /v2/assets/{id}` is refused as `asset_forbidden`.
    delete_forbidden: bool = _switch(default=False, rule=_FLAG)

    # The listing: its lag in seconds, and whether it has projects' assets without `projectId`.
    list_lag_seconds: float = _switch(0.0, _seconds(0, _DAY))
    project_assets_in_unfiltered_list: bool = _switch(default=True, rule=_FLAG)
    # The projects of this organisation; any other is `project_not_found`.
    projects: tuple[str, ...] = _switch(("sandbox-project",), _TEXTS)

    # The storage host's CORS (undocumented).
    storage_cors: bool = _switch(default=True, rule=_FLAG)
    # Seconds after which the storage closes a connection that sends nothing (S3: about 20).
    storage_idle_seconds: float = _switch(20.0, _seconds(0.05, _DAY))
    # Seconds by which the upstream's clock is ahead of the real one.
    clock_skew_seconds: float = _switch(0.0, _seconds(-30 * _DAY, 30 * _DAY))

    # Generations: the time that one takes, its outcome, and the refusal of a bad `assetId`.
    generation_seconds: float = _switch(2.0, _seconds(0, _DAY))
    generation_outcome: str = _switch("COMPLETED", _one_of("COMPLETED", "FAILED", "REJECTED"))
    generation_asset_status: int = _switch(422, _one_of(400, 404, 422))
    # Webhooks: the secret with its prefix, and which of the two documented headers is signed.
    webhook_secret: str = _switch("whsec_sandbox", _TEXT)
    webhook_header: str = _switch(
        "Sync-Signature", _one_of("Sync-Signature", "X-Signature-Primary")
    )

    def to_json(self) -> dict[str, Any]:
        """Return the value of every behaviour by its name in JSON."""
        return {camel(name): value for name, value in asdict(self).items()}

    def changed(self, changes: object) -> "Behavior":
        """Return a copy with some behaviours changed.

        Args:
            changes: A JSON object of behaviours by name.

        Raises:
            BehaviorError: A name is unknown or a value is invalid; the message lists valid ones.
        """
        if not isinstance(changes, dict):
            raise BehaviorError("behaviours must be a JSON object of names and values")
        known = {camel(item.name): item for item in fields(self)}
        values: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in known:
                names = ", ".join(known)
                raise BehaviorError(f"unknown behaviour {name!r}; the behaviours are {names}")
            rule: Rule = known[name].metadata["rule"]
            if not rule.accepts(value):
                raise BehaviorError(f"{name} must be {rule.words}, not {value!r}")
            values[known[name].name] = tuple(value) if isinstance(value, list) else value
        return replace(self, **values)


def camel(name: str) -> str:
    """Return a behaviour's name in JSON."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
