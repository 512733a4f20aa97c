"""Raw columns from serialized `tf.train.Example`s, whatever type each feature has.

`tf.io.parse_example` needs the type of each feature in advance, and refuses a client
that writes a user's number as an integer where the log has text. So this module decodes
Examples as plain protocol buffers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfdlrm.exporting.checks import check_values

_LISTS = {
    "bytes_list": "BytesList",
    "float_list": "FloatList",
    "int64_list": "Int64List",
}


@dataclass(frozen=True)
class ExampleColumns:
    """Some columns of a batch of Examples.

    Args:
        names: The columns.
        texts: Texts and integers, as text `(batch, columns, width)`; blank behind the
            values of a column.
        num_texts: Number of texts in each column, int32 `(batch, columns)`.
        floats: Floats, float32 `(batch, columns, width)`; 0 behind the values.
        num_floats: Number of floats in each column, int32 `(batch, columns)`.
    """

    names: Sequence[str]
    texts: tf.Tensor
    num_texts: tf.Tensor
    floats: tf.Tensor
    num_floats: tf.Tensor

    def select(self, names: Sequence[str]) -> "ExampleColumns":
        """Return some of the columns, in this order."""
        positions = [self.names.index(name) for name in names]
        first = positions[0] if positions else 0
        is_range = positions == [*range(first, first + len(positions))]

        def pick(values: tf.Tensor) -> tf.Tensor:
            if is_range:
                return values[:, first : first + len(positions)]
            return tf.gather(values, positions, axis=1)

        return ExampleColumns(
            list(names),
            pick(self.texts),
            pick(self.num_texts),
            pick(self.floats),
            pick(self.num_floats),
        )

    def single_texts(self) -> tf.Tensor:
        """Return the text of each column, `(batch, columns)`; blank if it has none."""
        num_values = self.num_texts + self.num_floats
        counts = tf.strings.as_string(num_values) + " values"
        check_values(counts, num_values <= 1, self.names, "one or none")
        return _first_values(self.texts)

    def single_floats(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the floats `(batch, columns)`, and whether each column has one."""
        return _first_values(self.floats), self.num_floats > 0

    def refuse_floats(self) -> None:
        """Refuse floats: there are several ways to write a float as text."""
        check_values(
            _first_values(self.floats),
            self.num_floats == 0,
            self.names,
            "text or an integer",
        )

    def bags(self) -> list[tf.RaggedTensor]:
        """Return all texts of each column, `(batch, None)`."""
        return [
            tf.RaggedTensor.from_tensor(
                self.texts[:, column], lengths=self.num_texts[:, column]
            )
            for column in range(len(self.names))
        ]


class ExampleReader(tf.Module):
    """Reads the columns `names` of Examples, which may have more columns."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = list(names)
        positions = np.arange(len(self._names), dtype=np.int64)
        initializer = tf.lookup.KeyValueTensorInitializer(self._names, positions)
        self.positions = tf.lookup.StaticHashTable(initializer, -1)

    def __call__(self, examples: tf.Tensor) -> ExampleColumns:
        """Return the columns of serialized Examples `(batch,)`.

        Raises:
            tf.errors.DataLossError: While the graph runs, if a message is no Example.
        """
        examples = tf.ensure_shape(examples, [None])
        _, features = _fields("Example", examples, features=tf.string)
        _, entries = _fields("Features", features[0][:, 0], feature=tf.string)
        _, pairs = _fields(
            "Features.FeatureEntry", entries[0], key=tf.string, value=tf.string
        )
        values = self._by_column(*(parts[..., 0] for parts in pairs))
        _, lists = _fields("Feature", values, **dict.fromkeys(_LISTS, tf.string))
        texts, floats, integers = (
            _fields(message, serialized[..., 0], value=dtype)
            for message, serialized, dtype in zip(
                _LISTS.values(), lists, (tf.string, tf.float32, tf.int64), strict=True
            )
        )
        # A feature has values of one type, so at most one of the two parts has text.
        parts = [texts[1][0], _as_texts(integers[1][0], integers[0][..., 0])]
        width = tf.reduce_max([tf.shape(part)[2] for part in parts])
        return ExampleColumns(
            self._names,
            tf.strings.join([_pad(part, width) for part in parts]),
            (texts[0] + integers[0])[..., 0],
            floats[1][0],
            floats[0][..., 0],
        )

    def _by_column(self, keys: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """Sort entries `(batch, entries)` into Features `(batch, columns)`."""
        columns = self.positions.lookup(keys)
        entries = tf.where(columns >= 0)
        indices = tf.stack([entries[:, 0], tf.gather_nd(columns, entries)], axis=1)
        blank = tf.fill([tf.shape(keys)[0], len(self._names)], "")
        return tf.tensor_scatter_nd_update(
            blank, indices, tf.gather_nd(values, entries)
        )


def _fields(
    message: str, serialized: tf.Tensor, **fields: tf.DType
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Return the number of values in each field of messages, and the padded values."""
    decoded = tf.io.decode_proto(
        serialized, f"tensorflow.{message}", list(fields), list(fields.values())
    )
    return decoded.sizes, decoded.values


def _first_values(values: tf.Tensor) -> tf.Tensor:
    """Return the first value along the last axis; blank or 0 if that is empty."""
    return _pad(values, tf.maximum(tf.shape(values)[-1], 1))[..., 0]


def _pad(values: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Pad the last axis of `values` to `width`, with blanks or 0."""
    shape = tf.shape(values)
    blank = tf.constant("" if values.dtype == tf.string else 0, values.dtype)
    padding = tf.concat([shape[:-1], [width - shape[-1]]], axis=0)
    return tf.concat([values, tf.fill(padding, blank)], axis=-1)


def _as_texts(integers: tf.Tensor, num_integers: tf.Tensor) -> tf.Tensor:
    """Write integers `(batch, columns, width)` as text; blank behind `num_integers`."""
    is_value = tf.sequence_mask(num_integers, tf.shape(integers)[-1])
    return tf.where(is_value, tf.strings.as_string(integers), "")
