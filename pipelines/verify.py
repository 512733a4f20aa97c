"""Check a data set byte by byte: `python -m pipelines.verify DIR`."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipelines.ids.dialects import dialect_of
from pipelines.shards.block_check import check_record
from pipelines.shards.parquet_shard import check_parquet
from tfdlrm.base.checksums import checked_bytes, file_sha256
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError
from tfdlrm.base.parallel import map_in_order
from tfdlrm.base.progress import stage
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.rare_values import rare_values_path
from tfdlrm.data.records import read_records
from tfdlrm.data.schema import COVERAGE_FILE, SPLITS, FeatureSchema
from tfdlrm.data.shards import Shard


@dataclass(frozen=True)
class VerifyCommand:
    """Check every byte of a data set: checksums, records, rows, and vocabularies.

    Args:
        data_dir: Data set directory written by `pipelines.prepare`.
    """

    data_dir: Path


def verify(directory: Path) -> list[str]:
    """Look for damage in a data set.

    Args:
        directory: The data set directory.

    Returns:
        A line for each problem, with its file and, if there is one, its record; empty
        when the data set is undamaged.

    Raises:
        InputError: If the data set has no schema.

    Example:

    ```python
    for problem in verify(Path("data/kaggle")):
        print(problem)
    ```
    """
    schema = FeatureSchema.load(directory)
    problems = []
    rows = 0
    with stage("check shards", sum(shard.rows for shard in schema.shards)) as advance:
        checked = map_in_order(partial(_check_shard, directory, schema), schema.shards)
        for shard, problems_of_shard in zip(schema.shards, checked, strict=True):
            problems += problems_of_shard
            rows += shard.rows
            advance(rows, rows)
    return [
        *problems,
        *_unknown_files(directory, schema),
        *_check_vocabularies(directory, schema),
        *_check_rare_values(directory, schema),
        *_check_coverage(directory, schema),
    ]


def _check_shard(directory: Path, schema: FeatureSchema, shard: Shard) -> list[str]:
    path = directory / shard.path
    try:
        size = path.stat().st_size
        checksum = file_sha256(path)
    except OSError as error:
        return [f"{path} cannot be read: {error.strerror}"]
    problems = _check_records(path, schema, shard.rows)
    if problems:
        return problems
    if size != shard.bytes:
        return [f"{path} has {size:,} bytes, expected {shard.bytes:,}"]
    if checksum != shard.sha256:
        return [
            f"{path} has the checksum {checksum}, expected {shard.sha256}: its records "
            "are undamaged, but are not those that were written"
        ]
    return []


def _check_records(path: Path, schema: FeatureSchema, num_rows: int) -> list[str]:
    num_found = 0
    try:
        if schema.record_format == "parquet":
            num_found = check_parquet(path, schema)
        else:
            for number, payload in read_records(path):
                try:
                    num_found += check_record(payload, schema)
                except ValueError as error:
                    return [f"{path}, record {number}: {error}"]
    except InputError as error:
        return [str(error)]
    except ValueError as error:
        return [f"{path}: {error}"]
    if num_found != num_rows:
        return [f"{path} holds {num_found:,} rows, expected {num_rows:,}"]
    return []


def _unknown_files(directory: Path, schema: FeatureSchema) -> Iterator[str]:
    shard_paths = {directory / shard.path for shard in schema.shards}
    for split in SPLITS:
        for path in sorted((directory / split).glob("*")):
            if path not in shard_paths:
                yield f"{path} is not in the schema, expected only the shards in it"


def _check_vocabularies(directory: Path, schema: FeatureSchema) -> Iterator[str]:
    for feature in schema.categorical_features:
        path = vocabulary_path(directory, feature.name)
        try:
            # Data sets of earlier versions have no checksums of vocabularies.
            expected = schema.vocabularies.get(feature.name)
            checksum = expected and file_sha256(path)
            if checksum != expected:
                yield f"{path} has the checksum {checksum}, expected {expected}"
            else:
                dialect_of(schema).table(directory, feature)
        except InputError as error:
            yield str(error)
        except OSError as error:
            yield f"{path} cannot be read: {error.strerror}"


def _check_rare_values(directory: Path, schema: FeatureSchema) -> Iterator[str]:
    for name, expected in schema.rare_values.items():
        path = rare_values_path(directory, name)
        try:
            if (checksum := file_sha256(path)) != expected:
                yield f"{path} has the checksum {checksum}, expected {expected}"
        except OSError as error:
            yield f"{path} cannot be read: {error.strerror}"


def _check_coverage(directory: Path, schema: FeatureSchema) -> Iterator[str]:
    if schema.coverage is None:  # data sets of earlier versions have no checksum of it
        return
    try:
        checked_bytes(directory / COVERAGE_FILE, schema.coverage)
    except InputError as error:
        yield str(error)
    except OSError as error:
        yield f"{directory / COVERAGE_FILE} cannot be read: {error.strerror}"


def main() -> None:
    """Check the data set that the command line names.

    Raises:
        InputError: If it is damaged.
    """
    argv = ["--data_dir", *sys.argv[1:]] if _is_path(sys.argv[1:]) else None
    command = parse(VerifyCommand, "pipelines.verify", argv)
    problems = verify(command.data_dir)
    for problem in problems:
        print(problem)
    schema = FeatureSchema.load(command.data_dir)
    if problems:
        noun = "problem" if len(problems) == 1 else "problems"
        raise InputError(
            f"{command.data_dir} is damaged, {len(problems)} {noun}: remove it and "
            "prepare it again"
        )
    rows = sum(shard.rows for shard in schema.shards)
    print(
        f"{command.data_dir} is whole: {rows:,} rows in {len(schema.shards)} shards, "
        f"{len(schema.categorical_features)} categorical features"
    )


def _is_path(arguments: list[str]) -> bool:
    """Whether the directory is the only argument, as usual for this command."""
    return len(arguments) == 1 and not arguments[0].startswith("-")


if __name__ == "__main__":
    run_command(main)
