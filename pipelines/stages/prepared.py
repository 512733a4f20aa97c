"""What every engine begins with and ends with."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.ids.coverage import CountedFeature
from pipelines.ids.dialects import dialect_of
from pipelines.ids.encoded_rows import row_type
from pipelines.logs.bad_rows import SkippedRows
from pipelines.logs.columns import Columns
from pipelines.logs.columns_file import load_columns
from pipelines.logs.label_values import require_described, with_negatives
from pipelines.stages.buckets import Buckets
from pipelines.stages.spill import Spill
from pipelines.stages.split import Split, num_days
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import SPLITS, CategoricalFeature, FeatureSchema, Shard
from tfdlrm.data.vocabulary_contents import with_contents

BLOCK_ROWS = 2048


@dataclass(frozen=True)
class Prepared:
    """What a run of an engine made.

    Args:
        schema: The schema, without its source.
        positives: Number of rows with label 1 in each split.
        skipped: Malformed rows that were left out.
        checksums: SHA-256 of each raw file.
    """

    schema: FeatureSchema
    positives: dict[str, int]
    skipped: SkippedRows
    checksums: tuple[str, ...]


def read_columns(num_files: int, config: PrepareConfig) -> Columns:
    """What the columns of the raw files are, before any work is done.

    Raises:
        InputError: If settings do not go together.
    """
    columns = load_columns(config.columns) if config.columns else Columns.criteo()
    if config.dialect == "facebook" and not columns.is_criteo:
        raise InputError(
            "the facebook dialect numbers Criteo's 32-bit hashes, and columns is "
            f"{config.columns}: prepare own data with --dialect default or hash"
        )
    if config.record_format == "parquet" and columns.multi_hot:
        raise InputError(
            f"{columns.multi_hot[0]} has several values a row, which record_format "
            "parquet cannot hold: choose block or row"
        )
    if columns.days_by is None:
        num_days(num_files, config)
    elif config.days is not None:
        raise InputError(
            f"days is {config.days}, but {config.columns} says that "
            f"{columns.days_by.name} tells the day of a row: drop one of the two"
        )
    return columns


def with_labels(columns: Columns, spill: Spill) -> Columns:
    """Return `columns` with what the rows say of their label.

    Raises:
        InputError: If it has more values than anything says the meaning of.
    """
    counts = spill.skipped.labels
    require_described(counts, columns, "the raw files together")
    return with_negatives(columns, counts)


def make_buckets(
    split: Split, columns: Columns, work: Path, config: PrepareConfig
) -> tuple[Buckets, ...]:
    """The buckets of each split; only training rows are shuffled."""
    seeds = {"train": config.seed}
    kind = row_type(len(columns.dense_features), len(columns.single_hot))
    num_bags = len(columns.multi_hot)
    return tuple(
        Buckets(work, name, len(rows), kind, num_bags, seeds.get(name))
        for name, rows in split.ranges().items()
    )


def remove_other_shards(directory: Path, paths: Iterable[str]) -> None:
    """Remove shards of a run that was taken back and had other rows.

    Args:
        directory: The data set directory.
        paths: The shards that it will have.
    """
    known = {directory / path for path in paths}
    for split in SPLITS:
        for path in (directory / split).glob("*"):
            if path not in known:
                path.unlink()


def categorical_features(
    counted: Sequence[CountedFeature], columns: Columns
) -> tuple[CategoricalFeature, ...]:
    """The categorical columns, as the schema has them."""
    return tuple(
        CategoricalFeature(each.name, each.num_ids, each.name in columns.multi_hot)
        for each in counted
    )


def schema_without_shards(
    columns: Columns,
    features: tuple[CategoricalFeature, ...],
    split: Split,
    directory: Path,
    config: PrepareConfig,
) -> FeatureSchema:
    """Return what the schema says before shards are written, source apart.

    Args:
        columns: The columns of the log.
        features: The categorical columns.
        split: How rows are divided.
        directory: The data set directory, with its vocabularies.
        config: The settings.
    """
    schema = FeatureSchema(
        label=columns.label,
        dense_features=columns.dense_features,
        categorical_features=features,
        untransformed=columns.untransformed,
        dialect=config.dialect,
        min_frequency=config.min_frequency,
        max_index_range=config.max_index_range,
        hash_buckets=config.hash_buckets,
        reserved_ids=dialect_of(config).reserved_ids,
        split=split.description(config),
        columns=None if columns.is_criteo else columns.to_json(),
        record_format=config.record_format,
        block_rows=BLOCK_ROWS,
    )
    return with_contents(schema, directory)


def make_schema(schema: FeatureSchema, shards: Sequence[Shard]) -> FeatureSchema:
    """The schema of a data set, without its source."""
    return replace(schema, shards=tuple(shards))
