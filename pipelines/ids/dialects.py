"""The dialects: three rules that turn raw categorical values into ids."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl

from pipelines.ids.counting import ValueCounter, Vocabulary, with_ids
from pipelines.ids.coverage import CountedFeature
from pipelines.ids.hashing import HashTable
from pipelines.ids.vocabulary import IdTable, Table, table_bytes
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import (
    MISSING_ID,
    NUM_RESERVED_IDS,
    SPLITS,
    UNKNOWN_ID,
    CategoricalFeature,
    FeatureSchema,
)
from tfdlrm.data.vocabulary_files import read_vocabulary


class Dialect(ABC):
    """A rule that turns raw categorical values into ids.

    Attributes:
        reserved_ids: The ids that are no value's own, by what they stand for.
        counted_splits: The splits whose rows make the vocabulary; without any, there is
            none.
        order: The order of the values that are kept: columns of the counts, each with
            whether it descends.
        first_id: Id of the first of them.
        min_frequency: Values that were counted less often are left out.
    """

    reserved_ids: ClassVar[dict[str, int]] = {
        "unknown": UNKNOWN_ID,
        "missing": MISSING_ID,
    }
    counted_splits: ClassVar[tuple[str, ...]]
    order: ClassVar[tuple[tuple[str, bool], ...]] = ()
    first_id: ClassVar[int] = 0
    min_frequency: int | None

    def counted_rows(self, ranges: Mapping[str, range]) -> range:
        """The numbers of the rows whose values make the vocabulary.

        Args:
            ranges: The row numbers of each split.
        """
        ends = [
            rows.stop for name, rows in ranges.items() if name in self.counted_splits
        ]
        return range(max(ends, default=0))

    def counted(self, raw: pl.Series) -> pl.Series:
        """The values that are counted for `raw` ones; null is none."""
        return raw

    def vocabulary(
        self, values: Iterable[pl.Series], memory_bytes: int, work: Path
    ) -> Vocabulary | None:
        """Count a column.

        Args:
            values: Its values in the rows that are counted, in order.
            memory_bytes: What counting may take in memory.
            work: Where files may go meanwhile.

        Returns:
            Its vocabulary, or `None` when the dialect needs none.
        """
        if not self.counted_splits:
            return None
        counter = ValueCounter(memory_bytes, work)
        for series in values:
            counter.add(self.counted(series))
        counts = counter.counts(self.min_frequency or 1)
        names, descending = zip(*self.order, strict=True)
        in_order = counts.sort(names, descending=list(descending))
        return Vocabulary(with_ids(in_order, self.first_id), counter.num_distinct)

    @abstractmethod
    def describe(self, name: str, vocabulary: Vocabulary | None) -> CountedFeature:
        """How many ids column `name` has with that vocabulary, and the special ones."""

    def table_bytes(self, directory: Path, name: str) -> int:
        """What the table of a column of the data set takes in memory, about."""
        return table_bytes(directory, name) if self.counted_splits else 0

    @abstractmethod
    def table(
        self, directory: Path, feature: CategoricalFeature, sha256: str | None = None
    ) -> Table:
        """The ids of a column of the data set or exported model in `directory`.

        Args:
            directory: The directory that holds `vocabulary/`, if the dialect has one.
            feature: The column.
            sha256: Checksum of its vocabulary by the schema, if that has one.
        """


@dataclass(frozen=True)
class DefaultDialect(Dialect):
    """Frequent values of training rows get ids by descending frequency, from 2.

    Equally frequent ones are in ascending order. Id 0 is that of all other values, id
    1 that of missing ones.

    Args:
        min_frequency: Values seen less often are left out.
    """

    counted_splits = ("train",)
    order = (("frequency", True), ("value", False))
    first_id = NUM_RESERVED_IDS
    min_frequency: int

    def describe(self, name: str, vocabulary: Vocabulary | None) -> CountedFeature:
        assert vocabulary is not None
        num_kept = vocabulary.values.height
        return CountedFeature(
            name,
            num_kept + NUM_RESERVED_IDS,
            num_kept,
            vocabulary.num_distinct,
            UNKNOWN_ID,
            MISSING_ID,
        )

    def table(
        self, directory: Path, feature: CategoricalFeature, sha256: str | None = None
    ) -> Table:
        num_values = feature.vocabulary_size - NUM_RESERVED_IDS
        return IdTable(read_vocabulary(directory, feature.name, num_values, sha256))


@dataclass(frozen=True)
class FacebookDialect(Dialect):
    """The ids of the reference implementation's preprocessing.

    Every value of any row, held-out ones too, has an id from 0 in the order in which
    values are first seen. A missing value is the value 0. The reference cannot score a
    value that it never saw; here such a value gets the id of the value 0, so that it
    counts as missing, or id 0 where no row had that value.

    Args:
        max_index_range: Values are taken modulo this; `None` takes them as they are.

    Reference:
        `getCriteoAdData` in data_utils.py of github.com/facebookresearch/dlrm.
    """

    reserved_ids = {}  # noqa: RUF012
    counted_splits = SPLITS
    order = (("first", False),)
    min_frequency = 1
    max_index_range: int | None

    def counted(self, raw: pl.Series) -> pl.Series:
        """What the reference makes of raw values before it numbers them."""
        values = raw.fill_null(0)
        if self.max_index_range is None or self.max_index_range == 2**32:
            return values
        return values % self.max_index_range

    def describe(self, name: str, vocabulary: Vocabulary | None) -> CountedFeature:
        assert vocabulary is not None
        num_kept = vocabulary.values.height
        return CountedFeature(
            name,
            num_kept,
            num_kept,
            vocabulary.num_distinct,
            unknown_id=None,
            missing_id=_id_of_zero(vocabulary.values),
        )

    def table(
        self, directory: Path, feature: CategoricalFeature, sha256: str | None = None
    ) -> Table:
        size = feature.vocabulary_size
        values = read_vocabulary(directory, feature.name, size, sha256)
        return _FacebookTable(self, values)


class _FacebookTable:
    def __init__(self, dialect: FacebookDialect, vocabulary: pl.DataFrame) -> None:
        self._dialect = dialect
        unknown_id = _id_of_zero(vocabulary) or 0
        self._table = IdTable(vocabulary, unknown_id)
        namesake = vocabulary.filter(pl.col("id") == unknown_id)["value"]
        self._namesake = namesake[0] if len(namesake) else None

    def ids(self, values: pl.Series) -> np.ndarray:
        return self._table.ids(self._dialect.counted(values))

    def are_unknown(self, values: pl.Series, ids: np.ndarray) -> np.ndarray:
        # Unknown values share the id of one that is known.
        is_other = self._dialect.counted(values).ne_missing(self._namesake)
        is_given = (values.is_not_null() & is_other).to_numpy()
        return self._table.are_unknown(values, ids) & is_given


@dataclass(frozen=True)
class HashDialect(Dialect):
    """Ids without counting: 2 + value % `hash_buckets`, and 1 for missing values.

    Id 0 stays unused, so that 0 means unknown in every dialect with reserved ids.
    Criteo's values are 32-bit hashes already; of text it is the FarmHash fingerprint,
    which `tf.strings.to_hash_bucket_fast` takes too, so that a serving graph can.

    Args:
        hash_buckets: Ids beside the reserved ones.
    """

    counted_splits = ()
    min_frequency = None
    hash_buckets: int

    def describe(self, name: str, vocabulary: Vocabulary | None) -> CountedFeature:
        del vocabulary
        num_ids = self.hash_buckets + NUM_RESERVED_IDS
        return CountedFeature(name, num_ids, None, None, UNKNOWN_ID, MISSING_ID)

    def table(
        self, directory: Path, feature: CategoricalFeature, sha256: str | None = None
    ) -> Table:
        del directory, sha256
        return HashTable(feature.vocabulary_size - NUM_RESERVED_IDS)


def dialect(settings: PrepareConfig | FeatureSchema) -> Dialect:
    """The dialect that settings ask for, or that a data set was made in.

    Example:

    >>> dialect(PrepareConfig(dialect="hash", hash_buckets=10))
    HashDialect(hash_buckets=10)
    """
    if settings.dialect == "facebook":
        return FacebookDialect(settings.max_index_range)
    if settings.dialect == "hash":
        return HashDialect(settings.hash_buckets or 0)
    return DefaultDialect(settings.min_frequency or 1)


def load_tables(directory: Path, schema: FeatureSchema) -> list[Table]:
    """The ids of every categorical column of a data set or an exported model.

    Args:
        directory: The directory that holds `vocabulary/`, if the dialect has one.
        schema: Its schema.

    Returns:
        A table for each categorical feature, in column order.

    Raises:
        InputError: If a vocabulary is missing, damaged, or does not fit the schema.
    """
    chosen = dialect(schema)
    return [
        chosen.table(directory, each, schema.vocabularies.get(each.name))
        for each in schema.categorical_features
    ]


def _id_of_zero(vocabulary: pl.DataFrame) -> int | None:
    ids = vocabulary.filter(pl.col("value") == 0)["id"]
    return int(ids[0]) if len(ids) else None
