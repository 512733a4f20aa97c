"""The data set or exported model that a new data set extends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.ids.counting import EARLIER, Vocabulary
from pipelines.ids.coverage import CountedFeature
from tfdlrm.data.chain import ChainLink
from tfdlrm.data.extension import last_day_of
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.rare_values import read_rare_values
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_files import read_history


@dataclass(frozen=True)
class Earlier:
    """What a new data set extends.

    Args:
        directory: The directory that holds `schema.json` and `vocabulary/`.
        schema: The schema, with the checksums of all vocabularies.
    """

    directory: Path
    schema: FeatureSchema

    @property
    def link(self) -> ChainLink:
        """What the chain of the new data set says about it."""
        schema = self.schema
        return ChainLink(
            Meaning.of(schema).fingerprint,
            schema.fingerprint if schema.shards else schema.data_set,
            schema.days or 1,
            {
                feature.name: feature.vocabulary_size
                for feature in schema.categorical_features
            },
        )

    @property
    def chain(self) -> tuple[ChainLink, ...]:
        """The chain of the new data set."""
        return (*self.schema.chain, self.link)

    def column(
        self, name: str, days: int, forget_days: int | None = None
    ) -> "EarlierColumn":
        """Return what is known about the values of a column.

        Args:
            name: The column.
            days: Number of days of the new data set.
            forget_days: Values that the last days do not have are forgotten.
        """
        return EarlierColumn(self, name, last_day_of(self.schema) + days, forget_days)


@dataclass(frozen=True)
class EarlierColumn:
    """The values of a column in what a new data set extends.

    Args:
        earlier: What is extended.
        name: The column.
        last_day: The last day of the new data set.
        forget_days: Values that the last days do not have are forgotten.
    """

    earlier: Earlier
    name: str
    last_day: int
    forget_days: int | None = None

    @cached_property
    def history(self) -> pl.DataFrame:
        """The vocabulary; see `vocabulary_files.read_history`.

        Raises:
            InputError: If it is damaged or missing.
        """
        schema = self.earlier.schema
        sizes = dict(zip(self._names, schema.vocabulary_sizes, strict=True))
        num_values = sizes[self.name] - len(schema.reserved_ids)
        sha256 = schema.vocabularies.get(self.name)
        history = read_history(self.earlier.directory, self.name, num_values, sha256)
        return self._on_days(history)

    def counts(self) -> Iterator[pl.DataFrame]:
        """Yield the counts of all values, those without an id group by group.

        Raises:
            InputError: If the vocabulary or the rare values are damaged.
        """
        yield self.history.filter(pl.col("value").is_not_null())
        schema = self.earlier.schema
        sha256 = schema.rare_values.get(self.name)
        rare = read_rare_values(self.earlier.directory, self.name, sha256)
        no_id = pl.lit(None, pl.Int32)
        for counts in rare or ():
            yield self._on_days(counts).with_columns(id=no_id, since=no_id)

    @property
    def is_forgotten(self) -> pl.Expr | None:
        """Which counts are those of values to forget."""
        last_day = self.last_forgotten_day
        return None if last_day is None else pl.col("last_day") <= last_day

    @property
    def last_forgotten_day(self) -> int | None:
        """Values that no later day has are forgotten; `None` forgets nothing."""
        return None if self.forget_days is None else self.last_day - self.forget_days

    def number(
        self, kept: pl.DataFrame, order: Sequence[tuple[str, bool]], first_id: int
    ) -> Vocabulary:
        """Return the new vocabulary: old values keep their ids, new ones get the next.

        Freed ids are taken first, the lowest one before the others.

        Args:
            kept: The counts of all values that are to have an id.
            order: The order of new values: columns of the counts, each with whether it
                descends.
            first_id: Id of the first value of a vocabulary.
        """
        history = self.history
        names, descending = zip(*order, strict=True)
        old = kept.filter(pl.col("id").is_not_null())
        new = kept.filter(pl.col("id").is_null())
        new = new.sort(names, descending=list(descending))
        freed = history.join(old, on="id", how="anti")
        next_id = first_id + history.height
        more_ids = pl.int_range(next_id, next_id + new.height, eager=True)
        ids = pl.concat([freed["id"].sort(), more_ids.cast(pl.Int32)])
        number = pl.lit(len(self.earlier.chain), pl.Int32)
        new = new.with_columns(ids.head(new.height).alias("id"), number.alias("since"))
        still_free = ids.slice(new.height, max(freed.height - new.height, 0))
        columns = ["value", "id", "frequency", *EARLIER[1:]]
        rows = [old.select(columns), new.select(columns)]
        rows.append(
            still_free.to_frame().select(
                pl.lit(None, history.schema["value"]).alias("value"),
                "id",
                pl.lit(0, pl.Int64).alias("frequency"),
                *(pl.lit(None, pl.Int32).alias(name) for name in EARLIER[1:]),
            )
        )
        return Vocabulary(
            pl.concat(rows).sort("id"),
            kept.height,
            num_new=new.height,
            forgotten=freed["value"].drop_nulls(),
        )

    @property
    def _names(self) -> list[str]:
        features = self.earlier.schema.categorical_features
        return [feature.name for feature in features]

    def _on_days(self, counts: pl.DataFrame) -> pl.DataFrame:
        """Return counts with the last day that a first data set does not write."""
        # All values of a first data set are seen on its last day.
        last_day = pl.lit(last_day_of(self.earlier.schema), pl.Int32)
        if "last_day" in counts.columns:
            has_value = pl.col("value").is_not_null()
            last_day = pl.when(has_value).then(pl.col("last_day").fill_null(last_day))
        return counts.with_columns(last_day.alias("last_day"))


def new_ids(
    directory: Path, features: Sequence[CountedFeature], first_id: int, number: int
) -> dict[str, np.ndarray]:
    """Return which ids of a data set belong to values that had none before.

    Args:
        directory: The data set directory, with its vocabularies.
        features: The columns.
        first_id: Id of the first value of a vocabulary.
        number: Number of the data set in its chain.

    Returns:
        For each column a bool array with an element for each id; empty for a column
        without a vocabulary. A missing value's id is not new.
    """
    are_new = {}
    for feature in features:
        are_new[feature.name] = np.zeros(0, bool)
        if feature.num_kept is not None:
            num_values = feature.num_ids - first_id
            history = read_history(directory, feature.name, num_values)
            is_new = (history["since"] == number).fill_null(False).to_numpy()
            are_new[feature.name] = np.concatenate([np.zeros(first_id, bool), is_new])
            if feature.missing_id is not None:
                are_new[feature.name][feature.missing_id] = False
    return are_new
