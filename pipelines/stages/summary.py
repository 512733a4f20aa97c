"""What a finished run prints about its data set."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from pipelines.ids.coverage import FeatureCoverage
from pipelines.ids.coverage_report import (
    PAGE_NAME,
    PICTURE_NAME,
    as_table,
    read_coverage,
)
from pipelines.logs.columns import Columns
from pipelines.logs.label_values import describe_labels
from pipelines.stages.prepared import Prepared
from tfdlrm.base.plain_text import visible
from tfdlrm.data.schema import SPLITS, FeatureSchema


def print_summary(prepared: Prepared, output: Path, seconds: float) -> None:
    """Print the rows, labels, ids and coverage of a data set.

    Args:
        prepared: The result of an engine's run.
        output: The data set directory.
        seconds: Duration of the run.
    """
    schema = replace(prepared.schema, positives=prepared.positives)
    features = read_coverage(output)
    print(f"\n{output}")
    _print_splits(schema, prepared.positives)
    if schema.columns is not None:
        columns = Columns.from_json(schema.columns)
        labels = describe_labels(prepared.skipped.labels, columns)
        print(f"  {visible(labels)}")
    alike = [split for split in SPLITS if schema.has_one_class(split)]
    if alike:
        print(
            f"  all rows of {' and of '.join(alike)} have the same label: no model can "
            "learn from them, or be\n  measured on them. Is it the right column, and "
            "label.positive, if set, as in the log?"
        )
    _print_numbers(schema)
    _print_ids(schema, features)
    rows = sum(schema.num_rows(split) for split in SPLITS)
    print(f"  {seconds:.1f} s, {rows / seconds:,.0f} rows/s")
    for line in prepared.skipped.report():
        print(visible(line))
    if features:
        Console(width=80).print(as_table(features, schema.dialect))
        picture = ", with a picture" if (output / PICTURE_NAME).exists() else ""
        print(f"every feature{picture}: {output / PAGE_NAME}")


def _print_splits(schema: FeatureSchema, positives: dict[str, int]) -> None:
    for split in SPLITS:
        rows = schema.num_rows(split)
        share = f"{positives[split] / rows:.2%} positive" if rows else ""
        num_shards = len(schema.split_shards(split))
        files = "file" if num_shards == 1 else "files"
        print(f"  {split:<11}{rows:>14,} rows in {num_shards} {files}  {share}")


def _print_numbers(schema: FeatureSchema) -> None:
    """Print how many features have a transform with numbers of training rows."""
    sorts = Counter(
        feature.transform.name
        for feature in schema.transforms.values()
        if feature != feature.unfitted()
    )
    if sorts:
        whose = "what is extended" if schema.chain else "the training rows"
        counts = ", ".join(f"{count:,} {name}" for name, count in sorts.items())
        print(f"  transforms with numbers of {whose}: {counts}")


def _print_ids(schema: FeatureSchema, features: Sequence[FeatureCoverage]) -> None:
    sizes = schema.vocabulary_sizes
    print(f"  {sum(sizes):,} ids in {len(sizes)} categorical features")
    if schema.new_ids:
        num_new = sum(schema.new_ids.values())
        num_forgotten = sum(feature.forgotten or 0 for feature in features)
        print(f"  {num_new:,} values have an id now, {num_forgotten:,} lost theirs")
