"""`python -m benchmarks.runs.read_run`: one way of reading training rows, timed."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from benchmarks.laboratory import machine
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.data.schema import FeatureSchema

Way = Literal[
    "block_shuffled",
    "block_in_order",
    "block_unbatched",
    "row_shuffled",
    "row_parsed",
    "parquet_shuffled",
    "parquet_joined",
]
DESCRIPTIONS: dict[Way, str] = {
    "block_shuffled": "blocks, `read_split` with a shuffle",
    "block_in_order": "blocks, `read_split` in file order",
    "block_unbatched": "blocks, `unbatch().shuffle().batch()`",
    "row_shuffled": "one row each, `read_split` with a shuffle",
    "row_parsed": "one row each, `shuffle().batch()` and `parse_example`",
    "parquet_shuffled": "Parquet, `read_split` with a shuffle",
    "parquet_joined": "Parquet, tensorflow-io's `IODataset`, in file order",
}
SHUFFLE_ROWS = 2**16
"""As many as our reader mixes in a window, about."""


@dataclass(frozen=True)
class ReadJob:
    """Read training rows in one way and print rows a second as JSON.

    Args:
        way: Way of reading.
        data_dir: Data set.
        batch_size: Rows of a batch.
        seconds: Least time to measure.
    """

    way: Way
    data_dir: Path
    batch_size: int
    seconds: float

    def __post_init__(self) -> None:
        assert self.way in get_args(Way)


def make_pass(job: ReadJob, schema: FeatureSchema, epoch: int) -> Any:
    """Return the batches of one pass."""
    from tfdlrm.data.reading import read_split

    if job.way in ("block_shuffled", "row_shuffled", "parquet_shuffled"):
        return read_split(
            job.data_dir, schema, "train", job.batch_size, shuffle=(0, epoch)
        )
    if job.way == "block_in_order":
        return read_split(job.data_dir, schema, "train", job.batch_size)
    import tensorflow as tf

    paths = [str(path) for path in schema.check_shards(job.data_dir, "train")]
    if job.way == "parquet_joined":
        batches = _parquet_rows(paths, schema).batch(job.batch_size)
        stacked = batches.map(_stack(schema), tf.data.AUTOTUNE)
        return stacked.prefetch(tf.data.AUTOTUNE)
    records = tf.data.TFRecordDataset(paths, num_parallel_reads=4)
    if job.way == "block_unbatched":
        rows = records.map(_parse_block(schema), tf.data.AUTOTUNE).unbatch()
        batches = rows.shuffle(SHUFFLE_ROWS, seed=epoch).batch(job.batch_size)
    else:
        shuffled = records.shuffle(SHUFFLE_ROWS, seed=epoch).batch(job.batch_size)
        batches = shuffled.map(_parse_rows(schema), tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)


def _parquet_rows(paths: list[str], schema: FeatureSchema) -> Any:
    """Return the rows of Parquet files as tensorflow-io reads them."""
    import tensorflow as tf
    import tensorflow_io as tfio

    from tfdlrm.data.parquet_blocks import parquet_columns

    columns = {
        name: tf.TensorSpec([], dtype)
        for name, dtype in parquet_columns(schema).items()
    }
    return tf.data.Dataset.from_tensor_slices(paths).flat_map(
        lambda path: tfio.IODataset.from_parquet(path, columns=columns)
    )


def _parse_block(schema: FeatureSchema) -> Callable[[Any], Any]:
    import tensorflow as tf

    from tfdlrm.data.parsing import block_spec

    spec = block_spec(schema)

    def parse_block(record: Any) -> Any:
        block = tf.io.parse_single_example(record, spec)
        label = tf.io.decode_raw(block["label"], tf.float32)
        dense = tf.io.decode_raw(block["dense_features"], tf.float32)
        ids = tf.io.decode_raw(block["categorical_features"], tf.int32)
        features = {
            "dense_features": tf.reshape(dense, [-1, len(schema.dense_features)]),
            "categorical_features": tf.reshape(ids, [-1, len(schema.single_hot)]),
        }
        return features, label[:, None]

    return parse_block


def _parse_rows(schema: FeatureSchema) -> Callable[[Any], Any]:
    import tensorflow as tf

    from tfdlrm.data.parsing import row_spec

    spec, stack = row_spec(schema), _stack(schema)
    return lambda records: stack(tf.io.parse_example(records, spec))


def _stack(schema: FeatureSchema) -> Callable[[Any], Any]:
    """Return features and labels from a tensor for each column."""
    import tensorflow as tf

    def stack(values: Any) -> Any:
        features = {
            "dense_features": tf.stack(
                [values[name] for name in schema.dense_features], 1
            ),
            "categorical_features": tf.stack(
                [values[name] for name in schema.single_hot], 1
            ),
        }
        return features, values[schema.label][:, None]

    return stack


def measure(job: ReadJob) -> float:
    """Return the rows a second over whole passes, after one to warm up."""
    schema = FeatureSchema.load(job.data_dir)
    expected = schema.num_rows("train")
    num_rows = passes = 0
    start = 0.0
    while passes < 2 or time.perf_counter() - start < job.seconds:
        num_read = sum(len(labels) for _, labels in make_pass(job, schema, passes))
        if num_read != expected:
            raise RuntimeError(f"{job.way} gave {num_read} rows, expected {expected}")
        num_rows += num_read if passes else 0
        passes += 1
        if passes == 1:
            start = time.perf_counter()
    return num_rows / (time.perf_counter() - start)


def main() -> None:
    """Measure as the command line says."""
    job = parse(ReadJob, "benchmarks.runs.read_run")
    rate = measure(job)
    peak = machine.peak_memory_gb()
    print(json.dumps({"rows_per_second": rate, "peak_gb": peak}))


if __name__ == "__main__":
    run_command(main)
