"""Training on a click stream, `tfdlrm.train --stream`: first predict, then learn."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.base import local_copies, storage
from tfdlrm.base.device_names import announce
from tfdlrm.base.devices import share_gpus
from tfdlrm.base.errors import InputError
from tfdlrm.base.signals import StopRequest, stop_requests
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.checkpoints.writer import CheckpointWriter
from tfdlrm.config import TrainConfig
from tfdlrm.config.stream import StreamConfig
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.schema import VOCABULARY_FOLDER, FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.exporting.model_card import ModelCard
from tfdlrm.exporting.raw_rows import RawFeatures
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.exporting.versions import find_export, next_version
from tfdlrm.models import build_model
from tfdlrm.streaming.batches import Batch, Batches
from tfdlrm.streaming.events import Events, Topic, partition_ends
from tfdlrm.streaming.exports import StreamExports
from tfdlrm.streaming.progressive import ProgressiveValidation
from tfdlrm.training.best_weights import load_kept_weights
from tfdlrm.training.fit import (
    compile_model,
    make_reproducible,
    set_precision,
    start_xla_quietly,
)
from tfdlrm.training.run_directory import RunDirectory

_WAIT_SECONDS = 0.5


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
        self._export_dir = config.export_dir or run_config.versions_dir
        next_version(self._export_dir)  # refuses a full directory before any work
        schema = FeatureSchema.load(self._data_dir)
        self.schema = with_contents(schema, self._data_dir)
        self._meaning = Meaning.of(self.schema)
        announce()
        make_reproducible(run_config.seed)
        start_xla_quietly()
        set_precision(run_config)
        self._model, run_step = self._load_model(run_config)
        frozen = self._load_model(run_config)[0] if config.compare_frozen else None
        directory = run.home / "stream"
        storage.make_directories(directory)
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
        vocabulary = storage.at(self._data_dir) / VOCABULARY_FOLDER
        if vocabulary.is_dir():  # not after hashing
            vocabulary = local_copies.local_copy(vocabulary)
        features_of = RawFeatures.load(vocabulary.parent, self.schema)
        self.batches = Batches(
            str(topic), self.schema, features_of, batch_size, config.on_bad_event
        )

    def _load_model(self, run_config: TrainConfig) -> tuple[keras.Model, int]:
        """Return the model that the run trained, and its number of steps."""
        model = build_model(self.schema, run_config.model)
        compile_model(model, run_config.optimizer)
        path = self._run.checkpoint_directory
        state = CheckpointDirectory(path).restore(
            SavedVariables(model),
            self.schema.fingerprint,
            self._meaning,
            same_rows=False,
        )
        if state is None:
            raise InputError(f"{path} holds no checkpoint: did the training run?")
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
            try:
                self.export()
            except OSError as error:
                self._exported_at = now
                print(f"no version was written: {error}", flush=True)

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
                ModelCard(self._run.settings, origin=origin),
            )
        self._exported_at = time.monotonic()
        self._exported_step = self.step
        self._exports.add(version)
        print(f"Model: {version}", flush=True)

    def _origin(self) -> dict[str, Any] | None:
        """Return an identification of the weights, if a checkpoint has them."""
        checkpoint = self._checkpoints.identity()
        if checkpoint is None or self.step != self._saved_step:
            return None
        return {"checkpoint": checkpoint, "step": self.step}


def first_offsets(
    topic: Topic, learned: Mapping[int, int], ends: Mapping[int, int], start: str
) -> dict[int, int]:
    """Return the offset of the first event to read from each partition.

    Args:
        topic: The stream.
        learned: For each partition, the offset after the last learned event.
        ends: For each partition, the offset after its last event.
        start: Where a new stream begins, `earliest` or `latest`.

    Raises:
        InputError: If a partition ends before the offset that was learned.
    """
    for partition, offset in learned.items():
        if offset > ends.get(partition, -1):
            state = f"ends at {ends[partition]}" if partition in ends else "is gone"
            raise InputError(
                f"{topic} partition {partition} {state}, but its events up to {offset} "
                "were learned: is it the same topic?"
            )
    # All events of a partition that was added later are new.
    at_end = start == "latest" and not learned
    starts = {partition: end if at_end else 0 for partition, end in ends.items()}
    return {**starts, **learned}


def learn(config: StreamConfig) -> None:
    """Learn from a stream until the process is asked to stop, or to the stream's end.

    Raises:
        InputError: If the run, the stream or one of its events cannot be used.
    """
    share_gpus()
    topic = Topic.from_url(config.stream, config.kafka)
    run = RunDirectory(config.run_dir)
    run.load_config()
    run.load_summary()
    with run.only_process():
        ends = partition_ends(topic)
        learner = Learner(config, run, topic)
        learner.offsets = first_offsets(topic, learner.offsets, ends, config.start)
        positions = [
            f"{partition} at {offset:,}"
            for partition, offset in sorted(learner.offsets.items())
        ]
        print(f"{topic}: partition {', '.join(positions)}", flush=True)
        with stop_requests() as request:
            _follow(config, learner, Events(topic, learner.offsets), ends, request)
        learner.save()
        if learner.skipped:
            print(f"{learner.skipped:,} events could not be read and were left out")
        if request.signal is not None:
            events = learner.validation.events
            print(f"stopped after {events:,} events, which are saved", flush=True)
            request.leave()
        try:
            learner.export()
        except OSError as error:
            raise InputError(
                f"the last version cannot be written ({error}): make room, and run "
                "the same command again; a checkpoint has what was learned"
            ) from error


def _follow(
    config: StreamConfig,
    learner: Learner,
    events: Events,
    ends: dict[int, int],
    request: StopRequest,
) -> None:
    """Learn event after event, until a signal or, with `stop_at_end`, to the `ends`."""
    positions = dict(learner.offsets)
    while request.signal is None:
        is_at_end = all(positions[partition] >= end for partition, end in ends.items())
        if config.stop_at_end and is_at_end:
            for batch in learner.batches.flush():
                learner.learn(batch)
            learner.validation.add_point()
            return
        chunk = events.next(_WAIT_SECONDS)
        if chunk is not None:
            if config.stop_at_end:
                chunk = chunk.up_to(ends[chunk.partition])
            positions[chunk.partition] = chunk.offset + len(chunk.messages)
            for batch in learner.batches.add(chunk):
                learner.learn(batch)
                learner.save_if_due()
        learner.save_if_due()


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
