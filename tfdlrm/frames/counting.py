"""Number the values of a frame's rows, as preparing a data set of them would."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from pipelines.ids.counted_files import write_counted
from pipelines.ids.coverage import CountedFeature, Coverage
from pipelines.ids.coverage_report import write_coverage_json
from pipelines.ids.dialect import Dialect
from pipelines.ids.dialects import dialect_of, load_tables
from pipelines.ids.encoded_rows import Bags
from pipelines.ids.number_values import NumberValues
from pipelines.ids.vocabulary import encode_categories
from pipelines.logs.columns import NUMBER, Columns
from pipelines.stages.prepared import categorical_features
from tfdlrm.base.byte_size import parse_byte_size
from tfdlrm.base.checksums import file_sha256
from tfdlrm.config import PrepareConfig
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.number_features import NumberFeature
from tfdlrm.data.number_statistics import NumberStatistics
from tfdlrm.data.rare_values import rare_values_path
from tfdlrm.data.schema import COVERAGE_FILE, FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents


def count_rows(
    rows: pl.DataFrame, columns: Columns, config: PrepareConfig, directory: Path
) -> FeatureSchema:
    """Count the values of rows, and write what a data set holds except its rows.

    Args:
        rows: Typed rows, all of which are for training.
        columns: Their columns.
        config: The dialect and its settings.
        directory: The directory that gets the schema, vocabularies and coverage.

    Returns:
        The schema.
    """
    numbers = _fit(rows, columns)
    rows = numbers.add_to(columns.transform(rows))
    dialect = dialect_of(config)
    memory = parse_byte_size(config.memory_budget, "memory_budget") // 2
    with TemporaryDirectory(prefix="tfdlrm-") as folder:
        counted_features = [
            _count_column(rows[name], name, dialect, memory, directory, Path(folder))
            for name in columns.categorical_features
        ]
    schema = _schema(columns, counted_features, config)
    schema = replace(schema, transforms=dict(numbers.features))
    coverage = _count_coverage(rows, columns, counted_features, schema, directory)
    write_coverage_json(coverage, schema.dialect, directory)
    names = columns.categorical_features
    schema = replace(
        with_contents(schema, directory),
        vocabularies=_checksums(
            [vocabulary_path(directory, name) for name in names], names
        ),
        rare_values=_checksums(
            [rare_values_path(directory, name) for name in names], names
        ),
        coverage=file_sha256(directory / COVERAGE_FILE),
    )
    schema.save(directory)
    return schema


def _fit(rows: pl.DataFrame, columns: Columns) -> NumberValues:
    """Return the features that have a recipe, fitted to typed rows."""
    frame = columns.transform(rows)
    features = {}
    for name, recipe in columns.recipes.items():
        feature = NumberFeature.from_json(recipe)
        if not feature.is_fitted:
            values = frame[NUMBER + feature.column].fill_null(np.nan).to_numpy()
            counts_values = feature.transform.counts_values
            feature = feature.fit(
                NumberStatistics.of(feature.clipped(values), counts_values)
            )
        features[name] = feature
    return NumberValues.of(columns, features)


def _count_column(
    column: pl.Series,
    name: str,
    dialect: Dialect,
    memory_bytes: int,
    directory: Path,
    work: Path,
) -> CountedFeature:
    values = column.alias("value")
    if isinstance(values.dtype, pl.List):
        values = values.explode().drop_nulls()
    vocabulary = dialect.vocabulary([values], memory_bytes, work)
    write_counted(vocabulary, directory, work, name)
    return dialect.describe(name, vocabulary)


def _schema(
    columns: Columns, features: Sequence[CountedFeature], config: PrepareConfig
) -> FeatureSchema:
    assert config.dialect is not None
    return FeatureSchema(
        label=columns.label,
        dense_features=columns.dense_features,
        categorical_features=categorical_features(features, columns),
        untransformed=columns.untransformed,
        dialect=config.dialect,
        min_frequency=config.min_frequency,
        hash_buckets=config.hash_buckets,
        reserved_ids=dict(config.traits.reserved_ids),
        columns=columns.to_json(),
    )


def _count_coverage(
    rows: pl.DataFrame,
    columns: Columns,
    features: Sequence[CountedFeature],
    schema: FeatureSchema,
    directory: Path,
) -> Coverage:
    tables = load_tables(directory, schema)
    width = len(columns.single_hot)
    ids = encode_categories(rows, columns.single_hot, tables[:width])
    bags = []
    for name, table in zip(columns.multi_hot, tables[width:], strict=True):
        bag = rows[name].alias("value")
        lengths = bag.list.len().cast(pl.Int32).to_numpy()
        bags.append(Bags(table.ids(bag.explode().drop_nulls()), lengths))
    coverage = Coverage(features)
    coverage.add("train", coverage.count(np.asarray(ids), bags))
    return coverage


def _checksums(paths: Sequence[Path], names: Sequence[str]) -> dict[str, str]:
    return {
        name: file_sha256(path)
        for name, path in zip(names, paths, strict=True)
        if path.exists()
    }
