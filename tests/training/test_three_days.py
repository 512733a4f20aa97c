"""Warm starts over prepared days with bags of ids, the last of which forgets."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from pipelines.prepare import prepare
from tests.support.days_of_shop import COLUMNS, make_day, write_day
from tests.support.two_days import begun, made, settings, stored, values_of
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.config import PrepareConfig
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.runs.beginning import open_source


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Data sets and runs of three days, and a model of the first."""
    root = tmp_path_factory.mktemp("shop")
    (root / "columns.yaml").write_text(COLUMNS)
    for day in range(3):
        log = root / f"day{day}.csv"
        write_day(log, make_day(day))
        base = {"columns": root / "columns.yaml", "min_frequency": 3}
        if day:
            base = {"extend": root / f"set{day - 1}"}
        forget = {"forget_days": 1} if day == 2 else {}
        config = PrepareConfig(**base, **forget, validation_days=0, test_days=0)
        prepare([log], root / f"set{day}", config)
        stored(schema_of(root, day), settings(root / f"run{day}"), steps=5 + day)
    model = restored(root, 0)
    export_model(model, schema_of(root, 0), root / "set0", root / "model0")
    return root


def schema_of(root, day):
    directory = root / f"set{day}"
    return with_contents(FeatureSchema.load(directory), directory)


def restored(root, day):
    model = made(schema_of(root, day), settings(root / f"run{day}"))
    path = root / f"run{day}" / "checkpoints"
    CheckpointDirectory(path).restore(SavedVariables(model))
    return model


def kept_ids(root, column, source_day, day):
    """The ids that have one value on both days, and on all between."""
    vocabularies = [
        pl.read_parquet(vocabulary_path(root / f"set{number}", column))
        for number in range(source_day, day + 1)
    ]
    pairs = [
        {(value, number) for value, number in zip(v["value"], v["id"], strict=True)}
        for v in vocabularies
    ]
    common = set.intersection(*pairs)
    return {0, 1} | {number for value, number in common if value is not None}


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("source", "source_day", "day"),
    [("run0", 0, 1), ("run1", 1, 2), ("run0", 0, 2), ("model0", 0, 2)],
)
def test_each_id_that_kept_its_value_brings_its_rows(source, source_day, day, shop):
    schema, old_schema = schema_of(shop, day), schema_of(shop, source_day)
    config = replace(settings(shop / "next", seed=7), init_from=shop / source)
    model, facts = begun(shop / f"set{day}", schema, config, open_source)
    expected, old = (
        values_of(made(schema, config)),
        values_of(restored(shop, source_day)),
    )
    values, num_tables = values_of(model), 0
    for name, old_rows in old.items():
        if old_rows.shape[:1] != (sum(old_schema.vocabulary_sizes),):
            continue
        if name.startswith("optimizer") and source == "model0":
            continue
        num_tables += 1
        old_start = start = 0
        for feature, old_feature in zip(
            schema.categorical_features, old_schema.categorical_features, strict=True
        ):
            for number in kept_ids(shop, feature.name, source_day, day):
                expected[name][start + number] = old_rows[old_start + number]
            old_start += old_feature.vocabulary_size
            start += feature.vocabulary_size
        np.testing.assert_array_equal(values[name], expected[name])
    assert num_tables == (1 if source == "model0" else 2)
    for feature, counts in zip(
        schema.categorical_features, facts["tables"], strict=True
    ):
        num_kept = len(kept_ids(shop, feature.name, source_day, day))
        assert counts["table"] == feature.name
        assert counts["carried"] == num_kept
        assert counts["new"] == feature.vocabulary_size - num_kept


def test_values_no_longer_seen_are_counted(shop):
    config = replace(settings(shop / "next"), init_from=shop / "run0")
    _, facts = begun(shop / "set1", schema_of(shop, 1), config, open_source)
    rows = pl.read_csv(shop / "day1.csv", infer_schema=False)
    seen = set(rows["user"])
    users = pl.read_parquet(vocabulary_path(shop / "set0", "user"))["value"]
    table = next(table for table in facts["tables"] if table["table"] == "user")
    assert table["unseen"] == sum(user not in seen for user in users) > 0


def test_a_model_of_a_later_day_or_another_chain_is_refused(shop, tmp_path):
    config = replace(settings(shop / "next"), init_from=shop / "run2")
    with pytest.raises(InputError, match="set1 does not extend the data set of"):
        begun(shop / "set1", schema_of(shop, 1), config, open_source)
    again = {"columns": shop / "columns.yaml", "min_frequency": 3}
    prepared = PrepareConfig(**again, validation_days=0, test_days=0)
    schema = prepare([shop / "day1.csv"], tmp_path / "other", prepared)
    config = replace(config, init_from=shop / "run0")
    with pytest.raises(InputError, match="other does not extend the data set of"):
        begun(tmp_path / "other", schema, config, open_source)


def test_values_are_those_of_the_run_where_nothing_changed(shop):
    config = replace(settings(shop / "next", seed=7), init_from=shop / "run2")
    model, facts = begun(shop / "set2", schema_of(shop, 2), config, open_source)
    values, expected = values_of(model), values_of(restored(shop, 2))
    for name in expected:
        if expected[name].shape:
            np.testing.assert_array_equal(values[name], expected[name])
    assert facts["steps"] == 7
