"""Features that are read from columns of numbers, computed for typed rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from polars.selectors import by_name

from pipelines.logs.columns import NUMBER, Columns
from tfdlrm.data.number_features import NumberFeature, bucket_hash
from tfdlrm.data.schema import FeatureSchema


@dataclass(frozen=True)
class NumberValues:
    """Computes the features that have a recipe.

    Args:
        features: These features, fitted.
        bucket_names: Those that are categorical.
        are_hashes: Whether categorical values are Criteo's 32-bit hashes, not text.
    """

    features: Mapping[str, NumberFeature]
    bucket_names: tuple[str, ...] = ()
    are_hashes: bool = False

    @classmethod
    def of(
        cls, columns: Columns, features: Mapping[str, NumberFeature]
    ) -> "NumberValues":
        """Return the features of a log.

        Args:
            columns: The columns of the log.
            features: The features with a recipe, fitted.
        """
        buckets = tuple(name for name in columns.single_hot if name in features)
        return cls(features, buckets, columns.is_criteo)

    def columns_to_read(self, names: Sequence[str]) -> list[str]:
        """Return the columns of typed rows that features are computed from."""
        columns = [
            NUMBER + self.features[name].column if name in self.features else name
            for name in names
        ]
        return list(dict.fromkeys(columns))

    def add_to(
        self, frame: pl.DataFrame, names: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Return typed rows with features in the place of numbers.

        Args:
            frame: Rows as `Columns.transform` returns them.
            names: The features to compute; all by default.
        """
        if not self.features:
            return frame
        names = [*self.features] if names is None else names
        columns = [self._values(frame, name) for name in names if name in self.features]
        numbers = {NUMBER + feature.column for feature in self.features.values()}
        others = [name for name in frame.columns if name not in numbers]
        if not others:
            return pl.DataFrame(columns)
        return frame.select(by_name(*others)).hstack(columns)

    def _values(self, frame: pl.DataFrame, name: str) -> pl.Series:
        feature = self.features[name]
        numbers = frame[NUMBER + feature.column]
        values = numbers.fill_null(np.nan).to_numpy()
        if name not in self.bucket_names:
            return pl.Series(name, feature.dense(values))
        buckets = feature.buckets(values)
        if self.are_hashes:
            categories = pl.Series(name, bucket_hash(buckets)).cast(pl.UInt32)
        else:
            categories = pl.Series(name, buckets).cast(pl.String)
        return categories.set(numbers.is_null(), None)


def columns_of(schema: FeatureSchema) -> Columns:
    """Return the columns of the log of a data set, or of a model."""
    if schema.columns is not None:
        return Columns.from_json(schema.columns)
    criteo = Columns.criteo()
    buckets = [name for name in schema.single_hot if name in schema.transforms]
    return replace(
        criteo,
        dense_features=schema.dense_features,
        single_hot=(*criteo.single_hot, *buckets),
        untransformed=schema.untransformed,
        recipes={
            name: feature.unfitted().to_json()
            for name, feature in schema.transforms.items()
        },
    )
