"""Check the contents of a data set's record, without TensorFlow."""

from typing import Any

import numpy as np

from pipelines.shards.example_messages import parse_example
from tfdlrm.data.block_format import (
    IDS,
    LABEL_FIELD,
    ORIGIN,
    Field,
    bag_fields,
    row_fields,
)
from tfdlrm.data.meaning import origin_problem
from tfdlrm.data.schema import FeatureSchema


def check_record(payload: bytes, schema: FeatureSchema) -> int:
    """Check a record against the schema of its data set.

    Args:
        payload: A serialized `tf.train.Example`.
        schema: The schema.

    Returns:
        Number of rows in it.

    Raises:
        ValueError: If the record does not agree with the schema.
    """
    features = parse_example(payload)
    origin = features.pop(ORIGIN, None)
    if origin is not None:
        fingerprint = _bytes_value(ORIGIN, origin).decode("ascii", "replace")
        problem = origin_problem(fingerprint, schema)
        if problem:
            raise ValueError(problem)
    if schema.record_format == "row":
        categorical = (feature.name for feature in schema.categorical_features)
        names = {schema.label, *schema.dense_features, *categorical}
        _check_names(set(features), names, names)
        return 1
    return _check_block(features, schema)


def _check_block(features: dict[str, Any], schema: FeatureSchema) -> int:
    fixed = row_fields(len(schema.dense_features), len(schema.single_hot))
    bags = {name: bag_fields(name) for name in schema.multi_hot}
    needed = {field.name for field in fixed if field.width}
    for bag in bags.values():
        needed |= {bag.values.name, bag.lengths.name}
    _check_names(set(features), needed, needed | {field.name for field in fixed})
    values = {name: _bytes_value(name, value) for name, value in features.items()}
    num_rows = len(values[LABEL_FIELD.name]) // LABEL_FIELD.num_bytes(1)
    for field in fixed:
        if field.name in values:
            _check_size(field, values, num_rows)
    sizes = {
        feature.name: feature.vocabulary_size for feature in schema.categorical_features
    }
    if schema.single_hot:
        ids = np.frombuffer(values[IDS], fixed[-1].dtype).reshape(num_rows, -1)
        _check_ids(IDS, ids, [sizes[name] for name in schema.single_hot])
    for name, bag in bags.items():
        _check_size(bag.lengths, values, num_rows)
        lengths = np.frombuffer(values[bag.lengths.name], bag.lengths.dtype)
        _check_size(bag.values, values, int(lengths.sum()))
        ids = np.frombuffer(values[bag.values.name], bag.values.dtype)
        _check_ids(bag.values.name, ids[:, None], [sizes[name]])
    return num_rows


def _check_names(names: set[str], needed: set[str], allowed: set[str]) -> None:
    if not needed <= names <= allowed:
        raise ValueError(
            f"it holds {', '.join(sorted(names))}, expected {', '.join(sorted(needed))}"
        )


def _check_size(field: Field, values: dict[str, bytes], num_rows: int) -> None:
    num_bytes, expected = len(values[field.name]), field.num_bytes(num_rows)
    if num_bytes != expected:
        raise ValueError(f"{field.name} has {num_bytes:,} bytes, expected {expected:,}")


def _check_ids(name: str, ids: np.ndarray, sizes: list[int]) -> None:
    outside = (ids < 0) | (ids >= np.array(sizes))
    if outside.any():
        row, column = (int(indices[0]) for indices in np.nonzero(outside))
        raise ValueError(
            f"{name} has the id {ids[row, column]}, expected 0 to {sizes[column] - 1}"
        )


def _bytes_value(name: str, feature: Any) -> bytes:
    values = feature.bytes_list.value
    if len(values) != 1:
        raise ValueError(f"{name} has {len(values)} byte strings, expected one")
    return values[0]
