"""The contents that a prepared data set should have, by plain Python."""

from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.support.raw_rows import make_rows, read_plainly
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import FeatureSchema

ROWS = make_rows(1000)

CONFIG = PrepareConfig(min_frequency=5)


def read_split(directory: Path, split: str) -> tuple[np.ndarray, ...]:
    """Return labels, dense and categorical features of a split, in file order."""
    columns = {"label": [], "dense_features": [], "categorical_features": []}
    for shard in FeatureSchema.load(directory).split_shards(split):
        for record in tf.data.TFRecordDataset(str(directory / shard.path)):
            block = tf.train.Example.FromString(record.numpy()).features.feature
            for name, values in columns.items():
                number = np.int32 if name.startswith("cat") else np.float32
                (stored,) = block[name].bytes_list.value
                values.append(np.frombuffer(stored, number))
    label, dense, ids = (np.concatenate([[], *parts]) for parts in columns.values())
    return label, dense.reshape(-1, 13), ids.reshape(-1, 26).astype(int)


def plain_vocabularies(categories: list[list], min_frequency: int) -> list[dict]:
    """Return the ids of the values of each column, by frequency and then by value."""
    vocabularies = []
    for column in zip(*categories, strict=True):
        counts = Counter(value for value in column if value is not None)
        frequent = [value for value in counts if counts[value] >= min_frequency]
        frequent.sort(key=lambda value, counts=counts: (-counts[value], value))
        ids = {value: position + 2 for position, value in enumerate(frequent)}
        vocabularies.append({None: 1, **ids})
    return vocabularies


def expected_rows(rows: list[bytes], vocabularies: list[dict]) -> tuple:
    """Return labels, dense features and ids of raw rows."""
    labels, dense, categories = read_plainly(rows)
    ids = [
        [ids.get(value, 0) for ids, value in zip(vocabularies, row, strict=True)]
        for row in categories
    ]
    return labels, dense, np.array(ids)


def in_some_order(arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return rows as whole numbers, sorted."""
    labels, dense, ids = arrays
    table = np.column_stack([labels, np.rint(np.expm1(dense)), ids])
    return table[np.lexsort(table.T)]


def assert_holds(directory: Path, rows: list[bytes], ends: tuple[int, int]) -> None:
    """Check that a data set is what `rows`, cut at `ends`, should give."""
    vocabularies = plain_vocabularies(read_plainly(rows[: ends[0]])[2], 5)
    expected = expected_rows(rows, vocabularies)
    schema = FeatureSchema.load(directory)
    assert schema.vocabulary_sizes == [len(ids) + 1 for ids in vocabularies]
    for split, part in [
        ("train", slice(ends[0])),
        ("validation", slice(*ends)),
        ("test", slice(ends[1], None)),
    ]:
        actual = read_split(directory, split)
        in_split = tuple(values[part] for values in expected)
        if split == "train":
            np.testing.assert_array_equal(
                in_some_order(actual), in_some_order(in_split)
            )
        else:
            np.testing.assert_array_equal(actual[0], in_split[0])
            np.testing.assert_allclose(actual[1], in_split[1], rtol=1e-6)
            np.testing.assert_array_equal(actual[2], in_split[2])
