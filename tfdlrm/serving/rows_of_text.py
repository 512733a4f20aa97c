"""The raw values of a request's rows, whichever signature takes them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from tensorflow.core.example import example_pb2

from tfdlrm.serving.data_types import text_array
from tfdlrm.serving.raw_column import RawColumn
from tfdlrm.serving.requests import NamedArrays
from tfdlrm.serving.servable import Signature


class RowsOfText(ABC):
    """Raw rows as a signature takes them.

    Args:
        columns: What the columns hold.
        inputs: The inputs of a request.
    """

    def __init__(self, columns: Mapping[str, RawColumn], inputs: NamedArrays) -> None:
        self._columns, self._inputs = columns, inputs

    @abstractmethod
    def values(self, row: int, name: str) -> list[bytes]:
        """Return the values of a column in a row, without empty ones."""

    @abstractmethod
    def one_by_one(
        self, values: Mapping[str, Sequence[bytes]], num_rows: int
    ) -> NamedArrays:
        """Return inputs of rows that have one of some values each.

        Args:
            values: Values of multi-hot columns, at most `num_rows` of each.
            num_rows: Number of rows; what else they hold is that of the first row.
        """

    def _split(self, name: str, texts: Iterable[bytes]) -> list[bytes]:
        column = self._columns.get(name)
        if column is not None and column.separator is not None:
            separator = column.separator.encode()
            texts = [part for text in texts for part in text.split(separator)]
        return [text for text in texts if text]


def rows_of_text(signature: Signature, inputs: NamedArrays) -> RowsOfText:
    """Return the rows of a request to a signature that counts unknown values."""
    columns = signature.servable.columns
    are_examples = signature.inputs.keys().isdisjoint(columns)
    return (_Examples if are_examples else _Columns)(columns, inputs)


class _Columns(RowsOfText):
    """Rows as one input for each column."""

    def values(self, row: int, name: str) -> list[bytes]:
        value = self._inputs[name][row]
        return self._split(name, [value] if isinstance(value, bytes) else value)

    def one_by_one(
        self, values: Mapping[str, Sequence[bytes]], num_rows: int
    ) -> NamedArrays:
        rows = {
            name: np.repeat(array[:1], num_rows, axis=0)
            for name, array in self._inputs.items()
        }
        for name, texts in values.items():
            padding = [b""] * (num_rows - len(texts))
            column = text_array([*texts, *padding])
            rows[name] = column[:, None] if rows[name].ndim > 1 else column
        return rows


class _Examples(RowsOfText):
    """Rows as serialized `tf.train.Example`s, the only input."""

    def values(self, row: int, name: str) -> list[bytes]:
        feature = self._example(row).features.feature[name]
        integers = [str(number).encode() for number in feature.int64_list.value]
        return self._split(name, [*feature.bytes_list.value, *integers])

    def one_by_one(
        self, values: Mapping[str, Sequence[bytes]], num_rows: int
    ) -> NamedArrays:
        examples = []
        for row in range(num_rows):
            example = self._example(0)
            for name, texts in values.items():
                feature = example.features.feature[name]
                feature.bytes_list.value[:] = texts[row : row + 1]
            examples.append(example.SerializeToString())
        return dict.fromkeys(self._inputs, text_array(examples))

    def _example(self, row: int) -> example_pb2.Example:
        (array,) = self._inputs.values()
        return example_pb2.Example.FromString(array[row])
