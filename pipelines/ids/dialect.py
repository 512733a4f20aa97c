"""What all dialects have in common: counting and numbering the values of a column."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import polars as pl

from pipelines.ids.counting import ValueCounter, Vocabulary, with_ids
from pipelines.ids.coverage import CountedFeature
from pipelines.ids.earlier import EarlierColumn
from pipelines.ids.vocabulary import Table, table_bytes
from tfdlrm.data.dialects import DialectTraits
from tfdlrm.data.schema import CategoricalFeature


class Dialect(ABC):
    """A way to turn raw categorical values into ids.

    Attributes:
        traits: The properties that other rooms have to know.
        counted_splits: The splits whose values make the vocabulary, if there is one.
        order: The order of the vocabulary: columns of the counts, each with whether it
            descends.
        min_frequency: Values that occur less often are left out of the vocabulary.
    """

    traits: ClassVar[DialectTraits]
    counted_splits: ClassVar[tuple[str, ...]] = ()
    order: ClassVar[tuple[tuple[str, bool], ...]] = ()
    min_frequency: int | None

    def counted_rows(self, ranges: Mapping[str, range]) -> range:
        """Return the numbers of the rows whose values make the vocabulary.

        Args:
            ranges: The row numbers of each split.
        """
        ends = [
            rows.stop for name, rows in ranges.items() if name in self.counted_splits
        ]
        return range(max(ends, default=0))

    def values_to_count(self, raw: pl.Series) -> pl.Series:
        """Return the values to count for raw values; null is not counted."""
        return raw

    def vocabulary(
        self,
        values: Iterable[pl.Series],
        memory_bytes: int,
        work: Path,
        earlier: EarlierColumn | None = None,
    ) -> Vocabulary | None:
        """Count a column's values and return its vocabulary.

        Args:
            values: Its values in the rows that are counted, in order.
            memory_bytes: Memory that counting may take, in bytes.
            work: Directory for temporary files.
            earlier: The values in what is extended; their counts are added.

        Returns:
            The vocabulary, or `None` when the dialect needs none.

        Raises:
            InputError: If the counts of what is extended are damaged.
        """
        if not self.traits.has_vocabulary:
            return None
        last_day = None if earlier is None else earlier.last_day
        counter = ValueCounter(memory_bytes, work, last_day)
        if earlier is not None:
            for counts in earlier.counts():
                counter.add_earlier(counts)
        for series in values:
            counter.add(self.values_to_count(series))
        rare = counter.rare_values() if self.keeps_rare_values else None
        is_forgotten = None if earlier is None else self.is_forgotten(earlier)
        kept = counter.counts(self.min_frequency or 1, rare, is_forgotten)
        return replace(
            self.number(kept, earlier), num_distinct=counter.num_distinct, rare=rare
        )

    def number(self, kept: pl.DataFrame, earlier: EarlierColumn | None) -> Vocabulary:
        """Return the vocabulary of the values that are to have an id.

        Args:
            kept: The counts of these values.
            earlier: The values in what is extended, which keep their ids.
        """
        first_id = self.traits.first_id
        if earlier is not None:
            return earlier.number(kept, self.order, first_id)
        names, descending = zip(*self.order, strict=True)
        in_order = kept.sort(names, descending=list(descending))
        return Vocabulary(with_ids(in_order, first_id), kept.height)

    @property
    def keeps_rare_values(self) -> bool:
        """Whether there are values that were counted and are too rare for an id."""
        return self.traits.has_threshold and (self.min_frequency or 1) > 1

    def is_forgotten(self, earlier: EarlierColumn) -> pl.Expr | None:
        """Which counts are those of values that are to lose their ids, if any."""
        is_forgotten = earlier.is_forgotten
        if is_forgotten is not None and self.traits.missing_is_zero:
            return is_forgotten & (pl.col("value") != 0)
        return is_forgotten

    @abstractmethod
    def describe(self, name: str, vocabulary: Vocabulary | None) -> CountedFeature:
        """Return the number of ids and the special ids of a column."""

    def table_bytes(self, directory: Path, name: str) -> int:
        """Return roughly how much memory the table of a data set's column takes."""
        return table_bytes(directory, name) if self.traits.has_vocabulary else 0

    @abstractmethod
    def table(
        self, directory: Path, feature: CategoricalFeature, sha256: str | None = None
    ) -> Table:
        """Load the table from values to ids of a column of a data set or model.

        Args:
            directory: The directory that holds `vocabulary/`, if the dialect has one.
            feature: The column.
            sha256: Checksum of its vocabulary in the schema, if there is one.
        """
