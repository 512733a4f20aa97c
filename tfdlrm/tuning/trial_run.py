"""One trial: a training run that is watched, and keeps no weights."""

import gc
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tfdlrm.base import directories
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.planning.advice import memory_here, require_memory
from tfdlrm.tuning.outcome import Outcome
from tfdlrm.tuning.rows import RowsOfSearch
from tfdlrm.tuning.watcher import Watcher

if TYPE_CHECKING:
    from optuna.trial import Trial

LOG_FILE = "log.txt"
RUN = "run"
"""Directory of the run in that of the trial, as long as it is not finished."""

_KEPT_FILES = ("config.yaml", "metrics.jsonl")


def run_trial(
    trial: "Trial",
    config: TrainConfig,
    rows: RowsOfSearch,
    metric: str,
    prunes: bool,
    directory: Path,
) -> Outcome:
    """Train with the settings of a trial, or resume it where it stopped.

    Args:
        trial: The trial.
        config: Its settings.
        rows: The rows of the search.
        metric: The measure to search by.
        prunes: Whether trials that promise little end early.
        directory: Directory of the trial, held by this process.

    Returns:
        The outcome, also of a run whose loss is not finite, or that the memory does
        not hold.

    Raises:
        InputError: If the data set or a checkpoint cannot be used, or the disk refuses.
        KeyboardInterrupt, SystemExit: After a signal that asked to stop.
    """
    import tensorflow as tf

    from tfdlrm.training.safeguards import NotFiniteError

    start = time.perf_counter()
    watcher = Watcher(trial, config, rows.schema.num_rows("train"), metric, prunes)
    try:
        _require_memory(config, rows)
        with (directory / LOG_FILE).open("a", encoding="utf-8") as log:
            _fit(config, rows, directory, watcher, log)
        outcome = watcher.outcome()
    except (NotFiniteError, _RefusedError) as error:
        outcome = Outcome.failed(str(error).partition("; the rows are in")[0])
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        outcome = Outcome.failed(f"out of memory: {_first_line(error)}")
    seconds = time.perf_counter() - start
    return replace(outcome, seconds=seconds)


def keep_curves(directory: Path) -> None:
    """Remove the run of a finished trial, except for its settings and its curves."""
    run = directory / RUN
    for name in _KEPT_FILES:
        if (run / name).is_file():
            (run / name).replace(directory / name)
    directories.remove_tree(run)


class _RefusedError(Exception):
    """The memory of this machine does not hold the run."""


def _require_memory(config: TrainConfig, rows: RowsOfSearch) -> None:
    import keras

    keras.utils.clear_session()  # also the numbers in the names of layers
    gc.collect()  # the tables of the trial before
    try:
        memory = memory_here(config.strategy)
        require_memory(rows.schema, config, memory, rows.data_dir)
    except InputError as error:
        raise _RefusedError(str(error)) from None


def _fit(
    config: TrainConfig,
    rows: RowsOfSearch,
    directory: Path,
    watcher: Watcher,
    log: TextIO,
) -> None:
    """Train, with what is printed going to the log."""
    from tfdlrm.config.preparing import settings_of
    from tfdlrm.runs.beginning import warm_start_of
    from tfdlrm.runs.training_run import fit_run
    from tfdlrm.training.run_directory import RunDirectory

    # The watcher stops early, without writing the best weights again and again.
    config = replace(
        config,
        run_dir=directory / RUN,
        early_stopping=None,
        checkpoints=replace(config.checkpoints, keep=1),
    )
    with redirect_stdout(log):
        warm_start = warm_start_of(config, rows.data_dir, rows.whole_schema)
        prepared = settings_of(rows.schema)
        with RunDirectory.opened(config, prepared) as run:
            fit_run(
                config,
                rows.data_dir,
                rows.schema,
                run,
                warm_start,
                validation=rows.validation,
                watch=watcher.watch,
            )


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
