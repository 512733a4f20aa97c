"""The study of a search: its trials in Optuna's storage, shared by processes."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdlrm.base import directories, storage
from tfdlrm.base.errors import InputError
from tfdlrm.config.tuning import TuneConfig
from tfdlrm.training.run_settings import first_difference
from tfdlrm.tuning.space import Space

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

DATABASE = "study.db"
_SETTINGS = "settings"
_LOCK_SECONDS = 120
"""How long a process waits for another one that writes to a database in a file."""


def import_optuna() -> Any:
    """Import Optuna and return it.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise InputError(
            "tfdlrm.tune needs Optuna, which is not installed: pip install -r "
            "requirements-tune.txt"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def open_study(config: TuneConfig, space: Space, settings: dict[str, Any]) -> "Study":
    """Open the study of a search, or begin it.

    Args:
        config: The settings of the command.
        space: The space.
        settings: What all calls of one search share; it decides about the trials.

    Raises:
        InputError: If the storage cannot be used, or holds a search with other
            settings.
    """
    optuna = import_optuna()
    from tfdlrm.tuning.sampler import SamplerOfTrials

    where = config.storage or str(config.output / DATABASE)
    try:
        study = optuna.create_study(
            storage=_storage(config),
            sampler=SamplerOfTrials(config.seed, space.is_conditional),
            study_name=config.output.resolve().name if config.storage else "tune",
            direction="minimize" if config.metric == "log_loss" else "maximize",
            load_if_exists=True,
        )
    except Exception as error:  # of whatever database
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"storage {where} cannot be used ({reason}): expected one of Optuna, or "
            "none; give another --storage, or another --output"
        ) from None
    old_settings = study.user_attrs.get(_SETTINGS)
    if old_settings is None:
        study.set_user_attr(_SETTINGS, settings)
        return study
    difference = first_difference(old_settings, settings)
    if difference:
        raise InputError(
            f"output {config.output} is of a search with other settings: {difference}; "
            "give the same ones, or another --output"
        )
    return study


def _storage(config: TuneConfig) -> Any:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    location = config.storage or f"sqlite:///{config.output / DATABASE}"
    if location.startswith("sqlite:"):
        patience = {"connect_args": {"timeout": _LOCK_SECONDS}}
        return RDBStorage(location, engine_kwargs=patience)
    if "://" in location:
        return location
    return JournalStorage(JournalFileBackend(location))


@contextmanager
def next_trial(study: "Study", config: TuneConfig) -> Iterator["Trial | None"]:
    """Yield the trial that this process does next, and keep others from it.

    A trial whose process is gone is taken up again before a new one begins.

    Args:
        study: The study.
        config: The settings of the command.

    Yields:
        The trial; `None` if there are as many as there should be.
    """
    with ExitStack() as holds:
        with directories.only_process(config.output):
            trial = _abandoned(study, config, holds)
            if trial is None and len(study.trials) < config.trials:
                trial = study.ask()
                directory = directory_of(config.output, trial.number)
                directories.remove_tree(directory)  # of a search whose study is lost
                _hold(directory, holds)
        yield trial


def directory_of(output: Path, number: int) -> Path:
    """Return the directory of a trial."""
    return output / "trials" / str(number)


def unfinished(study: "Study") -> list["FrozenTrial"]:
    """Return the trials that have no result yet."""
    return [trial for trial in study.trials if not trial.state.is_finished()]


def new_points(trial: "Trial", points: dict[int, float]) -> dict[int, float]:
    """Return the points of a curve that the storage does not have yet."""
    known = trial.storage.get_trial(trial._trial_id).intermediate_values
    return {step: value for step, value in points.items() if step not in known}


def _abandoned(study: "Study", config: TuneConfig, holds: ExitStack) -> "Trial | None":
    """Return a trial whose process is gone, held; `None` if there is none."""
    from optuna.trial import Trial, TrialState

    for frozen in unfinished(study):
        directory = directory_of(config.output, frozen.number)
        # In a storage that machines share, others have directories elsewhere.
        is_here = config.storage is None or directory.exists()
        if frozen.state != TrialState.RUNNING or not is_here:
            continue
        try:
            _hold(directory, holds)
        except InputError:
            continue  # its process works
        return Trial(study, frozen._trial_id)
    return None


def _hold(directory: Path, holds: ExitStack) -> None:
    """Keep other processes out of the directory of a trial.

    Raises:
        InputError: If one is in it.
    """
    directories.make_directories(directory)
    holds.enter_context(directories.only_process(directory, "in use"))


def remove_remains(study: "Study", output: Path) -> None:
    """Remove the weights of trials whose process was killed after their end."""
    for trial in study.trials:
        if trial.state.is_finished():
            directories.remove_tree(directory_of(output, trial.number) / "run")
    storage.remove_temporary_files(output, below=False)
