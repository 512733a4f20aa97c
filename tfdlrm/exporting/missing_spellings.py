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
    >>> missing.blanked(tf.constant([["NA", "NA"]]), ["age", "price"]).numpy().tolist()
    [[b'', b'NA']]
    """

    def __init__(self, spellings: Mapping[str, Sequence[str]]) -> None:
        self._spellings = {name: list(each) for name, each in spellings.items()}

    def blanked(self, texts: tf.Tensor, names: Sequence[str]) -> tf.Tensor:
        """Texts `(batch, columns)`, blank where they spell a missing value."""
        spellings = self._table(names, self._spellings, "", object)
        if spellings is None:
            return texts
        is_missing = tf.reduce_any(texts[:, :, None] == spellings, axis=-1)
        return tf.where(is_missing, "", texts)

    def blanked_bag(self, bag: tf.RaggedTensor, name: str) -> tf.RaggedTensor:
        """The texts `(batch, None)` of a multi-hot column, blank where missing."""
        return bag.with_values(self.blanked(bag.values[:, None], [name])[:, 0])

    def zeroed(self, numbers: tf.Tensor, names: Sequence[str]) -> tf.Tensor:
        """Numbers `(batch, columns)`, 0 where they spell a missing value."""
        spelled = {name: _numbers(each) for name, each in self._spellings.items()}
        # NaN equals nothing. A spelling is rounded as the numbers are.
        dtype = numbers.dtype.as_numpy_dtype
        spellings = self._table(names, spelled, np.nan, dtype)
        if spellings is None:
            return numbers
        is_missing = tf.reduce_any(numbers[:, :, None] == spellings, axis=-1)
        return tf.where(is_missing, tf.zeros_like(numbers), numbers)

    def _table(
        self,
        names: Sequence[str],
        spellings: Mapping[str, Sequence[object]],
        filling: object,
        dtype: type,
    ) -> tf.Tensor | None:
        """The spellings `(columns, most)` of some columns; `None` without any."""
        rows = [list(spellings.get(name, [])) for name in names]
        width = max(map(len, rows), default=0)
        if not width:
            return None
        filled = [[*row, *[filling] * (width - len(row))] for row in rows]
        return tf.constant(np.array(filled, dtype))


def _numbers(spellings: Sequence[str]) -> list[float]:
    numbers = []
    for text in spellings:
        try:
            numbers.append(float(text))
        except ValueError:
            continue
    return [each for each in numbers if np.isfinite(each)]
