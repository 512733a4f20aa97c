"""Raw rows as a model takes them: the transforms and ids of its training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.selectors import by_name

from pipelines.columns import Columns
from pipelines.dialects import load_tables
from pipelines.vocabulary import Table, encode_categories
from tfdlrm.schema import FeatureSchema


@dataclass(frozen=True)
class RawFeatures:
    """From typed raw rows to the features of a model.

    Args:
        columns: What the columns of the rows are.
        tables: The ids of the categorical ones, in the order of the schema.
    """

    columns: Columns
    tables: Sequence[Table]

    @classmethod
    def load(cls, directory: Path, schema: FeatureSchema) -> "RawFeatures":
        """Those of a data set, or of an exported model.

        Args:
            directory: The directory that holds `vocabulary/`, if the dialect has one.
            schema: Its schema.

        Raises:
            InputError: If a vocabulary is missing or damaged.
        """
        described = schema.columns
        columns = Columns.from_json(described) if described else Columns.criteo()
        return cls(columns, load_tables(directory, schema))

    def __call__(self, frame: pl.DataFrame) -> dict[str, Any]:
        """A batch as `tfdlrm.data` gives it, of rows as `pipelines.logs` does."""
        dense = np.zeros((frame.height, 0), np.float32)
        if self.columns.dense_features:
            numbers = self.columns.transformed(frame)
            dense = numbers.select(by_name(*self.columns.dense_features)).to_numpy()
        return {"dense_features": dense, "categorical_features": self._ids(frame)}

    def _ids(self, frame: pl.DataFrame) -> Any:
        """Ids `(rows, features)`, or bags of ids where there are multi-hot columns."""
        columns = self.columns
        width = len(columns.single_hot)
        ids = encode_categories(frame, columns.single_hot, self.tables[:width])
        if not columns.multi_hot:
            return ids
        import tensorflow as tf

        from tfdlrm.parsing import bags_of, side_by_side

        lists = [frame[name].alias("value") for name in columns.multi_hot]
        bags = [
            tf.RaggedTensor.from_row_lengths(
                table.ids(bag.explode().drop_nulls()),
                bag.list.len().cast(pl.Int32).to_numpy(),
            )
            for bag, table in zip(lists, self.tables[width:], strict=True)
        ]
        return bags_of(*side_by_side(tf.constant(ids), bags))
