"""The steps that every engine begins and ends with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.ids.coverage import CountedFeature, Coverage
from pipelines.ids.dialect import Dialect
from pipelines.ids.earlier import Earlier, new_ids
from pipelines.logs.bad_rows import SkippedRows
from pipelines.logs.columns import Columns
from pipelines.logs.columns_file import load_columns
from pipelines.logs.inputs import Inputs
from pipelines.logs.label_values import require_described, with_negatives
from pipelines.shards.tfrecord import ShardFormat
from pipelines.stages.buckets import Buckets
from pipelines.stages.criteo_columns import criteo_columns
from pipelines.stages.extending import extended_columns
from pipelines.stages.spill import Spill
from pipelines.stages.split import Split, num_days, num_log_days
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.block_format import row_type
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.number_features import NumberFeature
from tfdlrm.data.schema import SPLITS, CategoricalFeature, FeatureSchema
from tfdlrm.data.shards import Shard
from tfdlrm.data.vocabulary_contents import with_contents

BLOCK_ROWS = 2048


@dataclass(frozen=True)
class Prepared:
    """The result of an engine's run.

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


def read_columns(
    raw: Inputs, config: PrepareConfig, earlier: Earlier | None = None
) -> Columns:
    """Read the columns of the raw files and check the settings, before any work.

    Args:
        raw: The raw files.
        config: The settings.
        earlier: What the data set extends.

    Raises:
        InputError: If the settings contradict each other.
    """
    described = load_columns(config.columns) if config.columns else None
    if earlier is not None:
        columns = extended_columns(described, earlier)
    else:
        columns = described or criteo_columns(config)
    if config.traits.needs_hashes and not columns.is_criteo:
        raise InputError(
            f"the {config.dialect} dialect numbers Criteo's 32-bit hashes, and columns "
            f"is {config.columns}: prepare own data with --dialect default or hash"
        )
    if config.record_format == "parquet" and columns.multi_hot:
        raise InputError(
            f"{columns.multi_hot[0]} has several values a row, which record_format "
            "parquet cannot hold: choose block or row"
        )
    if raw.splits:
        _require_no_days(columns, config)
    elif columns.days_by is None:
        num_days(len(raw.lengths), config)
    elif config.days is not None:
        raise InputError(
            f"days is {config.days}, but by {config.columns or 'what is extended'} the "
            f"column {columns.days_by.name} has the day of a row: drop one of the two"
        )
    return columns


def _require_no_days(columns: Columns, config: PrepareConfig) -> None:
    """Refuse a split by days next to files of each split.

    Raises:
        InputError: If there is one.
    """
    for name in ("days", "validation_days", "test_days"):
        value, default = getattr(config, name), getattr(PrepareConfig, name)
        if value != default:
            raise InputError(
                f"{name} is {value}, but each split has its own files: leave {name} "
                "out, or give all files by --raw"
            )
    if columns.days_by is not None:
        fix = "give all files by --raw"
        if config.columns is not None:
            fix = f"drop it from {config.columns}, or {fix}"
        raise InputError(
            f"split is the column {columns.days_by.name} by "
            f"{config.columns or 'what is extended'}, but each split has its own "
            f"files: {fix}"
        )


def with_labels(columns: Columns, spill: Spill) -> Columns:
    """Return `columns` with the label values that the rows have.

    Raises:
        InputError: If the label has values whose meaning is not described.
    """
    counts = spill.skipped.labels
    require_described(counts, columns, "the raw files together")
    return with_negatives(columns, counts)


def make_buckets(
    split: Split, columns: Columns, work: Path, config: PrepareConfig
) -> tuple[Buckets, ...]:
    """Return the buckets of each split; only training rows are shuffled."""
    seeds = {"train": config.seed}
    dtype = row_type(len(columns.dense_features), len(columns.single_hot))
    num_bags = len(columns.multi_hot)
    return tuple(
        Buckets(work, name, len(rows), dtype, num_bags, seeds.get(name))
        for name, rows in split.ranges().items()
    )


def remove_other_shards(directory: Path, paths: Iterable[str]) -> None:
    """Remove the shards of an earlier run that the data set will not have.

    Args:
        directory: The data set directory.
        paths: Paths of the shards that it will have.
    """
    shards = {directory / path for path in paths}
    for split in SPLITS:
        for path in (directory / split).glob("*"):
            if path not in shards:
                path.unlink()


def categorical_features(
    counted_features: Sequence[CountedFeature], columns: Columns
) -> tuple[CategoricalFeature, ...]:
    """Return the categorical columns as they are in the schema."""
    return tuple(
        CategoricalFeature(
            feature.name, feature.num_ids, feature.name in columns.multi_hot
        )
        for feature in counted_features
    )


def make_coverage(
    features: Sequence[CountedFeature],
    directory: Path,
    dialect: Dialect,
    earlier: Earlier | None = None,
) -> Coverage:
    """Return the coverage that rows are to be counted into.

    Args:
        features: The categorical columns.
        directory: The data set directory, with its vocabularies.
        dialect: The dialect of the ids.
        earlier: What the data set extends.
    """
    if earlier is None:
        return Coverage(features)
    first_id, number = dialect.traits.first_id, len(earlier.chain)
    return Coverage(features, new_ids(directory, features, first_id, number))


def schema_without_shards(
    columns: Columns,
    counted_features: Sequence[CountedFeature],
    split: Split,
    directory: Path,
    config: PrepareConfig,
    num_inputs: int,
    earlier: Earlier | None = None,
    transforms: Mapping[str, NumberFeature] | None = None,
) -> FeatureSchema:
    """Return the schema as it is before shards are written, without its source.

    Args:
        columns: The columns of the log.
        counted_features: The categorical columns.
        split: The row numbers of each split.
        directory: The data set directory, with its vocabularies.
        config: The settings.
        num_inputs: Number of raw files or folders with a day's log each.
        earlier: What the data set extends.
        transforms: The features that are computed from numbers, fitted.
    """
    assert config.dialect is not None
    schema = FeatureSchema(
        label=columns.label,
        dense_features=columns.dense_features,
        categorical_features=categorical_features(counted_features, columns),
        untransformed=columns.untransformed,
        transforms=dict(transforms or {}),
        dialect=config.dialect,
        min_frequency=config.min_frequency,
        max_index_range=config.max_index_range,
        hash_buckets=config.hash_buckets,
        reserved_ids=dict(config.traits.reserved_ids),
        split=split.description(config),
        columns=None if columns.is_criteo else columns.to_json(),
        record_format=config.record_format,
        block_rows=BLOCK_ROWS,
        days=num_log_days(split, num_inputs, config),
        chain=earlier.chain if earlier else (),
        new_ids={
            feature.name: feature.num_new
            for feature in counted_features
            if feature.num_new is not None
        },
    )
    return with_contents(schema, directory)


def make_shard_format(schema: FeatureSchema, columns: Columns) -> ShardFormat:
    """Return the format of the shards of a data set with this schema."""
    fingerprint = Meaning.of(schema).fingerprint
    return ShardFormat(BLOCK_ROWS, schema.record_format, columns, fingerprint)


def make_schema(schema: FeatureSchema, shards: Sequence[Shard]) -> FeatureSchema:
    """Return the schema of a data set, without its source."""
    return replace(schema, shards=tuple(shards))
