"""Values that have just lost their id, known until the coverage is counted.

While rows are encoded, such values have temporary ids beyond those of the vocabulary.
So the share of values that had no id before the data set was extended is exact, also in
held-out rows, which may have values that the counted rows no longer had.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.ids.coverage import CountedFeature
from pipelines.ids.encoded_rows import EncodedRows
from pipelines.ids.vocabulary import IdTable, Table
from tfdlrm.base.kept_files import KeptFile
from tfdlrm.base.storage import whole
from tfdlrm.data.block_format import IDS
from tfdlrm.data.column_files import file_name
from tfdlrm.data.schema import UNKNOWN_ID


def forgotten_path(work: Path, name: str) -> Path:
    """Return the file of a column's forgotten values, in the work directory."""
    return work / "forgotten" / f"{file_name(name)}.arrow"


def write_forgotten(values: pl.Series, work: Path, name: str) -> Path:
    """Write the values of a column that have just lost their id."""
    path = forgotten_path(work, name)
    path.parent.mkdir(exist_ok=True)
    with whole(path, is_kept=True) as temporary:
        values.alias("value").to_frame().write_ipc(temporary)
    return path


class TableWithForgotten:
    """From values to ids, with temporary ids for the values that have lost theirs.

    Args:
        table: The table of the vocabulary.
        file: The values without an id, as `write_forgotten` wrote them.
        num_ids: Number of ids of the vocabulary; the temporary ones follow.
    """

    def __init__(self, table: Table, file: KeptFile, num_ids: int) -> None:
        self._table = table
        values = pl.read_ipc(io.BytesIO(file.read()))
        self._forgotten = IdTable(values.with_row_index("id", offset=num_ids))

    def ids(self, values: pl.Series) -> np.ndarray:
        """Return the id of each of `values`, as int32."""
        ids = self._table.ids(values)
        rows = np.flatnonzero(self._table.are_unknown(values, ids))
        ids[rows] = self._forgotten.ids(values.gather(rows))
        return ids

    def are_unknown(self, values: pl.Series, ids: np.ndarray) -> np.ndarray:
        """Return which of `values` have no id of their own; see `Table`."""
        return self._table.are_unknown(values, ids)


def forget(rows: EncodedRows, features: Sequence[CountedFeature]) -> None:
    """Turn temporary ids into the id of unknown values.

    Args:
        rows: Encoded rows, changed in place.
        features: The columns of their ids, single-hot ones first.
    """
    num_ids = np.array([feature.num_ids for feature in features], np.int64)
    ids = rows.fixed[IDS]
    width = ids.shape[1]
    ids[ids >= num_ids[:width]] = UNKNOWN_ID
    for number, bags in enumerate(rows.bags, start=width):
        bags.values[bags.values >= num_ids[number]] = UNKNOWN_ID
