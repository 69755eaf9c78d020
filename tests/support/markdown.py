"""The tables of a page of the documentation, or of a benchmark."""


def rows(text: str) -> list[list[str]]:
    """Return the cells of all tables, row by row, without the lines under the headings."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def number(text: str) -> float:
    """Return a figure as a number."""
    return float(text.replace(",", ""))
