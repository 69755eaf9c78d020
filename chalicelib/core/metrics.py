"""Which members of the log's lines are metrics, in CloudWatch's embedded metric format. Pure.

CloudWatch reads them out of the log: they cost no call, and a line with metrics is still the line
that it was. Every metric has the dimension `table`, whose name tells stages apart. The stack's
alarms and dashboard, in `.chalice/template.yaml`, are made of these.
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
        units: The metrics' units by their names, which are members of the line.
        by: The member that tells them apart, or None.
        counts: Names of metrics that are 1 for each line.
    """

    units: Mapping[str, str]
    by: str | None = None
    counts: tuple[str, ...] = ()


def _count(name: str, by: str | None = None) -> Group:
    return Group({name: COUNT}, by, (name,))


_SEEN = (_count("events", "event"),)
# By the line's event. A metric whose member is missing from a line is left out of it, and so is a
# whole group whose `by` is missing.
GROUPS: dict[str, tuple[Group, ...]] = {
    "request": (
        Group(
            {
                "requests": COUNT,
                "faults": COUNT,
                "durationMs": MILLISECONDS,
                "upstreamMs": MILLISECONDS,
                "lineLength": COUNT,
            },
            counts=("requests",),
        ),
        _count("refusals", "code"),
    ),
    "upload": (_count("uploads", "state"), Group({"bytes": BYTES})),
    "upload_recovered": (_count("recovered"),),
    "sweep": (
        Group({"found": COUNT, "settled": COUNT, "backlog": COUNT, "oldestSeconds": SECONDS}),
    ),
    "line_slower": _SEEN,
    "line_unavailable": _SEEN,
    "upstream_error": (_count("upstreamErrors", "code"),),
    # Each of these needs a person.
    "outcome_undecided": _SEEN,
    "asset_orphaned": _SEEN,
    "asset_not_deleted": _SEEN,
    "size_unknown": _SEEN,
    "outcome_unknown": _SEEN,
    "look_unfinished": _SEEN,
    "misconfigured": _SEEN,
    "secret_not_read": _SEEN,
    "secret_not_valid": _SEEN,
    "jwks_not_read": _SEEN,
    "jwks_without_keys": _SEEN,
    "sweep_poisoned": _SEEN,
    "unexpected": _SEEN,
}


def embedded(line: Mapping[str, Any], table: str, milliseconds: int) -> dict[str, Any]:
    """Return the members that make a line's metrics known to CloudWatch.

    Args:
        line: The line's members, its `event` among them.
        table: The table's name.
        milliseconds: Now, since 1970.
    """
    directives: list[dict[str, Any]] = []
    added: dict[str, Any] = {}
    for group in GROUPS.get(line["event"], ()):
        if group.by is not None and line.get(group.by) is None:
            continue
        added |= dict.fromkeys(group.counts, 1)
        # A call that did not ask sync. says nothing about how long sync. takes.
        idle = {"upstreamMs"} if not line.get("upstreamCalls") else set()
        found = [
            {"Name": name, "Unit": unit}
            for name, unit in group.units.items()
            if isinstance({**added, **line}.get(name), int | float) and name not in idle
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
