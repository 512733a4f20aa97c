"""Fit a model, record its learning curves and write checkpoints."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.base.errors import InputError
from tfdlrm.base.quiet_start import without_greeting
from tfdlrm.base.signals import StopRequest, stop_requests
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.checkpoints.writer import CheckpointWriter
from tfdlrm.config import PlateauConfig, TrainConfig
from tfdlrm.data.meaning import Meaning
from tfdlrm.metrics.binary import BinaryMetrics
from tfdlrm.metrics.splits import evaluate
from tfdlrm.optimizers._late_decay import catch_up
from tfdlrm.training.curves import CurvePoint, CurveRecorder
from tfdlrm.training.distribution import check_agreement, chief_first
from tfdlrm.training.early_stopping import EarlyStopping
from tfdlrm.training.epoch_lines import EpochLines
from tfdlrm.training.events import WeightHistograms, write_hyperparameters
from tfdlrm.training.own_callbacks import OwnCallbacks
from tfdlrm.training.plateau import Plateau, begin_schedules
from tfdlrm.training.profiling import Profiler
from tfdlrm.training.run_directory import RunDirectory
from tfdlrm.training.safeguards import (
    Checkpointer,
    FiniteLoss,
    MetricsRestorer,
    StopWithChief,
    restored_points,
)
from tfdlrm.training.watched_points import TrainingEndedError, WatchedPoints


def make_reproducible(seed: int) -> None:
    """Make the same seed yield the same numbers, bit for bit on CPUs.

    Args:
        seed: Seed of initial weights and dropout.
    """
    keras.utils.set_random_seed(seed)
    if not tf.config.list_physical_devices("GPU"):
        # With SGD several threads may add to one row at once. On a GPU its scatter-add
        # consists of atomic additions in any order. The other optimizers sum repeated
        # rows first, for which TensorFlow 2.17 has an ordered GPU kernel too; it was
        # never tried.
        tf.config.experimental.enable_op_determinism()


def set_precision(config: TrainConfig) -> None:
    """Set the precision of all computations to that of a run.

    By default TensorFlow lets GPUs round factors to TF32; here that is a setting.
    """
    keras.config.set_dtype_policy(config.precision)
    tf.config.experimental.enable_tensor_float_32_execution(config.tf32)


def probabilities_of(
    model: keras.Model, batches: tf.data.Dataset
) -> Callable[[dict[str, Any]], tf.Tensor]:
    """Return the function from features to click probabilities, compiled once.

    Args:
        model: The model.
        batches: Batches of features and labels like those that the function will take.
    """
    # Batches with bags of ids all have different shapes.
    features, _ = batches.element_spec
    return tf.function(
        lambda features: tf.sigmoid(model(features, training=False)),
        input_signature=[features],
    )


@cache
def start_xla_quietly() -> None:
    """Start XLA, which training uses, without its greeting, once in a process."""
    with without_greeting():
        tf.function(lambda: tf.constant(0) + 1, jit_compile=True)()


def fit(
    model: keras.Model,
    read: Callable[[int, int], tf.data.Dataset],
    steps_per_epoch: int,
    validation: tf.data.Dataset | None,
    config: TrainConfig,
    run: RunDirectory,
    data_set: str,
    meaning: Meaning | None = None,
    begin: Callable[[keras.Model, SavedVariables, Any], dict[str, Any]] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    watch: Callable[[Sequence[CurvePoint]], None] | None = None,
) -> list[CurvePoint]:
    """Train a compiled model, or resume the run where it stopped.

    Args:
        model: The model.
        read: Returns the batches of an epoch from a batch on, by the numbers of both.
        steps_per_epoch: Batches of an epoch.
        validation: Validation batches for the curves, or `None`.
        config: Number of epochs, of points in the curves, and of checkpoints.
        run: The run's directory.
        data_set: The fingerprint of the data set, which checkpoints contain.
        meaning: The meaning of its ids and labels, which checkpoints contain too.
        begin: Gives the model its first weights, from the model, its variables and what
            a checkpoint of the run has of this function's result, if anything; returns
            facts for checkpoints, with the `steps` of the optimizer. `None` leaves the
            initial weights.
        callbacks: The user's own callbacks.
        watch: Gets the learning curves at each new point; `TrainingEndedError` ends the
            training there, without a checkpoint.

    Returns:
        The learning curves.

    Raises:
        InputError: If the loss is not finite, the checkpoints cannot be used, or the
            last one cannot be written.
        KeyboardInterrupt, SystemExit: After a signal that asked to stop.
    """
    start_xla_quietly()
    _require_defined_auc(config, validation)
    checkpoints = CheckpointDirectory(run.checkpoint_directory, config.checkpoints.keep)
    variables = SavedVariables(model)
    variables.watch_tables()
    devices = model.distribute_strategy
    state = _restore(checkpoints, variables, run, data_set, meaning, devices)
    if begin is not None:
        state["warm_start"] = begin(model, variables, state.get("warm_start"))
        check_agreement(devices, state["warm_start"]["steps"], "init_from")
    first_step = state["warm_start"]["steps"] if begin is not None else 0
    begin_schedules(model.optimizer, first_step)
    points = restored_points(state)
    schedule, plateau = config.optimizer.schedule, None
    if isinstance(schedule, PlateauConfig):
        plateau = Plateau(model, schedule, points)
    is_chief = run.restored_from is None
    writer = CheckpointWriter(checkpoints, variables, state)
    recorder = CurveRecorder(
        run,
        every=-(-steps_per_epoch // config.evaluations_per_epoch),
        steps_per_epoch=steps_per_epoch,
        validate=_validator(model, validation) if is_chief else None,
        follow=None if plateau is None else plateau.follow,
        points=points,
        step=state["step"],
        seconds=state["seconds"],
    )

    if is_chief:
        write_hyperparameters(run, run.settings)

    def batch_at(step: int) -> Any:
        return next(iter(read(*divmod(step, steps_per_epoch))))

    with stop_requests() as request, _may_end(request, recorder), writer:
        facts: dict[str, Any] = {"data_set": data_set}
        if meaning is not None:
            facts["meaning"] = meaning.to_json()
        if begin is not None:
            facts["warm_start"] = state["warm_start"]
        if callbacks or state.get("has_callbacks"):
            facts["has_callbacks"] = True
        if state.get("stopped_by_callback"):
            facts["stopped_by_callback"] = True
        checkpointer = Checkpointer(
            writer, config.checkpoints, recorder, request, facts
        )
        profiler = Profiler(run, recorder, config.profile_steps)
        histograms = None
        if is_chief and config.weight_histograms:
            histograms = WeightHistograms(run, recorder, variables)
        stopping = None
        if config.early_stopping is not None:
            stopping = EarlyStopping(run, recorder, config.early_stopping)
        own = OwnCallbacks(
            callbacks, model, recorder, config.epochs, steps_per_epoch, facts
        )
        all_callbacks = [
            FiniteLoss(run, recorder, batch_at),
            recorder,
            profiler,
            *([histograms] if histograms else []),
            *([own] if callbacks else []),
            # Before the checkpointer, in which a signal can end the run.
            *([stopping] if stopping else []),
            checkpointer if is_chief else StopWithChief(request),
            *([WatchedPoints(recorder, watch)] if watch else []),
            EpochLines(recorder, config.epochs),
        ]
        if state["metrics"]:
            # Metrics have variables only after they were computed once.
            model.evaluate(read(0, 0), steps=1, verbose=0)
            all_callbacks.append(MetricsRestorer(state["metrics"]))
        # Even without any step to fit there may be a last checkpoint to write.
        checkpointer.set_model(model)
        for epoch, num_done in _epochs_from(
            state["step"], steps_per_epoch, config.epochs
        ):
            if own.has_stopped or (stopping is not None and stopping.is_over):
                break
            steps = steps_per_epoch - num_done
            _fit_epoch(
                model, read(epoch, num_done), epoch, steps, all_callbacks, is_chief
            )
        is_changed = own.end()
        recorder.close()
        profiler.close()
        if is_chief:
            checkpointer.save_last(is_changed)
            checkpointer.leave_if_asked()
    if stopping is not None:
        stopping.restore_best(model)
    catch_up(model)  # after the last checkpoint, from which training may go on
    return recorder.points


@contextmanager
def _may_end(request: StopRequest, recorder: CurveRecorder) -> Iterator[None]:
    """Let who watches the curves end the training inside."""
    try:
        yield
    except TrainingEndedError:
        recorder.close()
        if request.signal is not None:
            request.leave()


def _require_defined_auc(config: TrainConfig, validation: Any) -> None:
    """Refuse to decide by an AUC that the labels of the curves leave undefined.

    Raises:
        InputError: If all rows have one label.
    """
    name, schedule = "", config.optimizer.schedule
    if config.early_stopping is not None and config.early_stopping.metric == "auc":
        name = "early_stopping.metric"
    elif isinstance(schedule, PlateauConfig) and schedule.metric == "auc":
        name = "optimizer.schedule.metric"
    if not name or validation is None:
        return
    labels = {float(label) for _, batch in validation for label in np.unique(batch)}
    if len(labels) == 1:
        raise InputError(
            f"{name} is auc, but all validation rows of the curves have the label "
            f"{labels.pop():g}: expected rows of both labels, or log_loss"
        )


def _fit_epoch(
    model: keras.Model,
    batches: tf.data.Dataset,
    epoch: int,
    steps: int,
    callbacks: list[keras.callbacks.Callback],
    is_chief: bool,
) -> None:
    # One call per epoch: the order of its rows follows from its number, however often
    # Keras begins to read them.
    model.fit(
        batches,
        initial_epoch=epoch,
        epochs=epoch + 1,
        callbacks=callbacks,
        # A terminal gets a progress bar; a log gets one line.
        verbose=(1 if sys.stdout.isatty() else 2) if is_chief else 0,
        shuffle=False,
        steps_per_epoch=steps,
    )


def _epochs_from(
    step: int, steps_per_epoch: int, num_epochs: int
) -> Iterator[tuple[int, int]]:
    """Yield each epoch that remains after `step` steps, and its steps already done."""
    first_epoch, num_done = divmod(step, steps_per_epoch)
    for epoch in range(first_epoch, num_epochs):
        yield epoch, num_done if epoch == first_epoch else 0


def _validator(
    model: keras.Model, batches: tf.data.Dataset | None
) -> Callable[[], BinaryMetrics] | None:
    if batches is None:
        return None
    return partial(evaluate, probabilities_of(model, batches), batches)


def _restore(
    checkpoints: CheckpointDirectory,
    variables: SavedVariables,
    run: RunDirectory,
    data_set: str,
    meaning: Meaning | None,
    devices: tf.distribute.Strategy,
) -> dict[str, Any]:
    """Restore the newest checkpoint, or return the initial state."""
    # The chief renames damaged checkpoints.
    with chief_first(devices, is_chief=run.restored_from is None):
        state = checkpoints.restore(variables, data_set, meaning)
    if state is None:
        state = {"step": 0, "seconds": 0.0, "points": [], "metrics": []}
    else:
        print(f"Going on after step {state['step']:,} of {run.home}")
    check_agreement(devices, state["step"])
    return state
