"""Requests that a server answers before it reports that a model is ready."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.raw_columns import COVERAGE_SIGNATURE
from tfdlrm.exporting.signatures import input_specs

NUM_ROWS = (1, 32)
"""Numbers of rows in requests: one row takes other code paths than several."""


def write_warm_up(
    path: Path,
    name: str,
    schema: FeatureSchema,
    signatures: Sequence[str],
    row: Mapping[str, str],
) -> bool:
    """Write requests to every signature of a model.

    Args:
        path: The file to write.
        name: Name of the model.
        schema: Columns of the model.
        signatures: Names of its signatures.
        row: A raw row, the text of each column; see `model_card.example_row`.

    Returns:
        Whether they were written: they need `tensorflow-serving-api`, which may not be
        installed.
    """
    try:
        from tensorflow_serving.apis import prediction_log_pb2  # noqa: F401
    except ImportError:
        return False
    with tf.io.TFRecordWriter(str(path)) as writer:
        for num_rows in NUM_ROWS:
            rows = [row if number % 2 == 0 else {} for number in range(num_rows)]
            for log in _logs(name, schema, signatures, rows):
                writer.write(log.SerializeToString())
    return True


def _logs(
    name: str,
    schema: FeatureSchema,
    signatures: Sequence[str],
    rows: list[Mapping[str, str]],
) -> Iterator[Any]:
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    examples = [_example(row) for row in rows]
    serialized = [example.SerializeToString() for example in examples]
    inputs: dict[str, dict[str, Any]] = {
        "serving_default": _features(schema, len(rows)),
        "raw": _columns(schema, rows),
        "tf_example": {"examples": tf.constant(serialized)},
    }
    for signature in signatures:
        if signature == COVERAGE_SIGNATURE:  # called once, not with every request
            continue
        log = PredictionLog()
        if signature == "classify":
            request: Any = log.classify_log.request
            request.input.example_list.examples.extend(examples)
        elif signature == "regress":
            request = log.regress_log.request
            request.input.example_list.examples.extend(examples)
        else:
            request = log.predict_log.request
            for key, value in inputs[signature].items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        yield log


def _features(schema: FeatureSchema, num_rows: int) -> dict[str, tf.Tensor]:
    """Return zeros, which are valid features whatever the columns are."""
    return {
        spec.name: tf.zeros(
            [num_rows, *(size or 1 for size in spec.shape[1:])], spec.dtype
        )
        for spec in input_specs(schema)
    }


def _columns(
    schema: FeatureSchema, rows: list[Mapping[str, str]]
) -> dict[str, tf.Tensor]:
    described_separators = (schema.columns or {}).get("separators", ())
    separators = dict(zip(schema.multi_hot, described_separators, strict=True))
    columns = {}
    for name in schema.raw_columns:
        values = tf.constant([row.get(name, "") for row in rows])
        is_list = name in separators and separators[name] is None
        columns[name] = values[:, None] if is_list else values
    return columns


def _example(row: Mapping[str, str]) -> tf.train.Example:
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()]))
        for name, text in row.items()
        if text
    }
    return tf.train.Example(features=tf.train.Features(feature=features))
