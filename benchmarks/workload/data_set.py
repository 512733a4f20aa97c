"""The rows of the workload as a data set directory, as from `pipelines.prepare`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.workload.criteo_kaggle import Batches
from pipelines.ids.encoded_rows import EncodedRows
from pipelines.shards.tfrecord import ShardFormat, shard_path, write_shard
from pipelines.synthetic import NUM_DENSE
from tfdlrm.data.block_format import row_type
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema

NUM_SHARDS = 16


def schema_of(vocabulary_sizes: list[int]) -> FeatureSchema:
    """Return a schema with columns like Criteo's and these vocabularies."""
    return FeatureSchema(
        dense_features=tuple(f"I{i + 1}" for i in range(NUM_DENSE)),
        categorical_features=tuple(
            CategoricalFeature(f"C{i + 1}", size)
            for i, size in enumerate(vocabulary_sizes)
        ),
    )


def write_data_set(
    directory: Path,
    vocabulary_sizes: list[int],
    batches: Batches,
    num_batches: Mapping[str, int],
) -> FeatureSchema:
    """Write the rows of `batches`, over and over, into the shards of each split.

    Args:
        directory: Directory to write; it must not exist.
        vocabulary_sizes: Number of ids of each categorical feature.
        batches: The rows.
        num_batches: Batches in each split.
    """
    rows = np.empty(batches.labels.shape, row_type(NUM_DENSE, len(vocabulary_sizes)))
    rows["label"] = batches.labels
    rows["dense_features"] = batches.dense
    rows["categorical_features"] = batches.ids
    directory.mkdir(parents=True)
    schema = schema_of(vocabulary_sizes)
    shards = []
    for split, number in num_batches.items():
        chosen = np.arange(number) % len(rows)
        for i, part in enumerate(np.array_split(chosen, NUM_SHARDS)):
            shards.append(
                write_shard(
                    EncodedRows(rows[part].ravel()),
                    directory,
                    shard_path(split, i, NUM_SHARDS),
                    ShardFormat(schema.block_rows),
                )
            )
    schema = replace(schema, shards=tuple(shards))
    schema.save(directory)
    return schema
