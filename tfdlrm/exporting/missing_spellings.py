"""Missing values that a log spells in words, inside a served graph."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf


class MissingSpellings:
    """The spellings of a missing value, by column.

    Args:
        spellings: As a data set's description of its columns has them.

    Example:

    >>> missing = MissingSpellings({"age": ["NA", "-1"]})
    >>> missing.blank(tf.constant([["NA", "NA"]]), ["age", "price"]).numpy().tolist()
    [[b'', b'NA']]
    """

    def __init__(self, spellings: Mapping[str, Sequence[str]]) -> None:
        self._spellings = {name: list(texts) for name, texts in spellings.items()}

    def blank(self, texts: tf.Tensor, names: Sequence[str]) -> tf.Tensor:
        """Return texts `(batch, columns)`, blank where they spell a missing value."""
        spellings = self._table(names, self._spellings, "", object)
        if spellings is None:
            return texts
        is_missing = tf.reduce_any(texts[:, :, None] == spellings, axis=-1)
        return tf.where(is_missing, "", texts)

    def blank_bag(self, bag: tf.RaggedTensor, name: str) -> tf.RaggedTensor:
        """Return the texts `(batch, None)` of a multi-hot column, blank if missing."""
        return bag.with_values(self.blank(bag.values[:, None], [name])[:, 0])

    def replace(
        self, numbers: tf.Tensor, names: Sequence[str], missing: float
    ) -> tf.Tensor:
        """Return numbers `(batch, columns)`, `missing` where they spell this."""
        values = {name: _numbers(texts) for name, texts in self._spellings.items()}
        # Filled with NaN, which equals no number. A spelling is rounded as numbers are.
        dtype = numbers.dtype.as_numpy_dtype
        spellings = self._table(names, values, np.nan, dtype)
        if spellings is None:
            return numbers
        is_missing = tf.reduce_any(numbers[:, :, None] == spellings, axis=-1)
        return tf.where(is_missing, tf.constant(missing, numbers.dtype), numbers)

    def _table(
        self,
        names: Sequence[str],
        spellings: Mapping[str, Sequence[object]],
        filling: object,
        dtype: type,
    ) -> tf.Tensor | None:
        """Return spellings `(columns, width)`, or `None` if no column has any."""
        rows = [list(spellings.get(name, [])) for name in names]
        width = max(map(len, rows), default=0)
        if not width:
            return None
        table = [[*row, *[filling] * (width - len(row))] for row in rows]
        return tf.constant(np.array(table, dtype))


def _numbers(spellings: Sequence[str]) -> list[float]:
    numbers = []
    for text in spellings:
        try:
            numbers.append(float(text))
        except ValueError:
            continue
    return [number for number in numbers if np.isfinite(number)]
