"""The default engine: one machine, Polars and NumPy, bounded memory.

Three passes. The raw text is parsed once and spilled as typed columns; the training
part of each spilled column gives its vocabulary; then every row is encoded and goes to
the bucket that becomes its shard.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pipelines import criteo
from pipelines.bad_rows import SkippedRows
from pipelines.buckets import Buckets
from pipelines.progress import stage
from pipelines.raw import RawFile
from pipelines.split import Split, num_days, split_rows
from pipelines.tfrecord import import_tensorflow, row_type, shard_path, write_shard
from pipelines.vocabulary import (
    IdTable,
    count_values,
    encode_categories,
    write_vocabulary,
)
from tfdlrm.config import PrepareConfig
from tfdlrm.errors import InputError
from tfdlrm.schema import NUM_RESERVED_IDS, CategoricalFeature, FeatureSchema, Shard

BLOCK_ROWS = 2048
ROW_TYPE = row_type(len(criteo.DENSE_FEATURES), len(criteo.CATEGORICAL_FEATURES))


@dataclass(frozen=True)
class Prepared:
    """What a run of the engine made.

    Args:
        schema: The schema, without its source.
        positives: Number of rows with label 1 in each split.
        skipped: Malformed rows that were left out.
    """

    schema: FeatureSchema
    positives: dict[str, int]
    skipped: SkippedRows


@dataclass(frozen=True)
class _Spill:
    pieces: tuple[Path, ...]
    rows_per_file: tuple[int, ...]
    skipped: SkippedRows


def run(
    raw: Sequence[Path], directory: Path, work: Path, config: PrepareConfig
) -> Prepared:
    """Turn raw files into the shards and vocabularies of a data set.

    Args:
        raw: Raw Criteo files with labels, in order of time.
        directory: The data set directory to fill; `schema.json` is left to the caller.
        work: An empty directory for what is needed only meanwhile.
        config: How rows are split, counted and shuffled.

    Returns:
        The schema of the data set and what is worth telling about it.

    Raises:
        InputError: If a file or the split cannot be used.
    """
    num_days(len(raw), config)  # refuses before any work is done
    files = [_labelled_file(path, config) for path in raw]
    spill = _spill_columns(files, work)
    split = split_rows(spill.rows_per_file, config)
    features, tables = _make_vocabularies(spill, split, directory, config)
    buckets = [
        Buckets(
            work, name, len(rows), ROW_TYPE, config.seed if name == "train" else None
        )
        for name, rows in split.ranges().items()
    ]
    positives = _encode_rows(spill, split, tables, buckets)
    schema = FeatureSchema(
        label=criteo.LABEL,
        dense_features=criteo.DENSE_FEATURES,
        categorical_features=features,
        min_frequency=config.min_frequency,
        split=split.description(config),
        block_rows=BLOCK_ROWS,
        shards=tuple(_write_shards(buckets, directory, sum(spill.rows_per_file))),
    )
    return Prepared(schema, positives, spill.skipped)


def _labelled_file(path: Path, config: PrepareConfig) -> RawFile:
    file = RawFile(path, config.on_bad_row)
    if not file.labelled:
        raise InputError(
            f"{path} has 39 columns, expected 40: its rows have no label, so they can "
            "be scored with `python -m tfdlrm.predict` but not prepared for training"
        )
    return file


def _spill_columns(files: Sequence[RawFile], work: Path) -> _Spill:
    """Parse each file once and keep its typed columns on disk, in order."""
    pieces: list[Path] = []
    rows_per_file: list[int] = []
    skipped = SkippedRows()
    bytes_before = 0
    with stage("read rows", sum(file.num_bytes for file in files)) as advance:
        for file in files:
            num_rows = 0
            for frame in file:
                pieces.append(work / f"{len(pieces):06d}.arrow")
                criteo.features(frame).write_ipc(pieces[-1])
                num_rows += frame.height
                advance(bytes_before + file.bytes_read, sum(rows_per_file) + num_rows)
            rows_per_file.append(num_rows)
            bytes_before += file.num_bytes
            skipped.update(file.skipped)
    return _Spill(tuple(pieces), tuple(rows_per_file), skipped)


def _make_vocabularies(
    spill: _Spill, split: Split, directory: Path, config: PrepareConfig
) -> tuple[tuple[CategoricalFeature, ...], list[IdTable]]:
    num_rows = len(split.ranges()["train"])
    training_rows = pl.scan_ipc(list(spill.pieces)).head(num_rows)
    names = criteo.CATEGORICAL_FEATURES
    features, tables = [], []
    with stage("count values", len(names)) as advance:
        for done, name in enumerate(names, start=1):
            vocabulary = count_values(training_rows, name, config.min_frequency)
            write_vocabulary(vocabulary, directory, name)
            size = vocabulary.height + NUM_RESERVED_IDS
            features.append(CategoricalFeature(name, size))
            tables.append(IdTable(vocabulary))
            advance(done, num_rows * done // len(names))
    return tuple(features), tables


def _encode_rows(
    spill: _Spill, split: Split, tables: Sequence[IdTable], buckets: Sequence[Buckets]
) -> dict[str, int]:
    """Send every row to its bucket; returns the positive rows of each split."""
    positives = dict.fromkeys(split.ranges(), 0)
    start = 0
    with stage("encode rows", split.ends[-1]) as advance:
        for piece in spill.pieces:
            rows = _encode(pl.read_ipc(piece), tables)
            piece.unlink()
            for part, bucket in zip(_cut(rows, start, split), buckets, strict=True):
                bucket.append(part)
                positives[bucket.split] += int(part["label"].sum(dtype=np.int64))
            start += len(rows)
            advance(start, start)
    return positives


def _encode(frame: pl.DataFrame, tables: Sequence[IdTable]) -> np.ndarray:
    rows = np.empty(frame.height, ROW_TYPE)
    rows["label"] = frame[criteo.LABEL].to_numpy()
    rows["dense_features"] = frame.select(criteo.DENSE_FEATURES).to_numpy()
    rows["categorical_features"] = encode_categories(
        frame, criteo.CATEGORICAL_FEATURES, tables
    )
    return rows


def _cut(rows: np.ndarray, start: int, split: Split) -> list[np.ndarray]:
    """The part of `rows`, of which the first is row `start`, that each split gets."""
    return np.split(rows, [max(end - start, 0) for end in split.ends[:-1]])


def _write_shards(
    buckets: Sequence[Buckets], directory: Path, num_rows: int
) -> Iterator[Shard]:
    import_tensorflow()  # seconds that are not part of the rate
    done = 0
    with stage("write shards", num_rows) as advance:
        for bucket in buckets:
            for index in range(bucket.num_buckets):
                path = shard_path(bucket.split, index, bucket.num_buckets)
                shard = write_shard(bucket.take(index), directory, path, BLOCK_ROWS)
                done += shard.rows
                advance(done, done)
                yield shard
