"""Turn raw files into a data set directory: `python -m pipelines.prepare`."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdlrm.base import directories, storage
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import InputError
from tfdlrm.base.piped_input import refuse_pipe
from tfdlrm.config import PrepareConfig
from tfdlrm.config.help_subjects import PREPARE
from tfdlrm.data.schema import COVERAGE_FILE, FILE_NAME, SPLITS, FeatureSchema

if TYPE_CHECKING:
    from pipelines.ids.earlier import Earlier
    from pipelines.stages.building import Building
    from pipelines.stages.prepared import Prepared

MAX_RUNS = 3
"""How often an engine is run until no file is found damaged on the way."""


@dataclass(frozen=True, kw_only=True)
class PrepareCommand(PrepareConfig):
    """Turn raw click logs into a data set directory for training.

    Args:
        raw: Raw files in order of time: Criteo's, with 40 tab-separated columns; or
            files that `columns` describes. Text may be gzip or zstd. A folder stands
            for all files below it, sorted by name.
        output: The data set directory to make; one on S3 is made here and uploaded.
        train: In place of raw, the files of the training rows, for splits that are
            used as they are.
        validation: With train, the files of the validation rows, if there are any.
        test: With train, the files of the test rows, if there are any.
    """

    raw: tuple[Path, ...] | None = None
    output: Path
    train: tuple[Path, ...] | None = None
    validation: tuple[Path, ...] | None = None
    test: tuple[Path, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("raw", *SPLITS):
            paths = getattr(self, name)
            if paths is not None:
                object.__setattr__(self, name, tuple(map(storage.at, paths)))

    @property
    def splits(self) -> dict[str, tuple[Path, ...]]:
        """The files of each split."""
        return {name: getattr(self, name) or () for name in SPLITS}


def prepare(
    raw: Sequence[Path],
    output: Path,
    config: PrepareConfig,
    splits: Mapping[str, Sequence[Path]] | None = None,
) -> FeatureSchema:
    """Make the data set directory `output` from raw files.

    A data set that was made from the same files with the same settings is used again.
    The directory appears only when it is complete.

    Args:
        raw: Raw files in order of time: Criteo's with 40 tab-separated columns (label,
            13 integers, 26 hexadecimal categories), plain, gzip or zstd; or files that
            `config.columns` describes; or folders of such files. They may be remote;
            see `tfdlrm.base.storage`.
        output: The data set directory to make; a remote one is made on this machine
            and uploaded.
        config: How rows are split, counted and shuffled.
        splits: In place of `raw`, the files of each split, which are used as they are.

    Returns:
        The schema of the data set.

    Raises:
        InputError: If the files or settings cannot be used, `output` holds something
            else, or the disk refuses.
    """
    from pipelines.logs.inputs import Inputs, require_outside
    from pipelines.stages.building import remove_remains
    from pipelines.stages.extending import (
        extended_settings,
        open_earlier,
        require_apart,
    )
    from pipelines.stages.provenance import describe_source, existing_data_set
    from pipelines.stages.summary import print_summary

    is_remote = storage.is_remote(output)
    if is_remote:
        _refuse_spark(output, config)
    start = time.perf_counter()
    splits = {name: paths for name in SPLITS if (paths := (splits or {}).get(name))}
    require_outside(output, [*raw, *chain(*splits.values())])
    raw = Inputs.given(raw, splits)
    for path in raw:
        refuse_pipe("raw", path)
    earlier = None
    if config.extend is not None:
        earlier = open_earlier(config.extend)
        require_apart(output, config.extend)
        config = extended_settings(config, earlier)
    source = describe_source(raw, config, earlier)
    with _storage_errors(output):
        schema = existing_data_set(output, source, raw)
    if schema:
        if not is_remote:
            remove_remains(output)
        print(f"{output} is already prepared from these files with these settings")
        return schema
    if earlier is not None:
        _report_lost_counts(earlier, config)
    with _upload(output) if is_remote else nullcontext(output) as directory:
        task = _Task(raw, source, config, earlier)
        schema, prepared = _make(task, directory, not is_remote)
    print_summary(prepared, output, time.perf_counter() - start)
    return schema


def _report_lost_counts(earlier: "Earlier", config: PrepareConfig) -> None:
    from pipelines.stages.extending import counts_from_zero

    if counts_from_zero(earlier):
        print(
            f"{config.extend} has no rare_values, as in data sets of earlier releases: "
            "values without an id are counted from zero"
        )


@contextmanager
def _upload(output: Path) -> Iterator[Path]:
    """Yield a local directory, and upload all of it or nothing to `output`."""
    uploaded = directories.new_directory(output, last=FILE_NAME)
    with _storage_errors(output), uploaded as directory:
        yield directory


@contextmanager
def _storage_errors(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{output} cannot be read or written: {error.strerror or error}; expected "
            "a place for a data set: fix that, or give another one"
        ) from error


@dataclass(frozen=True)
class _Task:
    """What to prepare.

    Args:
        raw: The raw files.
        source: Description of the inputs and settings.
        config: The settings.
        earlier: What the data set extends.
    """

    raw: Sequence[Path]
    source: dict[str, Any]
    config: PrepareConfig
    earlier: "Earlier | None"


def _make(
    task: _Task, directory: Path, stays: bool
) -> tuple[FeatureSchema, "Prepared"]:
    from pipelines.logs.bad_rows import BadRowError
    from pipelines.stages.building import build_in
    from pipelines.stages.provenance import with_checksums
    from pipelines.twin.truth import reachable
    from tfdlrm.base.checksums import file_sha256

    try:
        engine = task.config.engine
        with build_in(directory, task.source, engine, stays) as building:
            prepared = _run(task, building)
            schema = replace(
                prepared.schema,
                coverage=file_sha256(building.directory / COVERAGE_FILE),
                source=with_checksums(task.source, prepared.checksums),
                reachable=reachable(task.raw, prepared.schema, prepared.positives),
                positives=prepared.positives,
            )
            schema.save(building.directory)
    except BadRowError as error:
        raise InputError(
            f"{error}, or leave such {error.row.unit}s out with on_bad_row skip"
        ) from None
    return schema, prepared


def _run(task: _Task, building: "Building") -> "Prepared":
    """Run the engine, again where files are found to be changed or damaged.

    Returns:
        The engine's result, with the checksums of the vocabularies.

    Raises:
        InputError: If files are changed or damaged in every run.
    """
    from pipelines.engines import run
    from pipelines.logs.checksums import InputChangedError
    from pipelines.stages.building import go_back, start_again
    from tfdlrm.base.kept_files import DamagedFileError

    for _ in range(MAX_RUNS):
        try:
            prepared = run(task.raw, building, task.config, task.earlier)
            schema = _with_vocabularies(building, prepared.schema)
            return replace(prepared, schema=schema)
        except InputChangedError as error:
            reason = problem = f"{error} has changed"
            engine = task.config.engine
            building = start_again(building, task.source, engine, reason)
        except DamagedFileError as error:
            problem = str(error)
            go_back(building, problem)
    raise InputError(
        f"{problem}, in {MAX_RUNS} tries: expected a disk that returns what was "
        "written, and inputs that nobody writes to; give an output on another disk"
    )


def _with_vocabularies(building: "Building", schema: FeatureSchema) -> FeatureSchema:
    """Return the schema with the checksums of all files of counted columns."""
    from tfdlrm.data.column_files import vocabulary_path
    from tfdlrm.data.rare_values import rare_values_path

    return replace(
        schema,
        vocabularies=_checksums(building, schema, vocabulary_path),
        rare_values=_checksums(building, schema, rare_values_path),
    )


def _checksums(
    building: "Building", schema: FeatureSchema, path_of: Callable[[Path, str], Path]
) -> dict[str, str]:
    from tfdlrm.base.checksums import file_sha256

    names = [feature.name for feature in schema.categorical_features]
    paths = {name: path_of(building.directory, name) for name in names}
    kept_files = building.journal.needed_files()
    for path in paths.values():
        if path in kept_files:
            kept_files[path].check()
    return {name: file_sha256(path) for name, path in paths.items() if path.exists()}


def _refuse_spark(output: Path, config: PrepareConfig) -> None:
    if config.engine == "spark":
        raise InputError(
            f"output is {output}, expected a directory that all machines of Spark "
            "share: give one, and copy it to the remote place afterwards"
        )


def main() -> None:
    """Prepare a data set as the command line says."""
    command = parse(
        PrepareCommand, "pipelines.prepare", several=("raw", *SPLITS), subjects=PREPARE
    )
    prepare(command.raw or (), command.output, command, command.splits)
    output = shlex.quote(str(command.output))
    print(f"\nnext: python -m tfdlrm.train --data_dir {output}")


if __name__ == "__main__":
    run_command(main)
