"""The raw columns of serialized `tf.train.Example`s, whatever types they come in.

`tf.io.parse_example` must be told the type of each feature, and refuses a client that
writes a user's number as an integer where the log has text. So Examples are read here
as the protocol buffers that they are.
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
        num_texts: How many of these each has, int32 `(batch, columns)`.
        floats: Floats, float32 `(batch, columns, width)`; 0 behind the values.
        num_floats: How many of these each has, int32 `(batch, columns)`.
    """

    names: Sequence[str]
    texts: tf.Tensor
    num_texts: tf.Tensor
    floats: tf.Tensor
    num_floats: tf.Tensor

    def select(self, start: int, stop: int) -> "ExampleColumns":
        """The columns from `start` on, before `stop`."""
        columns = slice(start, stop)
        return ExampleColumns(
            self.names[columns],
            self.texts[:, columns],
            self.num_texts[:, columns],
            self.floats[:, columns],
            self.num_floats[:, columns],
        )

    def single_texts(self) -> tf.Tensor:
        """The one text of each column, `(batch, columns)`; blank where it has none."""
        num_values = self.num_texts + self.num_floats
        counts = tf.strings.as_string(num_values) + " values"
        check_values(counts, num_values <= 1, self.names, "one or none")
        return _first(self.texts)

    def single_floats(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The float of each column `(batch, columns)`, and whether it has one."""
        return _first(self.floats), self.num_floats > 0

    def refuse_floats(self) -> None:
        """See to it that no value is a float: floats have no one way to be written."""
        check_values(
            _first(self.floats), self.num_floats == 0, self.names, "text or an integer"
        )

    def bags(self) -> list[tf.RaggedTensor]:
        """All texts of each column, `(batch, None)`."""
        return [
            tf.RaggedTensor.from_tensor(
                self.texts[:, column], lengths=self.num_texts[:, column]
            )
            for column in range(len(self.names))
        ]


class ExampleReader(tf.Module):
    """Reads some columns of Examples; they may have others too.

    Args:
        names: The columns.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = list(names)
        positions = np.arange(len(self._names), dtype=np.int64)
        initializer = tf.lookup.KeyValueTensorInitializer(self._names, positions)
        self.positions = tf.lookup.StaticHashTable(initializer, -1)

    def __call__(self, examples: tf.Tensor) -> ExampleColumns:
        """The columns of serialized Examples `(batch,)`.

        Raises:
            tf.errors.DataLossError: While the graph runs, if one is no Example.
        """
        examples = tf.ensure_shape(examples, [None])
        _, features = _fields("Example", examples, features=tf.string)
        _, entries = _fields("Features", features[0][:, 0], feature=tf.string)
        _, pairs = _fields(
            "Features.FeatureEntry", entries[0], key=tf.string, value=tf.string
        )
        values = self._by_column(*(each[..., 0] for each in pairs))
        _, lists = _fields("Feature", values, **dict.fromkeys(_LISTS, tf.string))
        texts, floats, integers = (
            _fields(kind, each[..., 0], value=dtype)
            for kind, each, dtype in zip(
                _LISTS.values(), lists, (tf.string, tf.float32, tf.int64), strict=True
            )
        )
        # A feature has values of one type, so that one of the two texts is blank.
        both = [texts[1][0], _shown(integers[1][0], integers[0][..., 0])]
        width = tf.reduce_max([tf.shape(each)[2] for each in both])
        return ExampleColumns(
            self._names,
            tf.strings.join([_widened(each, width) for each in both]),
            (texts[0] + integers[0])[..., 0],
            floats[1][0],
            floats[0][..., 0],
        )

    def _by_column(self, keys: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """Serialized Features `(batch, columns)` of entries `(batch, entries)`."""
        columns = self.positions.lookup(keys)
        known = tf.where(columns >= 0)
        places = tf.stack([known[:, 0], tf.gather_nd(columns, known)], axis=1)
        nothing = tf.fill([tf.shape(keys)[0], len(self._names)], "")
        return tf.tensor_scatter_nd_update(nothing, places, tf.gather_nd(values, known))


def _fields(
    message: str, serialized: tf.Tensor, **fields: tf.DType
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Fields of protocol buffers: how many values each has, and the values, padded."""
    decoded = tf.io.decode_proto(
        serialized, f"tensorflow.{message}", list(fields), list(fields.values())
    )
    return decoded.sizes, decoded.values


def _first(values: tf.Tensor) -> tf.Tensor:
    """The first of the last axis, which may be empty."""
    return _widened(values, tf.maximum(tf.shape(values)[-1], 1))[..., 0]


def _widened(values: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """`values` with so many places on the last axis, blank or 0 behind."""
    shape = tf.shape(values)
    blank = tf.constant("" if values.dtype == tf.string else 0, values.dtype)
    missing = tf.concat([shape[:-1], [width - shape[-1]]], axis=0)
    return tf.concat([values, tf.fill(missing, blank)], axis=-1)


def _shown(integers: tf.Tensor, num_integers: tf.Tensor) -> tf.Tensor:
    """Integers `(batch, columns, width)` as text, blank behind the first so many."""
    is_there = tf.sequence_mask(num_integers, tf.shape(integers)[-1])
    return tf.where(is_there, tf.strings.as_string(integers), "")
