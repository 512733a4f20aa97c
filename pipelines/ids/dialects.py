"""The dialects: three ways from raw categorical values to ids."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.ids.counting import Vocabulary
from pipelines.ids.coverage import CountedFeature
from pipelines.ids.dialect import Dialect
from pipelines.ids.hashing import HashTable
from pipelines.ids.vocabulary import IdTable, Table
from tfdlrm.config import PrepareConfig
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.schema import (
    MISSING_ID,
    NUM_RESERVED_IDS,
    SPLITS,
    UNKNOWN_ID,
    CategoricalFeature,
    FeatureSchema,
)
from tfdlrm.data.vocabulary_files import read_vocabulary


@dataclass(frozen=True)
class DefaultDialect(Dialect):
    """Number the frequent values of training rows by descending frequency, from 2.

    Equally frequent values are in ascending order. All other values have id 0, missing
    values have id 1.

    Args:
        min_frequency: Values that occur less often are left out.
    """

    traits = traits_of("default")
    counted_splits = ("train",)
    order = (("frequency", True), ("value", False))
    min_frequency: int

    def describe(self, name: str, vocabulary: Vocabulary | None) -> CountedFeature:
        assert vocabulary is not None
        return CountedFeature(
            name,
            vocabulary.values.height + NUM_RESERVED_IDS,
            vocabulary.num_kept,
            vocabulary.num_distinct,
            UNKNOWN_ID,
            MISSING_ID,
            vocabulary.num_new,
            vocabulary.num_forgotten,
        )

    def table(
        self, directory: Path, feature: CategoricalFeature, sha256: str | None = None
    ) -> Table:
        num_values = feature.vocabulary_size - NUM_RESERVED_IDS
        return IdTable(read_vocabulary(directory, feature.name, num_values, sha256))


@dataclass(frozen=True)
class FacebookDialect(Dialect):
    """Number values as the reference implementation's preprocessing does.

    Every value of any row, held-out rows too, has an id, from 0 in the order in which
    values first occur. A missing value is the value 0. The reference cannot score a
    value that no row had; here such a value gets the id of the value 0, so that it
    counts as missing, or id 0 where no row had the value 0.

    Args:
        max_index_range: Values are taken modulo this; `None` takes them as they are.

    Reference:
        `getCriteoAdData` in data_utils.py of github.com/facebookresearch/dlrm.
    """

    traits = traits_of("facebook")
    counted_splits = SPLITS
    order = (("first", False),)
    min_frequency = 1
    max_index_range: int | None

    def values_to_count(self, raw: pl.Series) -> pl.Series:
        """Return raw values as the reference changes them before it numbers them."""
        values = raw.fill_null(0)
        if self.max_index_range is None or self.max_index_range == 2**32:
            return values
        return values % self.max_index_range

    def describe(self, name: str, vocabulary: Vocabulary | None) -> CountedFeature:
        assert vocabulary is not None
        return CountedFeature(
            name,
            vocabulary.values.height,
            vocabulary.num_kept,
            vocabulary.num_distinct,
            None,
            _id_of_zero(vocabulary.values),
            vocabulary.num_new,
            vocabulary.num_forgotten,
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
        sharing = vocabulary.filter(pl.col("id") == unknown_id)["value"]
        self._value_of_unknown = sharing[0] if len(sharing) else None

    def ids(self, values: pl.Series) -> np.ndarray:
        return self._table.ids(self._dialect.values_to_count(values))

    def are_unknown(self, values: pl.Series, ids: np.ndarray) -> np.ndarray:
        # Unknown values share the id of a value of the vocabulary.
        is_other = self._dialect.values_to_count(values).ne_missing(
            self._value_of_unknown
        )
        may_be_unknown = (values.is_not_null() & is_other).to_numpy()
        return self._table.are_unknown(values, ids) & may_be_unknown


@dataclass(frozen=True)
class HashDialect(Dialect):
    """Ids without counting: 2 + value % `hash_buckets`, and 1 for missing values.

    Id 0 stays unused, so that 0 means unknown in every dialect with reserved ids.
    Criteo's values are 32-bit hashes already. Text is hashed by its FarmHash
    fingerprint, as in `tf.strings.to_hash_bucket_fast`, which a serving graph has.

    Args:
        hash_buckets: Number of ids besides the reserved ones.
    """

    traits = traits_of("hash")
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


def dialect_of(settings: PrepareConfig | FeatureSchema) -> Dialect:
    """Return the dialect that settings ask for, or that a data set was made in.

    Example:

    >>> dialect_of(PrepareConfig(dialect="hash", hash_buckets=10))
    HashDialect(hash_buckets=10)
    """
    return _DIALECTS[settings.dialect or "default"](settings)


_DIALECTS: dict[str, Callable[[PrepareConfig | FeatureSchema], Dialect]] = {
    "default": lambda settings: DefaultDialect(settings.min_frequency or 1),
    "facebook": lambda settings: FacebookDialect(settings.max_index_range),
    "hash": lambda settings: HashDialect(settings.hash_buckets or 0),
}


def load_tables(directory: Path, schema: FeatureSchema) -> list[Table]:
    """Load the tables of all categorical columns of a data set or an exported model.

    Args:
        directory: The directory that holds `vocabulary/`, if the dialect has one.
        schema: Its schema.

    Returns:
        A table for each categorical feature, in column order.

    Raises:
        InputError: If a vocabulary is missing, damaged, or does not fit the schema.
    """
    dialect = dialect_of(schema)
    return [
        dialect.table(directory, feature, schema.vocabularies.get(feature.name))
        for feature in schema.categorical_features
    ]


def _id_of_zero(vocabulary: pl.DataFrame) -> int | None:
    ids = vocabulary.filter(pl.col("value") == 0)["id"]
    return int(ids[0]) if len(ids) else None
