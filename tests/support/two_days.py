"""Two days of a small log: their vocabularies, rows, and runs that learn from them."""

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import polars as pl
import tensorflow as tf

from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.checkpoints.entries import Piece
from tfdlrm.checkpoints.roles import ITERATIONS, roles_of
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.config import CheckpointConfig, OptimizerConfig, TrainConfig
from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.chain import ChainLink
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.reading import without_tuning
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.data.vocabulary_files import write_vocabulary
from tfdlrm.models import build_model
from tfdlrm.training.compiling import compile_model
from tfdlrm.training.distribution import strategy, tables_placed
from tfdlrm.training.fit import fit, make_reproducible, set_precision
from tfdlrm.training.run_directory import RunDirectory
from tfdlrm.training.trained_run import find_run
from tfdlrm.training.warm_start import WarmStart

STEPS = 5
BATCH_SIZE = 16
MODEL = DLRMConfig(
    embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8,), dropout=0.2
)

OLD_VALUES = {
    "user": [f"u{number}" for number in range(20)],
    "item": [f"i{number}" for number in range(9)],
    "country": ["de", "fr", "it"],
}
NEW_VALUES = {
    # An id was freed; three others have new values; three were added.
    "user": [
        None if number == 9 else f"u{number + 100 * (number in (4, 5, 6, 20, 21, 22))}"
        for number in range(23)
    ],
    "item": [*OLD_VALUES["item"], "i9"],
    "country": OLD_VALUES["country"],
}
NEW_USERS = {"u104", "u105", "u106", "u120", "u121", "u122"}
SEEN_TODAY = {"u0", "u1", *NEW_USERS, "i3", "i9", "de", "fr", "it"}


def first_day(directory):
    """The schema of a data set with the old values, whose vocabularies are written."""
    directory.mkdir(parents=True)
    for name, values in OLD_VALUES.items():
        frame = pl.DataFrame({"value": values}).with_row_index("id", 2)
        write_vocabulary(
            frame.select(
                "value", pl.col("id").cast(pl.Int32), pl.lit(9).alias("frequency")
            ),
            directory,
            name,
        )
    return _schema(OLD_VALUES, directory)


def second_day(directory, first):
    """The schema of a data set that extends the first."""
    directory.mkdir(parents=True)
    for name, values in NEW_VALUES.items():
        old_values = OLD_VALUES[name]
        is_old = [
            index < len(old_values) and old_values[index] == value
            for index, value in enumerate(values)
        ]
        frame = pl.DataFrame(
            {
                "value": values,
                "id": range(2, 2 + len(values)),
                "frequency": [9 if value else 0 for value in values],
                "since": [0 if old else 1 for old in is_old],
                "last_day": [1 if value in SEEN_TODAY else 0 for value in values],
            },
            schema_overrides=dict.fromkeys(("id", "since", "last_day"), pl.Int32),
        )
        write_vocabulary(frame, directory, name)
    link = ChainLink(
        Meaning.of(first).fingerprint,
        None,
        1,
        {
            feature.name: feature.vocabulary_size
            for feature in first.categorical_features
        },
    )
    return replace(_schema(NEW_VALUES, directory), chain=(link,), days=1)


def _schema(values, directory):
    features = tuple(
        CategoricalFeature(name, 2 + len(column)) for name, column in values.items()
    )
    schema = FeatureSchema(("price", "age"), features, columns={"label": "click"})
    return with_contents(schema, directory)


def reader(schema, first_epoch=0):
    """What reads the batches of a day, which is an epoch of the log."""

    def read(epoch, batch):
        rng = np.random.default_rng(first_epoch + epoch)
        num_rows = STEPS * BATCH_SIZE
        ids = [rng.integers(0, size, num_rows) for size in schema.vocabulary_sizes]
        features = {
            "dense_features": rng.random((num_rows, 2), np.float32),
            "categorical_features": np.stack(ids, 1),
        }
        label = (rng.random((num_rows, 1)) < 0.3).astype(np.float32)
        batches = tf.data.Dataset.from_tensor_slices((features, label))
        return batches.batch(BATCH_SIZE).skip(batch).with_options(without_tuning())

    return read


def settings(directory, **changes):
    optimizer = changes.pop("optimizer", "adagrad")
    if isinstance(optimizer, str):
        optimizer = OptimizerConfig(optimizer, 0.05)
    return TrainConfig(
        run_dir=directory,
        optimizer=optimizer,
        evaluations_per_epoch=1,
        **{"model": MODEL, "checkpoints": CheckpointConfig(minutes=None), **changes},
    )


def made(schema, config):
    """A compiled model as `train` makes it."""
    devices = strategy(config.strategy)
    make_reproducible(config.seed)
    set_precision(config)
    with ExitStack() as stack:
        stack.enter_context(devices.scope())
        stack.enter_context(tables_placed(devices, config.tables))
        model = build_model(schema, config.model)
        compile_model(model, config.optimizer, config.steps_per_execution)
    return model


def warm_start(data_dir, schema, config, open_source=find_run):
    """The beginning of a run, checked."""
    start = WarmStart(config.init_from, open_source, data_dir, schema, config)
    start.check()
    return start


def begun(data_dir, schema, config, open_source=find_run):
    """A model that has the first weights of a run, and the facts of its beginning."""
    model = made(schema, config)
    start = warm_start(data_dir, schema, config, open_source)
    facts = start.begin(model, SavedVariables(model), None)
    return model, facts


def trained(data_dir, schema, config, first_epoch=0):
    """The model of a run."""
    model = made(schema, config)
    start = config.init_from and WarmStart(
        config.init_from, find_run, data_dir, schema, config
    )
    read = reader(schema, first_epoch)
    with RunDirectory.opened(config) as run:
        fit(
            model,
            read,
            STEPS,
            None if config.early_stopping is None else read(99, 0),
            config,
            run,
            "rows",
            Meaning.of(schema),
            start and start.begin,
        )
    return model


def stored(schema, config, steps=5):
    """A run that was not trained: every number of its checkpoint is random."""
    model = made(schema, config)
    variables = SavedVariables(model)
    rng = np.random.default_rng(steps)
    for name, shape in variables.shapes.items():
        if variables.read(name).dtype == np.float32:
            values = rng.normal(size=shape).astype(np.float32)
            variables.assign(Piece(name, values))
    variables.assign(Piece(roles_of(model, variables)[ITERATIONS], np.int64(steps)))
    state = {
        "step": steps,
        "tables": None,
        "shapes": variables.shapes,
        "meaning": Meaning.of(schema).to_json(),
    }
    with RunDirectory.opened(config) as run:
        checkpoints = CheckpointDirectory(run.checkpoint_directory)
        checkpoints.write_step(steps, state, variables.all_pieces())


def values_of(model):
    """The values of all variables of a model and its optimizer, by name."""
    variables = SavedVariables(model)
    return {name: variables.read(name) for name in variables.shapes}


def assert_two_days_equal_one_run(directory, **changes):
    """Train two days by a warm start, and as two epochs, and compare all values."""
    schema = first_day(directory / "data")
    both_days = settings(directory / "both", epochs=2, **changes)
    expected = values_of(trained(directory / "data", schema, both_days))
    day_1 = settings(directory / "day1", **changes)
    trained(directory / "data", schema, day_1)
    # Another seed: nothing of the new model's own first weights may be left.
    day_2 = replace(day_1, run_dir=directory / "day2", init_from=day_1.run_dir, seed=5)
    values = values_of(trained(directory / "data", schema, day_2, first_epoch=1))
    assert values.keys() == expected.keys()
    for name, expected_values in expected.items():
        np.testing.assert_array_equal(values[name], expected_values, err_msg=name)
