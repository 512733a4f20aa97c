"""What a warm start carries over where ids are new, forgotten or no longer seen."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.support.two_days import (
    MODEL,
    begun,
    first_day,
    made,
    second_day,
    settings,
    stored,
    values_of,
)
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.config.models import DeepFMConfig, LogisticRegressionConfig, MFConfig
from tfdlrm.data.column_files import vocabulary_path

MODELS = {
    "dlrm": MODEL,
    "dlrm with buckets": replace(MODEL, dense_bucket_width=0.25),
    "deepfm": DeepFMConfig(embedding_dim=4, deep_units=(8,)),
    "logistic_regression": LogisticRegressionConfig(),
    "mf": MFConfig("user", "item", embedding_dim=4),
}
COLUMNS = ("user", "item", "country")


def ids_by_value(directory, column):
    vocabulary = pl.read_parquet(vocabulary_path(directory, column))
    pairs = zip(vocabulary["value"], vocabulary["id"], strict=True)
    return {value: number for value, number in pairs if value is not None}


def ids_of_both(directory, column):
    """The old and the new id of each value that has both, and of no value."""
    old_ids = ids_by_value(directory / "day1", column)
    new_ids = ids_by_value(directory / "day2", column)
    common = [(old_ids[value], new_ids[value]) for value in old_ids & new_ids.keys()]
    return [(0, 0), (1, 1), *common]


def sizes_of(schema, columns):
    sizes = {
        feature.name: feature.vocabulary_size for feature in schema.categorical_features
    }
    return [sizes[column] for column in columns]


class Days:
    """A run on the first day, and what begins with it on the second."""

    def __init__(self, directory, **changes):
        self.directory = directory
        self.first = first_day(directory / "day1")
        self.second = second_day(directory / "day2", self.first)
        self.config = settings(directory / "run1", **changes)
        stored(self.first, self.config)

    def source(self):
        """The values of the first run, restored as when it is resumed."""
        alone = replace(self.config, strategy="default", tables="replicated")
        model = made(self.first, alone)
        path = self.directory / "run1" / "checkpoints"
        CheckpointDirectory(path).restore(SavedVariables(model))
        return values_of(model)

    def next_config(self, **changes):
        return replace(
            self.config,
            run_dir=self.directory / "run2",
            init_from=self.config.run_dir,
            seed=3,
            **changes,
        )

    def begun(self, **changes):
        config = self.next_config(**changes)
        model, facts = begun(self.directory / "day2", self.second, config)
        return values_of(model), facts

    def fresh(self, **changes):
        return values_of(made(self.second, self.next_config(**changes)))


def expected_values(days, columns, source, fresh):
    """Whatever the first run has, and in tables what the two vocabularies say."""
    old_sizes = sizes_of(days.first, columns)
    new_sizes = sizes_of(days.second, columns)
    expected = {}
    for name, values in source.items():
        if values.shape[:1] != (sum(old_sizes),):
            is_learning_rate = values.shape == () and values.dtype == np.float32
            expected[name] = fresh[name] if is_learning_rate else values
            continue
        expected[name] = fresh[name].copy()
        for column, old_start, new_start in zip(
            columns,
            np.cumsum([0, *old_sizes]),
            np.cumsum([0, *new_sizes]),
            strict=False,
        ):
            for old_id, new_id in ids_of_both(days.directory, column):
                expected[name][new_start + new_id] = values[old_start + old_id]
    return expected


def assert_equal(values, expected):
    assert values.keys() == expected.keys()
    for name, expected_values in expected.items():
        np.testing.assert_array_equal(values[name], expected_values, err_msg=name)


def test_the_numbers_that_are_compared_are_not_those_of_a_new_model(tmp_path):
    days = Days(tmp_path)
    source, fresh = days.source(), days.fresh()
    assert not any(
        np.array_equal(values, fresh[name])
        for name, values in source.items()
        if name != "variables/9"  # the seed of dropout
    )


@pytest.mark.slow_variants
@pytest.mark.parametrize("name", MODELS)
def test_every_row_and_its_state_equal_their_source(name, tmp_path):
    days = Days(tmp_path, model=MODELS[name])
    source = days.source()
    values, _ = days.begun()
    columns = COLUMNS[:2] if name == "mf" else COLUMNS
    expected = expected_values(days, columns, source, days.fresh())
    assert_equal(values, expected)
    changed = [key for key in expected if expected[key].shape != source[key].shape]
    assert len(changed) == (4 if name in ("deepfm", "mf") else 2)


@pytest.mark.slow_variants
@pytest.mark.parametrize("optimizer", ["sgd", "row_wise_adagrad", "lazy_adam"])
def test_so_does_the_state_of_every_optimizer(optimizer, tmp_path):
    days = Days(tmp_path, optimizer=optimizer)
    values, _ = days.begun()
    assert_equal(values, expected_values(days, COLUMNS, days.source(), days.fresh()))


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "mirrored"},
        {"strategy": "mirrored", "tables": "sharded"},
        {"tables": "host"},
        {"precision": "mixed_bfloat16", "batch_size": 512},
    ],
)
def test_the_rows_go_wherever_the_tables_are(changes, tmp_path):
    days = Days(tmp_path)
    values, _ = days.begun(**changes)
    fresh = days.fresh(**changes)
    assert_equal(values, expected_values(days, COLUMNS, days.source(), fresh))


def test_tables_on_two_devices_come_to_one(tmp_path):
    days = Days(tmp_path, strategy="mirrored", tables="sharded")
    changes = {"strategy": "default", "tables": "replicated"}
    values, _ = days.begun(**changes)
    fresh = days.fresh(**changes)
    assert_equal(values, expected_values(days, COLUMNS, days.source(), fresh))


NUM_COLLISIONS = 3


def test_ids_that_share_rows_bring_them(tmp_path):
    model = replace(MODEL, num_collisions=NUM_COLLISIONS, collision_threshold=10)
    days = Days(tmp_path, model=model)
    source, fresh = days.source(), days.fresh()
    values, facts = days.begun()
    shared, alone = COLUMNS[:2], COLUMNS[2:]
    old_sizes, new_sizes = sizes_of(days.first, shared), sizes_of(days.second, shared)
    expected = expected_values(days, alone, source, fresh)
    old_rows = [-(-size // NUM_COLLISIONS) for size in old_sizes] + [3, 3]
    new_rows = [-(-size // NUM_COLLISIONS) for size in new_sizes] + [3, 3]
    old_starts, new_starts = np.cumsum([0, *old_rows]), np.cumsum([0, *new_rows])
    for name in source:
        if source[name].shape[:1] != (sum(old_rows),):
            continue
        expected[name] = fresh[name].copy()
        for position, column in enumerate(shared):
            for old_id, new_id in ids_of_both(tmp_path, column):
                for table, row in (
                    (position, old_id // NUM_COLLISIONS),
                    (position + 2, old_id % NUM_COLLISIONS),
                ):
                    assert old_id == new_id
                    expected[name][new_starts[table] + row] = source[name][
                        old_starts[table] + row
                    ]
    assert_equal(values, expected)
    # The three ids of one row have new values.
    assert [tuple(table.values()) for table in facts["tables"]] == [
        ("user, quotients", 9, 7, 2, 5),
        ("item, quotients", 4, 4, 0, 2),
        ("user, remainders", 3, 3, 0, 0),
        ("item, remainders", 3, 3, 0, 0),
        ("country", 5, 5, 0, 0),
    ]


def test_the_numbers_of_rows_are_those_of_the_vocabularies(tmp_path):
    days = Days(tmp_path)
    _, facts = days.begun()
    # Of 20 users one was forgotten and three ids have new values; three ids are new.
    assert facts["tables"] == [
        {"table": "user", "rows": 25, "carried": 18, "new": 7, "unseen": 14},
        {"table": "item", "rows": 12, "carried": 11, "new": 1, "unseen": 8},
        {"table": "country", "rows": 5, "carried": 5, "new": 0, "unseen": 0},
    ]
    assert facts["steps"] == 5
