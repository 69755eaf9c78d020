"""The fields of log lines that are metrics, in CloudWatch's embedded metric format. Pure.

CloudWatch reads metrics from the log: they cost no call, and the line keeps its other fields. Every
metric has the dimension `table`, which distinguishes stages. The alarms and the dashboard of the
stack, in `.chalice/template.yaml`, use these metrics.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NAMESPACE = "SyncUploadBroker"
COUNT, MILLISECONDS, SECONDS, BYTES = "Count", "Milliseconds", "Seconds", "Bytes"


@dataclass(frozen=True)
class Group:
    """Metrics of one kind of line.

    Attributes:
        units: The metrics' units by their names, which are fields of the line.
        by: The field that is a further dimension, or None.
        counts: Names of metrics that are 1 in each line.
    """

    units: Mapping[str, str]
    by: str | None = None
    counts: tuple[str, ...] = ()


def _count(name: str, by: str | None = None) -> Group:
    return Group({name: COUNT}, by, (name,))


_SEEN = (_count("events", "event"),)
# By the line's event. A line without a metric's field lacks the metric, and a line without the
# field `by` lacks the whole group.
GROUPS: dict[str, tuple[Group, ...]] = {
    "request": (
        Group(
            # The number of requests is the number of samples of the first one.
            {"durationMs": MILLISECONDS, "upstreamMs": MILLISECONDS, "queueLength": COUNT},
        ),
        _count("refusals", "code"),
    ),
    "upload": (_count("uploads", "state"), Group({"bytes": BYTES})),
    "upload_recovered": (_count("recovered"),),
    "sweep": (Group({"found": COUNT, "settled": COUNT, "backlog": COUNT, "lateSeconds": SECONDS}),),
    "rate_limiter_slower": _SEEN,
    "upstream_error": (_count("upstreamErrors", "code"),),
    # Each of these events needs a person.
    "outcome_undecided": _SEEN,
    "asset_orphaned": _SEEN,
    "asset_not_deleted": _SEEN,
    "size_unknown": _SEEN,
    "outcome_unknown": _SEEN,
    "scan_unfinished": _SEEN,
    "misconfigured": _SEEN,
    "secret_not_read": _SEEN,
    "secret_not_valid": _SEEN,
    "jwks_not_read": _SEEN,
    "jwks_without_keys": _SEEN,
    "sweep_poisoned": _SEEN,
    "unexpected": _SEEN,
}


def embedded(line: Mapping[str, Any], table: str, milliseconds: int) -> dict[str, Any]:
    """Return the fields by which CloudWatch finds a line's metrics.

    Args:
        line: The line's fields, including `event`.
        table: The table's name.
        milliseconds: The time since 1970.
    """
    directives: list[dict[str, Any]] = []
    added: dict[str, Any] = {}
    for group in GROUPS.get(line["event"], ()):
        if group.by is not None and line.get(group.by) is None:
            continue
        added |= dict.fromkeys(group.counts, 1)
        found = [
            {"Name": name, "Unit": unit}
            for name, unit in group.units.items()
            if isinstance(line.get(name, added.get(name)), int | float)
        ]
        if found:
            dimensions = ["table", group.by] if group.by else ["table"]
            directives.append(
                {"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": found}
            )
    if not directives:
        return {}
    metadata = {"Timestamp": milliseconds, "CloudWatchMetrics": directives}
    return {**added, "table": table, "_aws": metadata}
