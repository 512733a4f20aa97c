"""A model that learns from a click stream: it predicts each row before it learns it."""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.base import directories, local_copies, storage
from tfdlrm.base.device_names import announce
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.checkpoints.writer import CheckpointWriter
from tfdlrm.config import TrainConfig
from tfdlrm.config.models import require_rows_to_normalize
from tfdlrm.config.stream import StreamConfig
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.schema import VOCABULARY_FOLDER, FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.exporting.model_card import ModelCard
from tfdlrm.exporting.other_columns import require_same_columns
from tfdlrm.exporting.raw_rows import RawFeatures
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.exporting.versions import find_export, next_version
from tfdlrm.models.ensemble import build_ensemble
from tfdlrm.streaming.batches import Batch, Batches
from tfdlrm.streaming.events import Topic
from tfdlrm.streaming.exports import StreamExports
from tfdlrm.streaming.progressive import ProgressiveValidation
from tfdlrm.training.best_weights import load_kept_weights
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.fit import make_reproducible, set_precision, start_xla_quietly
from tfdlrm.training.plateau import resume_schedules
from tfdlrm.training.run_directory import RunDirectory


class Learner:
    """A model that learns from a stream, and the state that its checkpoints hold.

    Args:
        config: The settings.
        run: The run that trained the model.
        topic: The stream.
    """

    def __init__(self, config: StreamConfig, run: RunDirectory, topic: Topic) -> None:
        self._config, self._run, self._topic = config, run, topic
        run_config = run.load_config()
        if run_config.data_dir is None:
            raise InputError(f"{run.config_file} has no data_dir: add the run's")
        self._data_dir = run_config.data_dir
        self._export_dir = (
            config.export_dir or run.versions_dir or run_config.versions_dir
        )
        next_version(self._export_dir)  # refuses a full directory before any work
        schema = FeatureSchema.load(self._data_dir)
        self.schema = with_contents(schema, self._data_dir)
        require_same_columns(
            self._export_dir, self.schema, self._data_dir, config.allow_other_columns
        )
        self._meaning = Meaning.of(self.schema)
        announce()
        make_reproducible(run_config.seed)
        start_xla_quietly()
        set_precision(run_config)
        self._model, run_step = self._load_model(run_config)
        frozen = self._load_model(run_config)[0] if config.compare_frozen else None
        directory = run.home / "stream"
        directories.make_directories(directory)
        self._checkpoints = checkpoints = CheckpointDirectory(
            directory / "checkpoints", config.checkpoints.keep
        )
        variables = SavedVariables(self._model)
        state = checkpoints.restore(variables, meaning=self._meaning) or {}
        if state.get("topic", topic.name) != topic.name:
            raise InputError(
                f"{directory} learned from the topic {state['topic']} so far, not from "
                f"{topic.name}: give another run, or remove {directory}"
            )
        self.step = self._saved_step = int(state.get("step", run_step))
        self._writer = CheckpointWriter(checkpoints, variables, {"step": self.step})
        self._saved_at = self._exported_at = time.monotonic()
        self._exported_step: int | None = None
        self.offsets = {
            int(partition): offset
            for partition, offset in state.get("offsets", {}).items()
        }
        self.skipped: int = state.get("skipped", 0)
        # Not in the checkpoint: the last export comes after the last checkpoint.
        self._exports = StreamExports(directory)
        self.validation = ProgressiveValidation(
            directory, config.measure_every, state.get("validation")
        )
        self._step = _step_function(self._model, frozen)
        batch_size = config.batch_size or run_config.batch_size
        require_rows_to_normalize(run_config.model, batch_size)
        vocabulary = storage.at(self._data_dir) / VOCABULARY_FOLDER
        if vocabulary.is_dir():  # not after hashing
            vocabulary = local_copies.local_copy(vocabulary)
        features_of = RawFeatures.load(vocabulary.parent, self.schema)
        self.batches = Batches(
            str(topic), self.schema, features_of, batch_size, config.on_bad_event
        )

    def _load_model(self, run_config: TrainConfig) -> tuple[keras.Model, int]:
        """Return the model that the run trained, and its number of steps."""
        model = build_ensemble(self.schema, run_config.model, run_config.ensemble)
        steps = -(-self.schema.num_rows("train") // run_config.batch_size)
        optimizer = run_config.optimizer.in_steps(steps, run_config.epochs)
        compile_model(model, optimizer)
        path = self._run.checkpoint_directory
        state = CheckpointDirectory(path).restore(
            SavedVariables(model),
            self.schema.fingerprint,
            self._meaning,
            same_rows=False,
        )
        if state is None:
            raise InputError(f"{path} holds no checkpoint: did the training run?")
        resume_schedules(model.optimizer, run_config.optimizer.schedule, state)
        stops_early = run_config.early_stopping is not None
        load_kept_weights(model, self._run, stops_early, state)
        return model, int(state["step"])

    def learn(self, batch: Batch) -> None:
        """Predict the rows of a batch, measure the predictions, and learn the rows.

        Raises:
            InputError: If a prediction is not finite.
        """
        if len(batch.labels):
            probabilities = [
                np.asarray(tensor)
                for tensor in self._step(batch.features, tf.constant(batch.labels))
            ]
            if not np.isfinite(probabilities[0]).all():
                raise InputError(
                    f"the model predicts no finite number after step {self.step:,}: "
                    "the newest checkpoint may be as bad; train with a lower "
                    "--optimizer.learning_rate"
                )
            self.step += 1
            self.validation.add(batch.labels, *probabilities)
        self.skipped += batch.skipped
        self.offsets.update(batch.offsets)

    def save_if_due(self) -> None:
        """Save a checkpoint if it is due, and export if that is due."""
        now, due = time.monotonic(), self._config.checkpoints
        has_minutes = (
            due.minutes is not None and now >= self._saved_at + 60 * due.minutes
        )
        has_steps = due.steps is not None and self.step >= self._saved_step + due.steps
        if has_minutes or has_steps:
            self.save()
        minutes = self._config.export_minutes
        is_due = minutes is not None and now >= self._exported_at + 60 * minutes
        if is_due and self.step != self._exported_step:
            problem: object = self.one_class_problem()
            try:
                if problem is None:
                    self.export()
            except OSError as error:
                problem = error
            if problem is not None:
                self._exported_at = now
                print(f"no version was written: {problem}", flush=True)

    def one_class_problem(self) -> str | None:
        """Return the problem with events of one label, unless they are allowed."""
        label = self.validation.only_label
        if label is None or self._config.allow_one_class:
            return None
        return (
            f"all {self.validation.events:,} events so far have label {label}, of "
            "which nothing is learned: does what writes them set the label? "
            "--allow_one_class exports all the same"
        )

    def save(self) -> None:
        """Save the weights, and the offsets up to which they learned, together."""
        self._saved_at = time.monotonic()
        if self.step == self._saved_step:
            return
        state = {
            "step": self.step,
            "topic": self._topic.name,
            "meaning": self._meaning.to_json(),
            "offsets": self.offsets,
            "skipped": self.skipped,
            "validation": self.validation.state,
        }
        try:
            self._writer.save(self.step, state)
        except OSError as error:
            raise InputError(
                f"no checkpoint of step {self.step:,} can be written ({error}): make "
                "room; the same command resumes from the previous checkpoint"
            ) from error
        self._saved_step = self.step

    def export(self) -> None:
        """Write the next version for a server, and remove old versions.

        Raises:
            OSError: If the disk refuses.
        """
        origin = self._origin()
        version = find_export(self._export_dir, origin) if origin else None
        if version is None:
            version = export_model(
                self._model,
                self.schema,
                self._data_dir,
                self._export_dir,
                ModelCard(self._run.settings, origin=origin, training=self._training),
                allow_other_columns=self._config.allow_other_columns,
            )
        self._exported_at = time.monotonic()
        self._exported_step = self.step
        self._exports.add(version)
        print(f"Model: {version}", flush=True)

    @property
    def _training(self) -> dict[str, Any]:
        """What the weights have learned, for the card of a model."""
        return {
            "steps": self.step,
            "stream": str(self._topic),
            "events": self.validation.events,
            "events_left_out": self.skipped,
        }

    def _origin(self) -> dict[str, Any] | None:
        """Return an identification of the weights, if a checkpoint has them."""
        checkpoint = self._checkpoints.identity()
        if checkpoint is None or self.step != self._saved_step:
            return None
        return {"checkpoint": checkpoint, "step": self.step}


def _step_function(
    model: keras.Model, frozen: keras.Model | None
) -> Callable[[dict[str, Any], tf.Tensor], list[tf.Tensor]]:
    """Return a function that scores a batch, with both models, and then learns it."""
    models = [model] if frozen is None else [model, frozen]

    @tf.function(reduce_retracing=True)
    def step(features: dict[str, Any], labels: tf.Tensor) -> list[tf.Tensor]:
        probabilities = [
            tf.sigmoid(scorer(features, training=False)) for scorer in models
        ]
        with tf.control_dependencies(probabilities), tf.GradientTape() as tape:
            logits = model(features, training=True)
            loss = model.compute_loss(y=labels, y_pred=logits)
            loss = model.optimizer.scale_loss(loss)
        variables = [weight.value for weight in model.trainable_variables]
        gradients = tape.gradient(loss, variables)
        model.optimizer.apply(gradients, model.trainable_variables)
        return probabilities

    return step
