"""`GET /v2/assets`: its query and its pages."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from multidict import MultiMapping

from sandbox.upstream.assets import TYPES
from sandbox.upstream.behavior import Behavior
from sandbox.upstream.bodies import query_number
from sandbox.upstream.database import Database
from sandbox.upstream.problems import invalid

_DEFAULT_LIMIT = 20  # unknown: the vendor documents 1 to 100 and no default
_LARGEST_LIMIT = 100
_SQLITE_BOUND = 2**63  # SQLite's integers are smaller
_DEFAULT_SORT = "dateDesc"
# Missing values sort as the smallest ones, so that a cursor can point to every row.
_SORT_KEYS = {
    "name": "fold(coalesce(name, ''))",
    "date": "created_at",
    "duration": "coalesce(duration, -1)",
    "size": "size",
    "kind": "type",
}
SORTS = tuple(f"{key}{way}" for key in _SORT_KEYS for way in ("Asc", "Desc"))


@dataclass(frozen=True)
class Query:
    """A listing's valid query.

    Attributes:
        after: Sort value and sequence number of the last row of the previous page, or None.
    """

    project_id: str | None
    limit: int
    after: tuple[Any, int] | None
    search: str | None
    sort: str
    types: tuple[str, ...]


def parse_query(parameters: MultiMapping[str]) -> Query:
    """Return the query from its parameters.

    Raises:
        Problem: 400; the message names the invalid parameter.
    """
    sort = parameters.get("sortBy") or _DEFAULT_SORT
    if sort not in SORTS:
        raise invalid("sortBy", f"must be one of the following values: {', '.join(SORTS)}")
    types = parse_list(parameters, "types")
    if not set(types) <= set(TYPES):
        raise invalid("types", f"must each be one of the following values: {', '.join(TYPES)}")
    cursor = parameters.get("cursor")
    return Query(
        project_id=parameters.get("projectId") or None,
        limit=query_number(parameters, "limit", default=_DEFAULT_LIMIT, highest=_LARGEST_LIMIT),
        after=_read_cursor(cursor, sort) if cursor else None,
        search=parameters.get("searchQuery") or None,
        sort=sort,
        types=types,
    )


def parse_list(parameters: MultiMapping[str], name: str) -> tuple[str, ...]:
    """Return a parameter that is a list.

    The vendor documents a list with commas; its TypeScript SDK sends a JSON array, and its Python
    SDK repeats the parameter.
    """
    found: list[str] = []
    for text in parameters.getall(name, []):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        items = value if isinstance(value, list) else text.split(",")
        found.extend(str(item).strip() for item in items)
    return tuple(item for item in found if item)


def _read_cursor(cursor: str, sort: str) -> tuple[Any, int]:
    try:
        written_for, value, seq = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        str(value).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise invalid("cursor", "is not the nextCursor of a listing") from error
    numbers = [seq] if isinstance(value, str) else [seq, value]
    if not all(_is_number(number) for number in numbers):
        raise invalid("cursor", "is not the nextCursor of a listing")
    if written_for != sort:
        raise invalid("cursor", "belongs to a listing with another sortBy")
    return value, seq


def _is_number(value: object) -> bool:
    """Whether SQLite can compare with a value."""
    return isinstance(value, int | float) and abs(value) < _SQLITE_BOUND


def _write_cursor(sort: str, value: Any, seq: int) -> str:
    text = json.dumps([sort, value, seq], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def list_page(
    database: Database, query: Query, behavior: Behavior, *, now: float
) -> tuple[list[Any], str | None, int]:
    """Return one page.

    A cursor has the sort value of the last row, not a count of rows. So assets that are added or
    deleted between two pages neither repeat nor hide others.

    Args:
        database: The database of the assets.
        query: The query.
        behavior: Its `list_lag_seconds` and `project_assets_in_unfiltered_list` apply.
        now: Unix seconds by the real clock.

    Returns:
        The rows, the next page's cursor or None, and the number of all matching assets.
    """
    key = _SORT_KEYS[query.sort.removesuffix("Asc").removesuffix("Desc")]
    descending = query.sort.endswith("Desc")
    where, values = _conditions(query, behavior, now)
    [counted] = database.rows(f"SELECT count(*) AS n FROM assets WHERE {where}", values)  # noqa: S608 - `where` consists of constants
    if query.after is not None:
        where += f" AND ({key}, seq) {'<' if descending else '>'} (?, ?)"
        values += query.after
    way = "DESC" if descending else "ASC"
    rows = database.rows(
        f"SELECT *, {key} AS sort_value FROM assets WHERE {where}"  # noqa: S608 - as above
        f" ORDER BY {key} {way}, seq {way} LIMIT ?",
        (*values, query.limit + 1),
    )
    page = rows[: query.limit]
    cursor = None
    if len(rows) > query.limit:
        cursor = _write_cursor(query.sort, page[-1]["sort_value"], page[-1]["seq"])
    return page, cursor, counted["n"]


def _conditions(query: Query, behavior: Behavior, now: float) -> tuple[str, tuple[Any, ...]]:
    parts = ["registered_at <= ?"]
    values: list[Any] = [now - behavior.list_lag_seconds]
    if query.project_id is not None:
        parts.append("project_id = ?")
        values.append(query.project_id)
    elif not behavior.project_assets_in_unfiltered_list:
        parts.append("project_id IS NULL")
    if query.search is not None:
        parts.append("instr(fold(coalesce(name, '')), fold(?)) > 0")
        values.append(query.search)
    if query.types:
        parts.append(f"type IN ({','.join('?' * len(query.types))})")
        values.extend(query.types)
    return " AND ".join(parts), tuple(values)
