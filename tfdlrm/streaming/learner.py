"""Learning from a click stream: predict first, then learn; `tfdlrm.train --stream`."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.base import storage
from tfdlrm.base.device_names import announce
from tfdlrm.base.devices import share_gpus
from tfdlrm.base.errors import InputError
from tfdlrm.base.local_copies import local_copy
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
    """A model that learns from a stream, with all that a checkpoint of it holds.

    Args:
        config: The settings.
        run: The run whose model it is.
        topic: The stream.
    """

    def __init__(self, config: StreamConfig, run: RunDirectory, topic: Topic) -> None:
        self._config, self._run, self._topic = config, run, topic
        trained = run.load_config()
        if trained.data_dir is None:
            raise InputError(f"{run.config_file} has no data_dir: add the run's")
        self._data_dir = trained.data_dir
        self._export_dir = config.export_dir or trained.versions_dir
        next_version(self._export_dir)  # before any work
        schema = FeatureSchema.load(self._data_dir)
        self.schema = with_contents(schema, self._data_dir)
        self._meaning = Meaning.of(self.schema)
        announce()
        make_reproducible(trained.seed)
        start_xla_quietly()
        set_precision(trained)
        self._model, base = self._trained_model(trained)
        frozen, _ = self._trained_model(trained) if config.compare_frozen else (None, 0)
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
        self.step = self._saved_step = int(state.get("step", base))
        self._writer = CheckpointWriter(checkpoints, variables, {"step": self.step})
        self._saved_at = self._exported_at = time.monotonic()
        self._exported_step: int | None = None
        self.offsets = {int(p): n for p, n in state.get("offsets", {}).items()}
        self.skipped: int = state.get("skipped", 0)
        # Not in the checkpoint: the last export comes after the last of these.
        self._exports = StreamExports(directory)
        self.validation = ProgressiveValidation(
            directory, config.measure_every, state.get("validation")
        )
        self._step = _step_function(self._model, frozen)
        size = config.batch_size or trained.batch_size
        vocabulary = storage.at(self._data_dir) / VOCABULARY_FOLDER
        if vocabulary.is_dir():  # the hash dialect has none
            vocabulary = local_copy(vocabulary)
        features_of = RawFeatures.load(vocabulary.parent, self.schema)
        self.batches = Batches(
            str(topic), self.schema, features_of, size, config.on_bad_event
        )

    def _trained_model(self, trained: TrainConfig) -> tuple[keras.Model, int]:
        """The model as the run left it, and its number of steps."""
        model = build_model(self.schema, trained.model)
        compile_model(model, trained.optimizer)
        path = self._run.checkpoint_directory
        state = CheckpointDirectory(path).restore(
            SavedVariables(model),
            self.schema.fingerprint,
            self._meaning,
            same_rows=False,
        )
        if state is None:
            raise InputError(f"{path} holds no checkpoint: did the training run?")
        stops_early = trained.early_stopping is not None
        load_kept_weights(model, self._run, stops_early, state)
        return model, int(state["step"])

    def learn(self, batch: Batch) -> None:
        """Predict the rows of a batch, take note of how well, and learn from them.

        Raises:
            InputError: If a prediction is not finite.
        """
        if len(batch.labels):
            found = [
                np.asarray(each)
                for each in self._step(batch.features, tf.constant(batch.labels))
            ]
            if not np.isfinite(found[0]).all():
                raise InputError(
                    f"the model predicts no finite number after step {self.step:,}: "
                    "the newest checkpoint may be as bad; train with a lower "
                    "--optimizer.learning_rate"
                )
            self.step += 1
            self.validation.add(batch.labels, *found)
        self.skipped += batch.skipped
        self.offsets.update(batch.offsets)

    def save_if_due(self) -> None:
        """Commit weights and offsets, and export, each when it is time."""
        config, now = self._config, time.monotonic()
        every, steps = config.checkpoints.minutes, config.checkpoints.steps
        is_late = every is not None and now >= self._saved_at + 60 * every
        has_many = steps is not None and self.step >= self._saved_step + steps
        if is_late or has_many:
            self.save()
        minutes = config.export_minutes
        is_due = minutes is not None and now >= self._exported_at + 60 * minutes
        if is_due and self.step != self._exported_step:
            try:
                self.export()
            except OSError as error:
                self._exported_at = now
                print(f"no version was written: {error}", flush=True)

    def save(self) -> None:
        """Commit: weights and the offsets of what they learned, in one checkpoint."""
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
                "room; the same command goes on from the one before"
            ) from error
        self._saved_step = self.step

    def export(self) -> None:
        """Write the next version for a server, and remove those long replaced.

        Raises:
            OSError: If the disk refuses.
        """
        origin = self._origin()
        exported = find_export(self._export_dir, origin) if origin else None
        if exported is None:
            exported = export_model(
                self._model,
                self.schema,
                self._data_dir,
                self._export_dir,
                ModelCard(origin=origin),
            )
        self._exported_at = time.monotonic()
        self._exported_step = self.step
        self._exports.add(exported)
        print(f"Model: {exported}", flush=True)

    def _origin(self) -> dict[str, Any] | None:
        """What distinguishes the weights, if a checkpoint has them."""
        checkpoint = self._checkpoints.identity()
        if checkpoint is None or self.step != self._saved_step:
            return None
        return {"checkpoint": checkpoint, "step": self.step}


def first_offsets(
    topic: Topic, learned: Mapping[int, int], ends: Mapping[int, int], start: str
) -> dict[int, int]:
    """Where each partition is read from.

    Args:
        topic: The stream.
        learned: The offsets behind what was learned from it so far.
        ends: The offset behind each partition's last event.
        start: Where a stream is begun, `earliest` or `latest`.

    Raises:
        InputError: If these are not the partitions of what was learned.
    """
    for partition, offset in learned.items():
        if offset > ends.get(partition, -1):
            there = f"ends at {ends[partition]}" if partition in ends else "is gone"
            raise InputError(
                f"{topic} partition {partition} {there}, but its events up to {offset} "
                "were learned: is it the same topic?"
            )
    # Of a partition that was added since, all events are new.
    at_end = start == "latest" and not learned
    first = {partition: end if at_end else 0 for partition, end in ends.items()}
    return {**first, **learned}


def learn(config: StreamConfig) -> None:
    """Learn from a stream until it is asked to stop, or at its end.

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
        places = ", ".join(f"{p} at {n:,}" for p, n in sorted(learner.offsets.items()))
        print(f"{topic}: partition {places}", flush=True)
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
                f"the last version cannot be written ({error}): make room, and give "
                "the same command again; what was learned is in a checkpoint"
            ) from error


def _follow(
    config: StreamConfig,
    learner: Learner,
    events: Events,
    ends: dict[int, int],
    request: StopRequest,
) -> None:
    """Learn event after event, until a signal or, if so asked, at the `ends`."""
    position = dict(learner.offsets)
    while request.signal is None:
        if config.stop_at_end and all(position[p] >= n for p, n in ends.items()):
            for batch in learner.batches.rest():
                learner.learn(batch)
            learner.validation.take()
            return
        chunk = events.next(_WAIT_SECONDS)
        if chunk is not None:
            if config.stop_at_end:
                chunk = chunk.up_to(ends[chunk.partition])
            position[chunk.partition] = chunk.offset + len(chunk.messages)
            for batch in learner.batches.add(chunk):
                learner.learn(batch)
                learner.save_if_due()
        learner.save_if_due()


def _step_function(
    model: keras.Model, frozen: keras.Model | None
) -> Callable[[dict[str, Any], tf.Tensor], list[tf.Tensor]]:
    """Probabilities of a batch, by the frozen model too; then the model learns it."""
    models = [model] if frozen is None else [model, frozen]

    @tf.function(reduce_retracing=True)
    def step(features: dict[str, Any], labels: tf.Tensor) -> list[tf.Tensor]:
        found = [tf.sigmoid(each(features, training=False)) for each in models]
        with tf.control_dependencies(found), tf.GradientTape() as tape:
            logits = model(features, training=True)
            loss = model.compute_loss(y=labels, y_pred=logits)
            loss = model.optimizer.scale_loss(loss)
        variables = [weight.value for weight in model.trainable_variables]
        gradients = tape.gradient(loss, variables)
        model.optimizer.apply(gradients, model.trainable_variables)
        return found

    return step
