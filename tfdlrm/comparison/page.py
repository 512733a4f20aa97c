"""A comparison of runs as one page that needs no other file."""

import html
from collections.abc import Sequence
from importlib import resources
from string import Template

from tfdlrm.comparison.curve_pictures import CURVE_PICTURES
from tfdlrm.comparison.runs import FinishedRun


def page_of(
    contenders: Sequence[Sequence[FinishedRun]],
    title: str,
    how: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    verdict: str,
) -> str:
    """Return the page: a table that can be sorted, sentences, and the curves.

    Args:
        contenders: For each model and optimizer, one run a seed.
        title: The heading.
        how: How the runs were trained.
        columns: The names of the table's columns.
        rows: The cells of each row.
        verdict: What the table shows.
    """
    names = [html.escape(name) for name in columns]
    body = [
        "".join(
            f'<td{_mark(cell)} data-name="{name}">{html.escape(cell)}</td>'
            for name, cell in zip(names, row, strict=True)
        )
        for row in rows
    ]
    return Template(
        resources.files(__package__).joinpath("page.html").read_text("utf-8")
    ).substitute(
        title=html.escape(title),
        how=html.escape(how),
        head="".join(
            f'<th><button type="button">{name}</button></th>' for name in names
        ),
        body="\n".join(f"<tr>{cells}</tr>" for cells in body),
        verdict=html.escape(verdict),
        curves="\n".join(
            f"<figure>{picture.as_part_of_a_page(contenders)}</figure>"
            for picture in CURVE_PICTURES
        ),
    )


def _mark(cell: str) -> str:
    """Return the attribute of an empty cell, which narrow screens leave out."""
    return ' class="none"' if cell == "-" else ""
