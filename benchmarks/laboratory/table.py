"""Tables in Markdown."""

import math
from collections.abc import Sequence

Cell = str | int | float | None


def markdown(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a Markdown table that is aligned, so that it reads well as text too.

    Args:
        header: Names of the columns.
        rows: Cells; a float is shown with three digits, `None` and not-a-number as a
            dash. Columns that hold text only are aligned to the left.
    """
    cells = [[text(cell) for cell in row] for row in rows]
    widths = [
        max(len(name), 3, *(len(row[i]) for row in cells), 0)
        for i, name in enumerate(header)
    ]
    is_text = [all(isinstance(row[i], str) for row in rows) for i in range(len(header))]

    def line(values: Sequence[str]) -> str:
        padded = [
            value.ljust(width) if is_left else value.rjust(width)
            for value, width, is_left in zip(values, widths, is_text, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    dashes = [
        "-" * width if is_left else "-" * (width - 1) + ":"
        for width, is_left in zip(widths, is_text, strict=True)
    ]
    return "\n".join([line(list(header)), line(dashes), *(line(row) for row in cells)])


def text(cell: Cell) -> str:
    """Return the text of a cell; floats have three significant digits."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    if isinstance(cell, float):
        if cell == 0 or not math.isfinite(cell):
            return str(cell)
        digits = max(0, 2 - math.floor(math.log10(abs(cell))))
        return f"{cell:,.{digits}f}"
    return f"{cell:,}" if isinstance(cell, int) else cell
