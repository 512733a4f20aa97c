"""Raw columns to a model's features, inside a graph, as `pipelines` converts them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfdlrm.base.whole_floats import WHOLE_FLOAT
from tfdlrm.data.dialects import traits_of
from tfdlrm.data.parsing import bags_of, side_by_side
from tfdlrm.data.schema import (
    MISSING_ID,
    NUM_RESERVED_IDS,
    UNKNOWN_ID,
    FeatureSchema,
)
from tfdlrm.exporting.checks import check_values
from tfdlrm.exporting.missing_spellings import MissingSpellings
from tfdlrm.exporting.raw_columns import COUNTS
from tfdlrm.exporting.raw_transforms import NumberTransforms
from tfdlrm.exporting.raw_vocabularies import vocabulary_tables
from tfdlrm.exporting.unknown_counts import UnknownCounter, join_counts
from tfdlrm.exporting.vocabulary_tables import low_bits

_INTEGER = "-?[0-9]+"
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_HASH = "0*[0-9a-fA-F]{1,8}"
_UTF_8 = "(?s).*"

_HEX_DIGITS = 8
_POWERS_OF_16 = 16 ** np.arange(_HEX_DIGITS - 1, -1, -1, dtype=np.int64)


class RawFeatures(tf.Module):
    """The transforms and vocabularies of a data set.

    Args:
        schema: Its schema. Without a description of columns they are Criteo's: whole
            numbers, and categories as hexadecimal numbers of up to 32 bits.
        directory: The directory that holds `vocabulary/`, if the dialect has one.
        work: Directory for temporary files, until the SavedModel is written.

    Attributes:
        categories: The most frequent value of each categorical column, as text; blank
            without a vocabulary.

    Raises:
        InputError: If a vocabulary cannot be read.
    """

    def __init__(self, schema: FeatureSchema, directory: Path, work: Path) -> None:
        super().__init__()
        self.schema = schema
        self.is_criteo = schema.columns is None
        columns = schema.columns or {}
        self._missing = MissingSpellings(columns.get("missing", {}))
        self._joins_floats = columns.get("floats_as_integers", False)
        self._untransformed = np.isin(schema.dense_features, schema.untransformed)
        self._transforms = NumberTransforms(schema) if schema.transforms else None
        self._traits = traits_of(schema.dialect)
        self._has_hashes = self.is_criteo and self._traits.has_vocabulary
        self.tables, self.categories = vocabulary_tables(schema, directory, work)
        counted = [
            table
            for table, feature in zip(
                self.tables, schema.categorical_features, strict=True
            )
            if feature.name not in schema.transforms
        ]
        self._unknown = UnknownCounter(
            schema,
            [table.unknown_id if table else UNKNOWN_ID for table in counted],
            [table.namesake if table else None for table in counted],
        )

    @property
    def separators(self) -> list[str | None]:
        """Text between the values of each multi-hot column; `None` for lists."""
        columns = self.schema.columns or {}
        return list(columns.get("separators", ()))

    def numbers(self, texts: tf.Tensor) -> tf.Tensor:
        """Parse texts `(batch, number columns)` into float64.

        Missing values become NaN if the schema has `transforms`, else 0.
        """
        names = self.schema.number_columns
        texts = self._missing.blank(texts, names)
        is_blank = texts == ""
        pattern = _INTEGER if self.is_criteo else _NUMBER
        is_good = is_blank | tf.strings.regex_full_match(texts, pattern)
        expected = "a 64-bit integer" if self.is_criteo else "a finite number"
        check_values(texts, is_good, names, f"{expected} or nothing")
        # The conversion itself must not see a text that the check refuses.
        texts = tf.where(is_blank | ~is_good, "0", texts)
        dtype = tf.int64 if self.is_criteo else tf.float64
        numbers = tf.cast(tf.strings.to_number(texts, dtype), tf.float64)
        missing = 0 if self._transforms is None else np.nan
        if self._transforms is not None:
            numbers = tf.where(is_blank, tf.constant(missing, tf.float64), numbers)
        return self._missing.replace(numbers, names, missing)

    def float_numbers(self, floats: tf.Tensor) -> tf.Tensor:
        """Return floats `(batch, number columns)` as `numbers` returns texts."""
        names = self.schema.number_columns
        if self._transforms is None:
            floats = self._missing.replace(floats, names, 0)
            return tf.cast(floats, tf.float64)
        is_good = ~tf.math.is_nan(floats)  # NaN would count as missing
        check_values(floats, is_good, names, "a finite number or nothing")
        floats = self._missing.replace(floats, names, np.nan)
        return self._transforms.as_doubles(floats)

    def dense(self, numbers: tf.Tensor) -> tf.Tensor:
        """Transform the numbers of rows into dense features `(batch, n)`, float32."""
        names = self.schema.number_columns
        is_good = tf.math.is_finite(tf.cast(numbers, tf.float32))
        expected = "a finite number"
        if self.is_criteo:
            is_good &= tf.floor(numbers) == numbers
            expected = "a whole number"
        if self._transforms is not None:
            is_good |= tf.math.is_nan(numbers)
        check_values(numbers, is_good, names, f"{expected} or nothing")
        if self._transforms is not None:
            return self._transforms.dense(numbers)
        counts = tf.math.log1p(tf.maximum(numbers, 0))
        return tf.cast(tf.where(self._untransformed, numbers, counts), tf.float32)

    def ids(
        self, texts: tf.Tensor, bags: Sequence[tf.RaggedTensor], numbers: tf.Tensor
    ) -> tuple[Any, dict[str, tf.Tensor]]:
        """Return the ids of categorical values, and the counts of unknown ones.

        Args:
            texts: Values of the text columns, `(batch, features)`; blank where missing.
            bags: Values of each multi-hot column, `(batch, None)`.
            numbers: Values of the number columns, of which some have buckets.

        Returns:
            The ids, int64 `(batch, features)`, or a `tf.RaggedTensor` `(batch,
            features, None)` where there are multi-hot columns; and the
            `unknown_counts.COUNTS`, each `(batch, counted columns)`.
        """
        ids = tf.zeros([tf.shape(texts)[0], 0], tf.int64)
        counts = [[tf.zeros_like(ids, tf.int32)] * len(COUNTS)]
        if self.schema.single_hot:
            values, is_missing = self._values(texts)
            if self._has_buckets:
                values, is_missing = self._with_buckets(values, is_missing, numbers)
            keys = low_bits(values) if self._has_hashes else values
            columns = [
                self._ids(position, column)
                for position, column in enumerate(tf.unstack(keys, axis=1))
            ]
            ids = tf.stack(columns, axis=1)
            if not self._traits.missing_is_zero:
                ids = tf.where(is_missing, tf.constant(MISSING_ID, tf.int64), ids)
            counts = [self._count(values, ids, is_missing)]
        if not self.schema.multi_hot:
            return ids, join_counts(counts)
        bags_of_ids = [
            self._bag(position, bag, separator)
            for position, (bag, separator) in enumerate(
                zip(bags, self.separators, strict=True),
                start=len(self.schema.single_hot),
            )
        ]
        counts += [self._unknown.bag(bag) for bag in bags_of_ids]
        ids = bags_of(*side_by_side(tf.cast(ids, tf.int32), bags_of_ids))
        return ids, join_counts(counts)

    @property
    def _has_buckets(self) -> bool:
        return len(self.schema.text_columns) < len(self.schema.single_hot)

    def _with_buckets(
        self, values: tf.Tensor, is_missing: tf.Tensor, numbers: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Add the buckets of numbers to the values of text columns, in column order."""
        assert self._transforms is not None
        buckets, are_missing = self._transforms.buckets(numbers)
        if self.is_criteo:
            bucket_values = tf.bitwise.bitwise_and(buckets, np.int64(2**32 - 1))
        else:
            bucket_values = tf.strings.as_string(buckets)
        names = self.schema.single_hot
        bucket_names = [name for name in names if name in self.schema.transforms]
        together = [*self.schema.text_columns, *bucket_names]
        order = [together.index(name) for name in names]
        return (
            tf.gather(tf.concat([values, bucket_values], axis=1), order, axis=1),
            tf.gather(tf.concat([is_missing, are_missing], axis=1), order, axis=1),
        )

    def _count(
        self, values: tf.Tensor, ids: tf.Tensor, is_missing: tf.Tensor
    ) -> list[tf.Tensor]:
        """Count unknown values of the text columns; buckets are no values of a row."""
        if self._has_buckets:
            names = self.schema.single_hot
            columns = [names.index(name) for name in self.schema.text_columns]
            counted = np.array(columns, np.int32)  # there may be none
            values, ids, is_missing = (
                tf.gather(part, counted, axis=1) for part in (values, ids, is_missing)
            )
        return self._unknown.single_hot(values, ids, is_missing)

    def _values(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the values to look up, and whether each is missing."""
        names = self.schema.text_columns
        texts = self._missing.blank(texts, names)
        is_missing = texts == ""
        if not self.is_criteo:
            is_good = tf.strings.regex_full_match(texts, _UTF_8)
            check_values(texts, is_good, names, "text in UTF-8")
            return texts, is_missing
        is_good = is_missing | tf.strings.regex_full_match(texts, _HASH)
        expected = "a hexadecimal number of at most 32 bits or nothing"
        check_values(texts, is_good, names, expected)
        values = _modulo(_hexadecimal(texts), self.schema.max_index_range)
        return values, is_missing

    def _ids(self, position: int, values: tf.Tensor) -> tf.Tensor:
        """Return the ids of values of one column, none of them missing."""
        table = self.tables[position]
        if self._joins_floats and (table is None or table.has_integers):
            values = tf.strings.regex_replace(values, WHOLE_FLOAT, r"\1\2")
        if table is not None:
            return table.ids(values)
        size = self.schema.vocabulary_sizes[position]
        num_buckets = size - NUM_RESERVED_IDS
        if values.dtype == tf.string:
            buckets = tf.strings.to_hash_bucket_fast(values, num_buckets)
        else:
            buckets = values % num_buckets
        return buckets + NUM_RESERVED_IDS

    def _bag(
        self, position: int, bag: tf.RaggedTensor, separator: str | None
    ) -> tf.RaggedTensor:
        name = self.schema.categorical_features[position].name
        if separator is not None:
            bag = self._missing.blank_bag(bag, name)
            bag = tf.strings.split(bag, separator).merge_dims(1, 2)
        bag = self._missing.blank_bag(bag, name)
        bag = tf.ragged.boolean_mask(bag, bag != "")
        is_good = tf.strings.regex_full_match(bag.values, _UTF_8)
        check_values(bag.values[:, None], is_good[:, None], [name], "text in UTF-8")
        ids = tf.cast(self._ids(position, bag.values), tf.int32)
        return bag.with_values(ids).with_row_splits_dtype(tf.int32)


def _modulo(values: tf.Tensor, divisor: int | None) -> tf.Tensor:
    return values if divisor is None else values % divisor


def _hexadecimal(texts: tf.Tensor) -> tf.Tensor:
    """Parse up to 8 hexadecimal digits as int64; a blank text is 0."""
    texts = tf.strings.join(["0" * _HEX_DIGITS, texts])
    texts = tf.strings.substr(texts, -_HEX_DIGITS, _HEX_DIGITS)
    codes = tf.cast(tf.io.decode_raw(texts, tf.uint8), tf.int64)
    # For an empty batch, TensorFlow does not know the number of bytes.
    codes = tf.reshape(codes, tf.concat([tf.shape(texts), [_HEX_DIGITS]], axis=0))
    # The low four bits are the value of a digit; a letter's value is those plus 9.
    digits = tf.bitwise.bitwise_and(codes, np.int64(15)) + 9 * (codes // 64)
    return tf.reduce_sum(digits * _POWERS_OF_16, axis=-1)
