"""Which values of a request are unknown to the model, for answers that list them.

The model counts the unknown values of each row and column. Where only some of a bag's
values are unknown, it is asked about each of them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import numpy as np

from tfdlrm.exporting.raw_columns import COUNTS
from tfdlrm.serving.large_work import in_thread_if_large
from tfdlrm.serving.requests import NamedArrays
from tfdlrm.serving.rows_of_text import RowsOfText, rows_of_text
from tfdlrm.serving.servable import Signature

Run = Callable[[NamedArrays, int], Awaitable[NamedArrays]]
"""A function that runs the signature on inputs of so many rows."""

Unknown = list[dict[str, list[str]]]
"""For each row its unknown values, by column; columns without any are left out."""


class UnknownReport:
    """The unknown values of one request.

    Attributes:
        rows: The unknown values of each row; `None` if the model does not count them.
    """

    rows: Unknown | None = None

    async def fill(
        self, signature: Signature, inputs: NamedArrays, outputs: NamedArrays, run: Run
    ) -> None:
        """List the unknown values of a request.

        Args:
            signature: The signature that was run.
            inputs: Its inputs, which it has accepted.
            outputs: Its outputs with the counts.
            run: Function that runs it again.
        """
        columns = signature.servable.monitor.columns
        if not columns or not all(count in outputs for count in COUNTS):
            return
        unknown = outputs[COUNTS[0]]
        rows = rows_of_text(signature, inputs)
        size = int(np.count_nonzero(unknown))
        cells = await in_thread_if_large(size, _cells, rows, columns, unknown)
        known = await _known(rows, cells, columns, run)
        size += len(unknown)
        self.rows = await in_thread_if_large(size, _listed, cells, known, len(unknown))


Cell = tuple[int, str, list[bytes], int]
"""Row, column, values and the number of unknown ones among them."""


def _cells(rows: RowsOfText, columns: Sequence[str], unknown: np.ndarray) -> list[Cell]:
    """Return the cells with unknown values."""
    numbers = unknown.tolist()
    return [
        (row, columns[index], rows.values(row, columns[index]), numbers[row][index])
        for row, index in np.argwhere(unknown).tolist()
    ]


def _listed(
    cells: Sequence[Cell], known: Mapping[str, set[bytes]], num_rows: int
) -> Unknown:
    listed: Unknown = [{} for _ in range(num_rows)]
    for row, name, values, _ in cells:
        listed[row][name] = [
            text.decode(errors="replace")
            for text in dict.fromkeys(values)
            if text not in known.get(name, ())
        ]
    return listed


async def _known(
    rows: RowsOfText, cells: Sequence[Cell], columns: Sequence[str], run: Run
) -> Mapping[str, set[bytes]]:
    """Return the known values of the bags that have both sorts, by column."""
    candidates: dict[str, dict[bytes, None]] = {}
    for _, name, values, count in cells:
        if count < len(values):
            candidates.setdefault(name, {}).update(dict.fromkeys(values))
    if not candidates:
        return {}
    number = max(map(len, candidates.values()))
    texts = {name: list(values) for name, values in candidates.items()}
    outputs = await run(rows.one_by_one(texts, number), number)
    known = {}
    for name, values in texts.items():
        unknown = outputs[COUNTS[0]][: len(values), columns.index(name)]
        known[name] = {
            text for text, count in zip(values, unknown, strict=True) if not count
        }
    return known
