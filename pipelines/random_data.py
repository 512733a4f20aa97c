"""Random rows for timing their readers: `python -m pipelines.random_data`.

This is the `random` mode of the reference implementation (facebookresearch/dlrm,
dlrm_data_pytorch.py): uniform dense features, and for each table a bag of a fixed or
random number of uniform or Gaussian ids. Four things differ from the reference:

- A fixed number of ids is fixed: ids that are drawn twice stay in a bag.
- Uniform ids are uniform: rounding `u * (size - 1)`, as there, draws the first and the
  last id half as often as the others.
- Gaussian ids stay within their own table, instead of a range that all tables share.
- Labels are 0 or 1.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import yaml

from tfdlrm.base import storage
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import require
from tfdlrm.base.output_file import check_output, is_stream, messages_apart, output_file

BLOCK_ROWS = 2**13
"""Rows drawn from one seed, and in one row group of the file."""


@dataclass(frozen=True)
class RandomData:
    """Settings of random rows; the same settings make the same bytes.

    Args:
        rows: Number of rows.
        vocabulary_sizes: Number of ids of each categorical feature.
        num_dense: Number of dense features, uniform between 0 and 1.
        lookups: Number of ids in a bag, or the largest number.
        lookups_fixed: Whether every bag has that many ids; otherwise each has a random
            number from 1, and no more than its table.
        ids: Distribution of the ids.
        mean: Mean of Gaussian ids; null means the middle of each table.
        deviation: Standard deviation of Gaussian ids, which are cut to their table.
        seed: Seed of the draw.
    """

    rows: int
    vocabulary_sizes: tuple[int, ...]
    num_dense: int = 13
    lookups: int = 1
    lookups_fixed: bool = True
    ids: Literal["uniform", "gaussian"] = "uniform"
    mean: float | None = None
    deviation: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = self.vocabulary_sizes
        require(self.rows >= 1, "rows", self.rows, ">= 1")
        require(all(n >= 1 for n in sizes), "vocabulary_sizes", sizes, "sizes >= 1")
        require(self.num_dense >= 0, "num_dense", self.num_dense, ">= 0")
        features = self.num_dense + len(sizes)
        require(features >= 1, "the number of features", features, ">= 1")
        require(self.lookups >= 1, "lookups", self.lookups, ">= 1")
        require(self.deviation > 0, "deviation", self.deviation, "> 0")
        for name in ("mean", "deviation"):
            value, default = getattr(self, name), getattr(RandomData, name)
            is_used = self.ids == "gaussian" or value == default
            require(is_used, name, value, "none with uniform ids: add --ids gaussian")
        require(self.seed >= 0, "seed", self.seed, ">= 0")

    @property
    def is_single_hot(self) -> bool:
        """Whether every bag has one id."""
        return self.lookups == 1


@dataclass(frozen=True)
class RandomRows:
    """Consecutive rows.

    Args:
        labels: uint8 `(rows,)`.
        dense: float32 `(rows, num_dense)`.
        indices: For each feature the ids of all bags, int64 `(ids,)`.
        lengths: For each feature the number of ids in each bag, int64 `(rows,)`.
    """

    labels: np.ndarray
    dense: np.ndarray
    indices: list[np.ndarray]
    lengths: list[np.ndarray]


def random_rows(data: RandomData) -> Iterator[RandomRows]:
    """Draw the rows in blocks of `BLOCK_ROWS`.

    Args:
        data: The settings.

    Example:

    >>> (rows,) = random_rows(RandomData(rows=3, vocabulary_sizes=(5, 2), lookups=4))
    >>> [len(ids) for ids in rows.indices], rows.lengths[0].tolist()
    ([12, 12], [4, 4, 4])
    """
    for number, start in enumerate(range(0, data.rows, BLOCK_ROWS)):
        rng = np.random.default_rng([data.seed, number])
        num_rows = min(BLOCK_ROWS, data.rows - start)
        bags = [_draw_bags(data, size, num_rows, rng) for size in data.vocabulary_sizes]
        yield RandomRows(
            labels=rng.integers(0, 2, num_rows, np.uint8),
            dense=rng.random((num_rows, data.num_dense), np.float32),
            indices=[indices for indices, _ in bags],
            lengths=[lengths for _, lengths in bags],
        )


def _draw_bags(
    data: RandomData, size: int, num_rows: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    if data.lookups_fixed:
        lengths = np.full(num_rows, data.lookups)
    else:
        most = min(size, data.lookups)
        lengths = np.maximum(1, np.rint(rng.random(num_rows) * most)).astype(np.int64)
    num_ids = int(lengths.sum())
    if data.ids == "uniform":
        return rng.integers(0, size, num_ids), lengths
    mean = (size - 1) / 2 if data.mean is None else data.mean
    ids = np.rint(rng.normal(mean, data.deviation, num_ids))
    return np.clip(ids, 0, size - 1).astype(np.int64), lengths


def write_random(path: Path, data: RandomData) -> None:
    """Write the rows as Parquet, complete or not at all.

    Next to it, `<file>.columns.yaml` describes the columns for `pipelines.prepare`:
    `label`, `D1`, `D2`, … and `C1`, `C2`, …, lists unless `lookups` is 1. A device or
    pipe has nothing next to it.

    Raises:
        InputError: If the disk refuses.
    """
    with output_file("output_file", path) as output:
        schema = _arrow_schema(data)
        with pa_parquet.ParquetWriter(output, schema) as file:
            for rows in random_rows(data):
                file.write_table(_as_table(rows, schema, data))
        if not is_stream(path):
            columns = path.with_name(f"{path.name}.columns.yaml")
            storage.replace_text(columns, _columns_yaml(data))


def _dense_names(data: RandomData) -> list[str]:
    return [f"D{i + 1}" for i in range(data.num_dense)]


def _categorical_names(data: RandomData) -> list[str]:
    return [f"C{i + 1}" for i in range(len(data.vocabulary_sizes))]


def _arrow_schema(data: RandomData) -> pa.Schema:
    ids = pa.int64() if data.is_single_hot else pa.list_(pa.int64())
    return pa.schema(
        [("label", pa.uint8())]
        + [(name, pa.float32()) for name in _dense_names(data)]
        + [(name, ids) for name in _categorical_names(data)]
    )


def _as_table(rows: RandomRows, schema: pa.Schema, data: RandomData) -> pa.Table:
    categorical = list(map(pa.array, rows.indices))
    if not data.is_single_hot:
        categorical = [
            pa.ListArray.from_arrays(
                pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)),
                indices,
            )
            for lengths, indices in zip(rows.lengths, categorical, strict=True)
        ]
    dense = [pa.array(column) for column in rows.dense.T]
    return pa.Table.from_arrays(
        [pa.array(rows.labels), *dense, *categorical], schema=schema
    )


def _columns_yaml(data: RandomData) -> str:
    categorical: list[object] = list(_categorical_names(data))
    if not data.is_single_hot:
        categorical = [{"name": name, "multi_hot": True} for name in categorical]
    columns = {
        "format": "parquet",
        "label": "label",
        "dense": [{"name": name, "transform": "none"} for name in _dense_names(data)],
        "categorical": categorical,
    }
    return yaml.safe_dump(columns, sort_keys=False)


@dataclass(frozen=True, kw_only=True)
class RandomDataCommand(RandomData):
    """Write random rows as Parquet, and next to them a description of their columns.

    Args:
        output_file: The Parquet file to write; `-` for standard output.
    """

    output_file: Path

    def __post_init__(self) -> None:
        super().__post_init__()
        check_output("output_file", self.output_file)


def main() -> None:
    """Write rows as the command line says."""
    command = parse(
        RandomDataCommand, "pipelines.random_data", renamed={"output": "output_file"}
    )
    with messages_apart(command.output_file):
        write_random(command.output_file, command)
        print(f"{command.output_file}: {command.rows:,} rows")
        if not is_stream(command.output_file):
            raw, columns = map(
                shlex.quote,
                (f"{command.output_file}", f"{command.output_file}.columns.yaml"),
            )
            print(
                f"\nnext: python -m pipelines.prepare --raw {raw} --columns "
                f"{columns} --output DIR"
            )


if __name__ == "__main__":
    run_command(main)
