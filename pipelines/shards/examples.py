"""Serialize blocks and single rows as `tf.train.Example`s, without TensorFlow.

Features are sorted by name, as in TensorFlow's deterministic serialization.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.ids.encoded_rows import Bags, EncodedRows
from pipelines.logs.columns import Columns
from pipelines.shards.example_messages import Example
from tfdlrm.data.block_format import DENSE, IDS, LABEL

_ROWS_AT_ONCE = 1024


def bytes_example(features: Mapping[str, bytes]) -> bytes:
    """Return an Example of features that are one byte string each.

    Args:
        features: Value of each feature, by name.
    """
    example = Example()
    for name, value in sorted(features.items()):
        entry = example.features.feature.add(key=name)
        entry.value.bytes_list.value.append(value)
    return example.SerializeToString()


def row_examples(rows: EncodedRows, columns: Columns) -> Iterator[bytes]:
    """Yield an Example a row: label and dense features are floats, ids are integers.

    A multi-hot feature has an integer for each of its ids.

    Args:
        rows: The rows.
        columns: Names of the features.
    """
    floats = [columns.label, *columns.dense_features]
    integers = [*columns.single_hot, *columns.multi_hot]
    # One message for all rows: to set a value takes less than to make a feature.
    example = Example()
    lists: dict[str, Any] = {}
    for name in sorted([*floats, *integers]):
        feature = example.features.feature.add(key=name).value
        values = feature.float_list if name in floats else feature.int64_list
        values.SetInParent()  # for a row with an empty bag, too
        lists[name] = values.value
    single = [lists[name] for name in (*floats, *columns.single_hot)]
    multiple = [lists[name] for name in columns.multi_hot]
    for values in single:
        values.append(0)
    for chunk in rows.blocks(_ROWS_AT_ONCE):
        bags = [_lists_of_ids(bags) for bags in chunk.bags]
        for index, row in enumerate(_plain_rows(chunk)):
            for values, value in zip(single, row, strict=True):
                values[0] = value
            for values, lists_of_ids in zip(multiple, bags, strict=True):
                values[:] = lists_of_ids[index]
            yield example.SerializeToString()


def _plain_rows(rows: EncodedRows) -> Iterator[tuple[float, ...]]:
    """Yield label, dense features and single-hot ids of each row as Python numbers."""
    fields = (rows.fixed[name].tolist() for name in (LABEL, DENSE, IDS))
    for label, dense, ids in zip(*fields, strict=True):
        yield (label, *dense, *ids)


def _lists_of_ids(bags: Bags) -> list[list[int]]:
    values, ends = bags.values.tolist(), bags.lengths.cumsum().tolist()
    return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]
