"""Raw rows to features, by the transforms and vocabularies of a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.selectors import by_name

from pipelines.ids.dialects import load_tables
from pipelines.ids.number_values import NumberValues, columns_of
from pipelines.ids.vocabulary import Table, encode_categories
from pipelines.logs.columns import Columns
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.unknown_values import UnknownValues, usual_shares


@dataclass(frozen=True)
class RawFeatures:
    """Converts typed raw rows to the features of a model.

    Args:
        columns: Descriptions of the rows' columns.
        tables: Ids of the categorical features, in the order of the schema.
        unknown: Counts the values that have no id, over all calls.
        numbers: Computes the features that have a recipe.
    """

    columns: Columns
    tables: Sequence[Table]
    unknown: UnknownValues
    numbers: NumberValues

    @classmethod
    def load(cls, directory: Path, schema: FeatureSchema) -> "RawFeatures":
        """Read the columns and vocabularies of a data set or of an exported model.

        Args:
            directory: The directory that holds `vocabulary/`, if the dialect has one.
            schema: Schema of the data set or model.

        Raises:
            InputError: If a vocabulary is missing or damaged.
        """
        columns = columns_of(schema)
        unknown = UnknownValues(
            columns.categorical_values, usual_shares(directory, schema.coverage)
        )
        numbers = NumberValues.of(columns, schema.transforms)
        return cls(columns, load_tables(directory, schema), unknown, numbers)

    def __call__(self, frame: pl.DataFrame) -> dict[str, Any]:
        """Convert rows as in `pipelines.logs` to a batch as in `tfdlrm.data`."""
        frame = self.numbers.add_to(self.columns.transform(frame))
        dense = np.zeros((frame.height, 0), np.float32)
        if self.columns.dense_features:
            dense = frame.select(by_name(*self.columns.dense_features)).to_numpy()
        return {"dense_features": dense, "categorical_features": self._ids(frame)}

    def _ids(self, frame: pl.DataFrame) -> Any:
        """Return ids `(rows, features)`, or bags of ids if columns are multi-hot."""
        columns = self.columns
        width = len(columns.single_hot)
        ids = encode_categories(frame, columns.single_hot, self.tables[:width])
        rows = self.unknown.rows(frame.height)
        for position, name in enumerate(columns.single_hot):
            if name in columns.recipes:  # buckets are no values of a row
                continue
            values = frame[name].alias("value")
            are_unknown = self.tables[position].are_unknown(values, ids[:, position])
            rows.add(name, values, are_unknown)
        if not columns.multi_hot:
            rows.finish()
            return ids
        import tensorflow as tf

        from tfdlrm.data.parsing import bags_of, side_by_side

        bags = []
        for name, table in zip(columns.multi_hot, self.tables[width:], strict=True):
            bag = frame[name].alias("value")
            lengths = bag.list.len().cast(pl.Int32).to_numpy()
            values = bag.explode().drop_nulls()
            value_ids = table.ids(values)
            rows.add_bags(name, values, table.are_unknown(values, value_ids), lengths)
            bags.append(tf.RaggedTensor.from_row_lengths(value_ids, lengths))
        rows.finish()
        return bags_of(*side_by_side(tf.constant(ids), bags))
