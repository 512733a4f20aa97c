"""A search: trials until there are enough, and what is written about them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tfdlrm.base import directories, storage
from tfdlrm.base.command_line import to_yaml
from tfdlrm.base.errors import InputError
from tfdlrm.base.signals import terminate_is_exit
from tfdlrm.config.plain_settings import train_config_of
from tfdlrm.config.tuning import TuneConfig
from tfdlrm.tuning.best_settings import write_best
from tfdlrm.tuning.outcome import (
    FinishedTrial,
    Outcome,
    best_of,
    finish_trial,
    finished_trials,
)
from tfdlrm.tuning.report import write_report
from tfdlrm.tuning.rows import RowsOfSearch
from tfdlrm.tuning.space import Space
from tfdlrm.tuning.space_check import check_space
from tfdlrm.tuning.study import (
    DATABASE,
    directory_of,
    import_optuna,
    next_trial,
    open_study,
    remove_remains,
    unfinished,
)
from tfdlrm.tuning.table import TrialTable
from tfdlrm.tuning.trial_run import keep_curves, run_trial
from tfdlrm.tuning.trial_settings import trial_settings

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial

TABLE_FILE = "trials.csv"


def search(config: TuneConfig) -> FinishedTrial:
    """Do the trials that are left, and write the table, the picture and the best.

    Args:
        config: The settings of the command.

    Returns:
        The best trial.

    Raises:
        InputError: If the settings, the space, the data set or the storage cannot be
            used, or no trial has a result.
    """
    import_optuna()
    assert config.space is not None
    space = Space.read(config.space, config.training)
    rows = RowsOfSearch.open(config)
    try:
        check_space(space, config.training, rows.accept)
    except InputError as error:
        raise InputError(f"{config.space}: {error}") from None
    _require_place(config.output)
    with directories.only_process(config.output):
        study = open_study(config, space, _shared_settings(config, space, rows))
        remove_remains(study, config.output)
    table = TrialTable(list(space.dimensions))
    _say_where(study, config)
    print(table.head, flush=True)
    with terminate_is_exit():
        while _do_trial(study, config, space, rows, table):
            pass
        return _write_end(study, config, space, table)


def _do_trial(
    study: "Study",
    config: TuneConfig,
    space: Space,
    rows: RowsOfSearch,
    table: TrialTable,
) -> bool:
    """Do a trial and return whether there was one to do."""
    with next_trial(study, config) as trial:
        if trial is None:
            return False
        values = space.suggest(trial)
        try:
            outcome = _outcome_of(trial, values, config, rows)
        except (KeyboardInterrupt, SystemExit):
            print(
                f"stopped in trial {trial.number}: the same command goes on with it",
                flush=True,
            )
            raise
        finish_trial(study, trial, values, outcome, config.metric)
        keep_curves(directory_of(config.output, trial.number))
        number = trial.number
    with directories.only_process(config.output):
        trials = finished_trials(study)
        storage.replace_text(config.output / TABLE_FILE, table.csv(trials))
        if (best := best_of(trials, config.metric)) is not None:
            write_best(config, best, len(trials))
    finished = next(trial for trial in trials if trial.number == number)
    print(table.line(finished), flush=True)
    return True


def _outcome_of(
    trial: "Trial", values: dict[str, Any], config: TuneConfig, rows: RowsOfSearch
) -> Outcome:
    try:
        settings = train_config_of(trial_settings(config.training, values))
        rows.accept(settings)
    except InputError as error:  # each value is possible, but not all together
        return Outcome.failed(str(error))
    directory = directory_of(config.output, trial.number)
    return run_trial(trial, settings, rows, config.metric, config.prune, directory)


def _write_end(
    study: "Study", config: TuneConfig, space: Space, table: TrialTable
) -> FinishedTrial:
    """Write the report, print the best trial and return it.

    Raises:
        InputError: If no trial has a result.
    """
    with directories.only_process(config.output):
        trials = finished_trials(study)
        storage.replace_text(config.output / TABLE_FILE, table.csv(trials))
        best = best_of(trials, config.metric)
        if best is None:
            reason = trials[-1].outcome.reason if trials else "none is finished"
            raise InputError(
                f"none of {len(trials)} trials has a result; trial "
                f"{len(trials) - 1}: {reason}; give another --output and another space"
            )
        best_file = write_best(config, best, len(trials))
        report = write_report(config, trials, best, space.dimensions)
    if num_unfinished := len(unfinished(study)):
        print(f"trials that other processes still do: {num_unfinished}")
    print(f"\nBest of {len(trials)} trials by {config.metric}:")
    print(f"{table.head}\n{table.line(best)}\n")
    print(f"Report:   {report}")
    print(f"Settings: {best_file}; train with them:\n")
    print(f"  python -m tfdlrm.train --config {best_file}")
    return best


def _require_place(output: Path) -> None:
    """Make the directory of the search, unless it holds something else.

    Raises:
        InputError: If it does.
    """
    for name in ("schema.json", "config.yaml", "saved_model.pb", "report.json"):
        if (output / name).exists():
            raise InputError(
                f"output {output} has a {name}: it is a data set, a run, a model or a "
                "comparison, expected a new directory or one of a search"
            )
    directories.make_directory("output", output)


def _shared_settings(
    config: TuneConfig, space: Space, rows: RowsOfSearch
) -> dict[str, Any]:
    """Return what all calls of one search have in common."""
    training: dict[str, Any] = yaml.safe_load(to_yaml(config.training))
    return {
        **training,
        "prepare": None,  # the data set is prepared
        "space": space.to_json(),
        "metric": config.metric,
        "prune": config.prune,
        "data_set": rows.whole_schema.fingerprint,
    }


def _say_where(study: "Study", config: TuneConfig) -> None:
    num_finished = len(finished_trials(study))
    where = config.storage or config.output / DATABASE
    begin = f"{num_finished} of {config.trials} trials are done" if num_finished else ""
    print(begin or f"{config.trials} trials, kept in {where}", flush=True)
