"""The tables of a page of the documentation, or of a benchmark."""

import math
import re

_FIGURE = r"x?[\d,.]+%?"


def rows(text: str) -> list[list[str]]:
    """Return the cells of all tables, row by row, without the lines under the headings."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def number(text: str) -> float:
    """Return a figure as a number."""
    return float(text.replace(",", ""))


def is_shown(row: list[str], shown: list[list[str]]) -> bool:
    """Whether a row is in a page's tables: figures may differ by 5 %, and cells may follow."""
    return any(len(line) >= len(row) and all(map(_agree, row, line)) for line in shown)


def _agree(computed: str, shown: str) -> bool:
    if not (re.fullmatch(_FIGURE, computed) and re.fullmatch(_FIGURE, shown)):
        return computed == shown
    a, b = (number(one.strip("x%")) for one in (computed, shown))
    return math.isclose(a, b, rel_tol=0.05, abs_tol=0.11)
