"""One training run, from rows to an exported model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdlrm.base.device_names import announce
from tfdlrm.base.errors import InputError
from tfdlrm.base.plain_text import visible
from tfdlrm.config import PlateauConfig, TrainConfig
from tfdlrm.config.cluster import Cluster
from tfdlrm.config.model_columns import ignored_columns
from tfdlrm.config.preparing import settings_of
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.one_class import require_both_labels
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.exporting.other_columns import require_same_columns
from tfdlrm.exporting.versions import next_version
from tfdlrm.planning.advice import memory_here, require_memory
from tfdlrm.runs.beginning import data_set_of, versions_dir_of, warm_start_of
from tfdlrm.runs.ending import finish
from tfdlrm.runs.log_to_score import log_to_score
from tfdlrm.training.run_directory import RunDirectory

if TYPE_CHECKING:
    import keras

    from tfdlrm.data.reading_order import WorkerShare
    from tfdlrm.training.curves import CurvePoint
    from tfdlrm.training.warm_start import WarmStart


@dataclass(frozen=True)
class FinishedRun:
    """What a run wrote.

    Args:
        model: Version directory of the exported SavedModel.
        report: The report, in the directory of the run.
        raw: Raw log that the data set was prepared from, or a name of such a log.
    """

    model: Path
    report: Path
    raw: Path


def run_training(
    config: TrainConfig, callbacks: "Sequence[keras.callbacks.Callback]" = ()
) -> FinishedRun | None:
    """Train, evaluate, report and export.

    Args:
        config: The settings of the run.
        callbacks: The user's own Keras callbacks, called as by one `fit` over all
            epochs. A resumed run calls them for the steps that remain.

    Returns:
        What the run wrote; `None` for a worker that is not the chief, which writes it.

    Raises:
        InputError: If the configuration or the data cannot be used.
        LostWorkerError: If another worker is lost.
    """
    if callbacks:
        from tfdlrm.training.own_callbacks import checked_callbacks

        callbacks = checked_callbacks(callbacks)
    if config.run_dir is not None:
        RunDirectory(config.run_dir).require_unfinished()
    versions_dir = versions_dir_of(config)
    next_version(versions_dir)  # now, not after hours of training
    data_dir, raw, schema = data_set_of(config)
    schema = with_contents(schema, data_dir)
    config = replace(config, data_dir=data_dir, raw=None, export_dir=versions_dir)
    if not schema.num_rows("train"):
        raise InputError(f"{data_dir} has no train rows: prepare it with some")
    if not schema.num_rows("validation"):
        _refuse_validation(config, data_dir)
    steps_per_epoch = -(-schema.num_rows("train") // config.batch_size)
    config.optimizer.in_steps(steps_per_epoch, config.epochs)  # refuses what cannot be
    schema.check_shards(data_dir)
    if not config.allow_one_class:
        fix = " --allow_one_class trains all the same"
        require_both_labels(data_dir, schema, fix)
    require_same_columns(versions_dir, schema, data_dir, config.allow_other_columns)
    memory = memory_here(config.strategy)
    announce(config.strategy)
    require_memory(schema, config, memory, data_dir)

    ignored = ignored_columns(schema, config.model)
    if ignored:
        names = ", ".join(map(visible, ignored))
        print(f"{config.model.name} ignores the columns {names}")

    warm_start = warm_start_of(config, data_dir, schema)
    is_chief = config.strategy != "multi_worker" or Cluster.from_environment().is_chief
    hold = (
        RunDirectory.opened(config, settings_of(schema))
        if is_chief
        else RunDirectory.of_another_worker(config)
    )
    with hold as run:
        model, points = fit_run(config, data_dir, schema, run, warm_start, callbacks)
        if is_chief:
            try:
                exported, report = finish(
                    config, data_dir, schema, run, model, points, warm_start
                )
            except OSError as error:
                raise InputError(
                    f"what was trained cannot be written ({error}): make room, and "
                    f"give the same command with --run_dir {run.home}; the training is "
                    "in its last checkpoint"
                ) from error
        _wait_for_all(model)  # the chief needs all workers until the end
    if not is_chief:
        return None
    return FinishedRun(
        exported, run.home / report.name, log_to_score(raw, data_dir, schema)
    )


def _refuse_validation(config: TrainConfig, data_dir: Path) -> None:
    """Refuse settings that need validation rows."""
    stopping, schedule = config.early_stopping, config.optimizer.schedule
    name, value = "", ""
    if stopping is not None:
        name, value = "early_stopping", str(stopping.patience)
    elif isinstance(schedule, PlateauConfig):
        name, value = "optimizer.schedule", schedule.name
    if name:
        raise InputError(
            f"{name} is {value}, but {data_dir} has no validation rows: prepare it "
            f"with some, or leave {name} out"
        )


def fit_run(
    config: TrainConfig,
    data_dir: Path,
    schema: FeatureSchema,
    run: RunDirectory,
    warm_start: "WarmStart | None",
    callbacks: "Sequence[keras.callbacks.Callback]" = (),
    validation: Any = None,
    watch: "Callable[[Sequence[CurvePoint]], None] | None" = None,
) -> tuple["keras.Model", list["CurvePoint"]]:
    """Train in the directory of a run.

    Args:
        config: The settings of the run.
        data_dir: Directory of the data set.
        schema: Schema of the data set.
        run: The run.
        warm_start: What it begins with; `None` for random weights.
        callbacks: The user's own callbacks.
        validation: The validation rows of the curves, if they are read already.
        watch: Gets the learning curves at each new point, and may end the training.

    Returns:
        The model and its learning curves.
    """
    from tfdlrm.data.reading import damage_named, read_split
    from tfdlrm.data.side_by_side import side_by_side
    from tfdlrm.models.ensemble import build_ensemble, member_seeds
    from tfdlrm.training.compiling import compile_model
    from tfdlrm.training.curves import curve_rows
    from tfdlrm.training.distribution import (
        distributed,
        losing_workers,
        strategy,
        tables_placed,
    )
    from tfdlrm.training.fit import fit, make_reproducible, set_precision

    num_rows = schema.num_rows("train")
    steps_per_epoch = -(-num_rows // config.batch_size)
    optimizer = config.optimizer.in_steps(steps_per_epoch, config.epochs)
    devices = strategy(config.strategy)
    make_reproducible(config.seed)
    set_precision(config)
    with devices.scope(), tables_placed(devices, config.tables):
        model = build_ensemble(schema, config.model, config.ensemble, config.seed)
        compile_model(model, optimizer, config.steps_per_execution)
    print(f"Training {model.count_params():,} parameters on {num_rows:,} rows")

    seeds = member_seeds(config.seed, config.ensemble)

    def read(epoch: int, batch: int) -> Any:
        def read_pass(seed: int, share: "WorkerShare | None") -> Any:
            order = seed, epoch
            return read_split(
                data_dir, schema, "train", config.batch_size, order, batch, share
            )

        return distributed(
            devices,
            lambda share: side_by_side([read_pass(seed, share) for seed in seeds]),
        )

    with losing_workers(devices), damage_named(data_dir, schema):
        points = fit(
            model,
            read,
            steps_per_epoch,
            curve_rows(data_dir, schema) if validation is None else validation,
            config,
            run,
            schema.fingerprint,
            Meaning.of(schema),
            None if warm_start is None else warm_start.begin,
            callbacks,
            watch,
        )
    return model, points


def _wait_for_all(model: "keras.Model") -> None:
    from tfdlrm.training.distribution import losing_workers, of_all_workers

    with losing_workers(model.distribute_strategy):
        of_all_workers(model.distribute_strategy, 0)
