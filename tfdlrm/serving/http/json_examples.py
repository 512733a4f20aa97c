"""TF Serving's JSON requests to classify and regress: objects to `tf.train.Example`s.

Loads no TensorFlow: large requests are read in a process that has none.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tfdlrm.serving.data_types import FLOAT32
from tfdlrm.serving.errors import refuse
from tfdlrm.serving.http.json_raw import example_texts
from tfdlrm.serving.http.json_requests import check_rows, floats
from tfdlrm.serving.http.json_values import describe, encode
from tfdlrm.serving.raw_column import RawColumn


def examples(
    document: Mapping[str, Any],
    new_example: Callable[[], Any],
    max_rows: int,
    columns: Mapping[str, RawColumn],
) -> list[bytes]:
    """Return the serialized examples of a `:classify` or `:regress` request.

    Args:
        document: The request.
        new_example: Function that returns an empty `tf.train.Example`.
        max_rows: More examples are refused.
        columns: The raw columns of the model: what TF Serving refuses of their values
            is written as text.

    Raises:
        ServingError: If they are no objects of features.
    """
    rows = document.get("examples")
    if not isinstance(rows, list) or not rows:
        refuse("expected the key 'examples' with a list of objects")
    check_rows("examples", rows, max_rows)
    common = b""
    if "context" in document:
        # Messages that follow each other in one string are merged when it is read.
        common = _example(0, document["context"], new_example(), columns)
    return [
        common + _example(number, row, new_example(), columns)
        for number, row in enumerate(rows)
    ]


def _example(
    row: int, example: Any, target: Any, columns: Mapping[str, RawColumn]
) -> bytes:
    if not isinstance(example, dict):
        refuse(f"Example must be JSON object but got {describe(example)}")
    for name, content in example.items():
        values = content if isinstance(content, list) else [content]
        types = set(map(type, values))
        column = columns.get(name)
        if column is not None and _needs_text(types, column):
            texts = example_texts(name, row, values, column)
            if texts:
                target.features.feature[name].bytes_list.value.extend(texts)
            continue
        _fill(target.features.feature[name], name, values, types)
    return target.SerializeToString()


def _needs_text(types: set[type], column: RawColumn) -> bool:
    """Return whether an Example has no numbers or texts for values of a column."""
    if types <= {str, dict} or types == {int}:
        return False
    is_number = column.content in ("number", "integer")
    return not (is_number and (types <= {int, bool} or types == {float}))


def _fill(feature: Any, name: str, values: list[Any], types: set[type]) -> None:
    if types <= {int, bool}:
        if any(not -(2**63) <= value < 2**63 for value in values):
            refuse(f"Feature: {name} has an integer beyond int64")
        feature.int64_list.value.extend(map(int, values))
    elif types == {float}:
        array = floats(name, values, FLOAT32, has_integers=False)
        feature.float_list.value.extend(array.tolist())
    elif types <= {str, dict}:
        feature.bytes_list.value.extend(map(encode, values))
    else:
        refuse(f"Feature: {name} has elements of other types, or of several")
