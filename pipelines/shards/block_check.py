"""What a record of a data set holds, read without TensorFlow to be checked."""

from collections.abc import Iterator

import numpy as np

from tfdlrm.data.meaning import RECORD_FEATURE, origin_problem
from tfdlrm.data.schema import FeatureSchema

_BYTES = 2
"""The wire type of protocol buffers for what has a length, messages too."""


def check_record(payload: bytes, schema: FeatureSchema) -> int:
    """Check a record against the schema of its data set.

    Args:
        payload: A serialized `tf.train.Example`.
        schema: The schema.

    Returns:
        Number of rows in it.

    Raises:
        ValueError: If it is anything else than what the schema says.
    """
    features = dict(_features(payload))
    mark = features.pop(RECORD_FEATURE, None)
    if mark is not None:
        text = _bytes_value(RECORD_FEATURE, mark).decode("ascii", "replace")
        problem = origin_problem(text, schema)
        if problem:
            raise ValueError(problem)
    if schema.record_format == "row":
        names = {schema.label, *schema.dense_features}
        names |= {feature.name for feature in schema.categorical_features}
        _check_names(set(features), names, names)
        return 1
    sizes = {each.name: each.vocabulary_size for each in schema.categorical_features}
    widths = {
        "label": 1,
        "dense_features": len(schema.dense_features),
        "categorical_features": len(schema.single_hot),
    }
    bags = [name for name in sizes if name not in schema.single_hot]
    names = {name for name, width in widths.items() if width}
    names |= {f"{name}.{part}" for name in bags for part in ("values", "row_lengths")}
    _check_names(set(features), names, names | set(widths))
    values = {name: _bytes_value(name, each) for name, each in features.items()}
    num_rows = len(values["label"]) // 4
    for name, width in widths.items():
        if name in values:
            _check_size(name, values[name], width * num_rows)
    single_hot = [sizes[name] for name in schema.single_hot]
    if single_hot:
        ids = np.frombuffer(values["categorical_features"], "<i4")
        _check_ids("categorical_features", ids.reshape(num_rows, -1), single_hot)
    for name in bags:
        _check_size(f"{name}.row_lengths", values[f"{name}.row_lengths"], num_rows)
        lengths = np.frombuffer(values[f"{name}.row_lengths"], "<i4")
        _check_size(f"{name}.values", values[f"{name}.values"], int(lengths.sum()))
        ids = np.frombuffer(values[f"{name}.values"], "<i4")
        _check_ids(f"{name}.values", ids[:, None], [sizes[name]])
    return num_rows


def _check_names(there: set[str], needed: set[str], allowed: set[str]) -> None:
    if not needed <= there <= allowed:
        raise ValueError(
            f"it holds {', '.join(sorted(there))}, expected {', '.join(sorted(needed))}"
        )


def _check_size(name: str, value: bytes, num_values: int) -> None:
    if len(value) != 4 * num_values:
        raise ValueError(
            f"{name} has {len(value):,} bytes, expected {4 * num_values:,}"
        )


def _check_ids(name: str, ids: np.ndarray, sizes: list[int]) -> None:
    outside = (ids < 0) | (ids >= np.array(sizes))
    if outside.any():
        row, column = (int(each[0]) for each in np.nonzero(outside))
        raise ValueError(
            f"{name} has the id {ids[row, column]}, expected 0 to {sizes[column] - 1}"
        )


def _features(payload: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and serialized `tf.train.Feature` of everything in an Example."""
    for features in _values(payload, 1):
        for entry in _values(features, 1):
            (name,), (feature,) = _values(entry, 1), _values(entry, 2)
            yield name.decode(), feature


def _bytes_value(name: str, feature: bytes) -> bytes:
    found = [value for each in _values(feature, 1) for value in _values(each, 1)]
    if len(found) != 1:
        raise ValueError(f"{name} has {len(found)} byte strings, expected one")
    return found[0]


def _values(message: bytes, number: int) -> list[bytes]:
    """The values of a field of a message that hold bytes."""
    found = []
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        if key & 7 != _BYTES:
            raise ValueError("it is no tf.train.Example")
        size, place = _varint(message, place)
        if key >> 3 == number:
            found.append(message[place : place + size])
        place += size
    if place != len(message):
        raise ValueError("it is no tf.train.Example")
    return found


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """The number at a place, and the place behind it."""
    value = shift = 0
    while place < len(message):
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise ValueError("it is no tf.train.Example")
