"""Fitting a model and writing down how it learned."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from tfdlrm import optimizers
from tfdlrm.base.quiet_start import without_greeting
from tfdlrm.base.signals import stop_requests
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.checkpoints.writer import CheckpointWriter
from tfdlrm.config import OptimizerConfig, TrainConfig
from tfdlrm.data.meaning import Meaning
from tfdlrm.metrics.binary import BinaryMetrics
from tfdlrm.metrics.splits import evaluate
from tfdlrm.training.curves import CurvePoint, CurveRecorder
from tfdlrm.training.distribution import check_agreement, chief_first
from tfdlrm.training.early_stopping import EarlyStopping
from tfdlrm.training.profiling import Profiler
from tfdlrm.training.run_directory import RunDirectory
from tfdlrm.training.safeguards import (
    Checkpointer,
    FiniteLoss,
    MetricsRestorer,
    StopWithChief,
    restored_points,
)

_OPTIMIZERS = {
    "sgd": optimizers.SGD,
    "adagrad": optimizers.Adagrad,
    "row_wise_adagrad": optimizers.RowWiseAdagrad,
    "lazy_adam": optimizers.LazyAdam,
}


def compile_model(
    model: keras.Model, config: OptimizerConfig, steps_per_execution: int = 1
) -> None:
    """Give `model` its optimizer, loss and the metrics of the curves."""
    optimizer: Any = _OPTIMIZERS[config.name](learning_rate=_learning_rate(config))
    if model.dtype_policy.name == "mixed_float16":
        optimizer = optimizers.LossScaleOptimizer(optimizer)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0),
            keras.metrics.AUC(name="auc", from_logits=True),
        ],
        steps_per_execution=steps_per_execution,
    )


def _learning_rate(config: OptimizerConfig) -> Any:
    if not config.has_schedule:
        return config.learning_rate
    return optimizers.WarmUpPolynomialDecay(
        config.learning_rate,
        config.warm_up_steps,
        config.decay_start_step,
        config.decay_steps,
    )


def make_reproducible(seed: int) -> None:
    """Let the same seed give the same numbers, bit for bit on processors.

    Args:
        seed: Seed of initial weights and dropout.
    """
    keras.utils.set_random_seed(seed)
    if not tf.config.list_physical_devices("GPU"):
        # SGD adds to a row that several threads may name at once. On a GPU its
        # scatter-add is made of atomic additions, in whatever order they come. The
        # other optimizers sum repeated rows first, for which TensorFlow 2.17 has an
        # ordered kernel there too; it was never tried.
        tf.config.experimental.enable_op_determinism()


def set_precision(config: TrainConfig) -> None:
    """Compute from now on in the precision of a run, and in no lower one.

    TensorFlow has GPUs round what they multiply to TF32 unless told otherwise; that is
    a choice of its own here.
    """
    keras.config.set_dtype_policy(config.precision)
    tf.config.experimental.enable_tensor_float_32_execution(config.tf32)


def probabilities_of(
    model: keras.Model, batches: tf.data.Dataset
) -> Callable[[dict[str, Any]], tf.Tensor]:
    """Return the function from features to click probabilities, compiled once.

    Args:
        model: The model.
        batches: Batches of features and labels such as the function will be given.
    """
    # Of bags of ids no two batches have the same shape.
    features, _ = batches.element_spec
    return tf.function(
        lambda features: tf.sigmoid(model(features, training=False)),
        input_signature=[features],
    )


def start_xla_quietly() -> None:
    """Use XLA, as training does, for the first time, without its greeting."""
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
) -> list[CurvePoint]:
    """Train a compiled model, or go on where the run was left.

    Args:
        model: The model.
        read: From the number of an epoch and that of a batch in it to the batches of
            the epoch from there on.
        steps_per_epoch: Batches of an epoch.
        validation: Batches to watch, or `None`.
        config: Number of epochs, of points in the curves, and of checkpoints.
        run: The run's directory.
        data_set: What tells the data set from others; a checkpoint knows its own.
        meaning: What its ids and labels mean, which a checkpoint knows too.

    Returns:
        The learning curves.

    Raises:
        InputError: If the loss is not finite, the checkpoints cannot be used, or the
            last one cannot be written.
        KeyboardInterrupt, SystemExit: If a signal asked to stop, which it has.
    """
    start_xla_quietly()
    checkpoints = CheckpointDirectory(run.checkpoint_directory, config.checkpoints.keep)
    variables = SavedVariables(model)
    variables.watch_tables()
    devices = model.distribute_strategy
    state = _restore(checkpoints, variables, run, data_set, meaning, devices)
    is_chief = run.restored_from is None
    writer = CheckpointWriter(checkpoints, variables, state)
    recorder = CurveRecorder(
        run,
        every=-(-steps_per_epoch // config.evaluations_per_epoch),
        steps_per_epoch=steps_per_epoch,
        validate=_validator(model, validation) if is_chief else None,
        points=restored_points(state),
        step=state["step"],
        seconds=state["seconds"],
    )

    def batch_at(step: int) -> Any:
        return next(iter(read(*divmod(step, steps_per_epoch))))

    with stop_requests() as request, writer:
        facts: dict[str, Any] = {"data_set": data_set}
        if meaning is not None:
            facts["meaning"] = meaning.to_json()
        checkpointer = Checkpointer(
            writer, config.checkpoints, recorder, request, facts
        )
        profiler = Profiler(run, recorder, config.profile_steps)
        stopping = None
        if config.early_stopping is not None:
            stopping = EarlyStopping(run, recorder, config.early_stopping)
        callbacks = [
            FiniteLoss(run, recorder, batch_at),
            recorder,
            profiler,
            # Before a signal can end the run in the checkpointer's turn.
            *([stopping] if stopping else []),
            checkpointer if is_chief else StopWithChief(request),
        ]
        if state["metrics"]:
            # Metrics have variables only once they have been computed.
            model.evaluate(read(0, 0), steps=1, verbose=0)
            callbacks.append(MetricsRestorer(state["metrics"]))
        # There may be nothing left to fit, but still a last checkpoint to write.
        checkpointer.set_model(model)
        for epoch, steps_done in _epochs_from(
            state["step"], steps_per_epoch, config.epochs
        ):
            if stopping is not None and stopping.is_over:
                break
            steps = steps_per_epoch - steps_done
            _fit_epoch(
                model, read(epoch, steps_done), epoch, steps, callbacks, is_chief
            )
        recorder.close()
        profiler.close()
        if is_chief:
            checkpointer.save_last()
            checkpointer.leave_if_asked()
    if stopping is not None:
        stopping.restore_best(model)
    return recorder.points


def _fit_epoch(
    model: keras.Model,
    batches: tf.data.Dataset,
    epoch: int,
    steps: int,
    callbacks: list[keras.callbacks.Callback],
    is_chief: bool,
) -> None:
    # An epoch a call: the order of its rows follows from its number, however often
    # Keras starts to read them.
    model.fit(
        batches,
        initial_epoch=epoch,
        epochs=epoch + 1,
        callbacks=callbacks,
        # A bar that redraws itself is for a terminal; a log gets a line.
        verbose=(1 if sys.stdout.isatty() else 2) if is_chief else 0,
        shuffle=False,
        steps_per_epoch=steps,
    )


def _epochs_from(
    step: int, steps_per_epoch: int, num_epochs: int
) -> Iterator[tuple[int, int]]:
    """Yield the epochs that remain after `step` steps, with their steps done."""
    first_epoch, steps_done = divmod(step, steps_per_epoch)
    for epoch in range(first_epoch, num_epochs):
        yield epoch, steps_done if epoch == first_epoch else 0


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
    # The chief puts damaged checkpoints aside.
    with chief_first(devices, is_chief=run.restored_from is None):
        state = checkpoints.restore(variables, data_set, meaning)
    if state is None:
        state = {"step": 0, "seconds": 0.0, "points": [], "metrics": []}
    else:
        print(f"Going on after step {state['step']:,} of {run.home}")
    check_agreement(devices, state["step"])
    return state
