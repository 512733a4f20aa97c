"""Print the copies of a training step: `python -m tests.support.fake_gpu.step JSON`.

The JSON is a list of settings: those of a run, and `table_scale`, by which tables have
more rows than the data set has ids. One JSON line of copies for each is printed.
"""

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

import keras

from tests.support.fake_gpu.machine import Copies
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.config import OptimizerConfig
from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.models import build_model
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.distribution import distributed, strategy, tables_placed

MODEL = DLRMConfig(embedding_dim=16, bottom_mlp_units=(16,), top_mlp_units=(16,))
FIRST, LAST = 2, 6
"""Steps at whose ends copies are counted."""


class Counter(keras.callbacks.Callback):
    """Counts copies at the end of some steps."""

    def on_train_begin(self, logs=None):
        self.copies = []

    def on_train_batch_end(self, batch, logs=None):
        if batch in (FIRST, LAST):
            self.copies.append(Copies.read(Path(os.environ["FAKE_GPU_COPIES"])))


def copies_per_step(
    data_dir,
    batch_size,
    name="default",
    tables="replicated",
    optimizer="adagrad",
    precision="float32",
    table_scale=1,
):
    """Train a model as `tfdlrm.train` does, and return the copies of a step."""
    schema = FeatureSchema.load(Path(data_dir))
    keras.config.set_dtype_policy(precision)
    devices = strategy(name)
    with devices.scope(), tables_placed(devices, tables):
        model = build_model(_with_larger_tables(schema, table_scale), MODEL)
        compile_model(model, OptimizerConfig(optimizer))
    SavedVariables(model).watch_tables()
    batches = distributed(
        devices,
        lambda share: read_split(
            Path(data_dir), schema, "train", batch_size, (0, 0), 0, share
        ),
    )
    counter = Counter()
    model.fit(
        batches, steps_per_epoch=LAST + 1, verbose=0, shuffle=False, callbacks=[counter]
    )
    before, after = map(asdict, counter.copies)
    return {name: (after[name] - before[name]) / (LAST - FIRST) for name in before}


def _with_larger_tables(schema, scale):
    features = tuple(
        replace(feature, vocabulary_size=scale * feature.vocabulary_size)
        for feature in schema.categorical_features
    )
    return replace(schema, categorical_features=features)


if __name__ == "__main__":
    for settings in json.loads(sys.argv[1]):
        print(json.dumps(copies_per_step(**settings)), flush=True)
