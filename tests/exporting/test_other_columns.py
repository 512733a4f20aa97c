"""The next version of a model has the columns of the newest one, unless asked for."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.small_models import CONFIGS, random_model, schema
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.data.chain import ChainLink
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting.other_columns import require_same_columns
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.train import train

SCHEMA = FeatureSchema(
    dense_features=("price", "age"),
    categorical_features=(CategoricalFeature("user", 9), CategoricalFeature("item", 7)),
    vocabulary_contents={"user": "a" * 64, "item": "b" * 64},
)


def version(export_dir, number=1, columns=SCHEMA, name="saved_model.pb"):
    """Write the directory of a version, without a model in it."""
    extra = export_dir / str(number) / "assets.extra"
    extra.mkdir(parents=True)
    (extra.parent / name).touch()
    if columns is not None:
        columns.save(extra)
    return extra.parent


def check(export_dir, columns=SCHEMA, **options):
    require_same_columns(export_dir, columns, Path("data/new"), **options)


def extended(columns=SCHEMA):
    """Return the schema of a data set with more values, that extends another."""
    sizes = {
        feature.name: feature.vocabulary_size for feature in SCHEMA.categorical_features
    }
    link = ChainLink(Meaning.of(columns).fingerprint, None, 1, sizes)
    features = tuple(
        replace(feature, vocabulary_size=feature.vocabulary_size + 2)
        for feature in columns.categorical_features
    )
    return replace(
        columns,
        categorical_features=features,
        vocabulary_contents={"user": "c" * 64, "item": "d" * 64},
        chain=(link,),
    )


def test_the_first_version_and_equal_columns_are_taken(tmp_path):
    check(tmp_path / "missing")
    version(tmp_path)
    check(tmp_path)
    check(tmp_path, replace(SCHEMA, split={"days": 9}, min_frequency=4))


USER, ITEM = SCHEMA.categorical_features


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dense_features": ("price",)}, "dense columns: age is there, and not here"),
        ({"dense_features": ("age", "price")}, "dense columns: price, age there, age"),
        ({"categorical_features": (ITEM, USER)}, "categorical columns: user, item"),
        ({"untransformed": ("age",)}, "column age: transform log1p there, none here"),
        ({"label": "bought"}, "label: column label there, bought here"),
        ({"columns": {"positive": "yes"}}, "label: positive is '1' there, 'yes' here"),
        (
            {"categorical_features": (USER, replace(ITEM, multi_hot=True))},
            "column item: several values a row here only",
        ),
        (
            {"vocabulary_contents": {"user": "a" * 64, "item": "c" * 64}},
            r"column item: another vocabulary \(5 values there, 5 here\).*--extend",
        ),
        ({"dialect": "hash", "hash_buckets": 5}, "dialect: default there, hash here"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_clients_could_not_use_is_refused(tmp_path, capsys, changes, reason):
    version(tmp_path, 3)
    columns = replace(SCHEMA, **changes)
    message = f"has version 3, whose clients.* of data/new: {reason}"
    with pytest.raises(InputError, match=message) as refused:
        check(tmp_path, columns)
    assert "--allow_other_columns" in str(refused.value)
    assert "\n" not in str(refused.value)
    check(tmp_path, columns, allows_other=True)
    assert "3 has other columns: " in capsys.readouterr().out


def test_data_that_extends_that_of_the_version_is_taken(tmp_path):
    version(tmp_path)
    check(tmp_path, extended())
    with pytest.raises(InputError, match="another vocabulary"):
        check(tmp_path, replace(extended(), chain=()))


def test_going_back_to_fewer_ids_is_refused(tmp_path):
    version(tmp_path, columns=extended())
    with pytest.raises(InputError, match="9 values there, 7 here"):
        check(tmp_path)


def test_the_newest_version_counts(tmp_path):
    version(tmp_path, 2, replace(SCHEMA, label="bought"))
    version(tmp_path, 10)
    check(tmp_path)
    (tmp_path / "11").mkdir()  # empty, perhaps still being copied
    check(tmp_path)
    version(tmp_path, 12, replace(SCHEMA, label="bought"))
    with pytest.raises(InputError, match="has version 12"):
        check(tmp_path)


def test_a_model_of_another_tool_or_file_format_is_refused(tmp_path):
    version(tmp_path / "keras", columns=None)
    with pytest.raises(InputError, match=r"has no assets.extra/schema.json"):
        check(tmp_path / "keras")
    version(tmp_path / "onnx", name="model.onnx")
    with pytest.raises(InputError, match=r"has no saved_model.pb"):
        check(tmp_path / "onnx")
    check(tmp_path / "onnx", format="onnx")


def test_a_damaged_schema_is_named(tmp_path):
    path = version(tmp_path) / "assets.extra" / "schema.json"
    path.write_text(path.read_text().replace("price", "pride"))
    with pytest.raises(InputError, match=r"cannot be read .*schema\.json"):
        check(tmp_path)
    check(tmp_path, allows_other=True)


def test_an_exported_model_is_compared_with_the_version_before(tmp_path):
    config = CONFIGS["logistic_regression"]
    models, data = tmp_path / "models", tmp_path / "data"
    data.mkdir()
    export_model(random_model(config), schema(), data, models)
    other = schema(num_dense=2)
    model = random_model(config, num_dense=2)
    with pytest.raises(InputError, match="dense columns: I3 is there, and not here"):
        export_model(model, other, data, models)
    assert [path.name for path in models.glob("*")] == ["1"]
    assert not list(models.glob(".*.partial"))
    path = export_model(model, other, data, models, allow_other_columns=True)
    assert path == models / "2"


def test_neither_training_nor_export_begins_with_other_columns(
    tmp_path, data_dir, small_config, exported
):
    models = tmp_path / "models"
    version(models)
    config = TrainConfig(data_dir, run_dir=tmp_path / "run", export_dir=models)
    with pytest.raises(InputError, match=f"{models} has version 1, whose clients"):
        train(config)
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=f"{models} has version 1, whose clients"):
        export(ExportCommand(small_config.run_dir, models))
    assert [path.name for path in models.iterdir()] == ["1"]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"run_dir": Path("runs/first"), "data_dir": Path("data/clicks")}, "first"),
        ({"data_dir": Path("data/clicks")}, "clicks"),
        ({"data_dir": Path("data/clicks/")}, "clicks"),
        ({"raw": Path("logs/day.one.csv.gz")}, "day"),
        ({"raw": Path("logs/day.csv"), "data_dir": Path("data/clicks")}, "clicks"),
        ({}, "dlrm"),
        ({"export_dir": Path("elsewhere/m"), "data_dir": Path("data/clicks")}, None),
    ],
)
def test_models_are_named_after_the_run_or_the_data(settings, name):
    expected = Path("saved_models") / name if name else Path("elsewhere/m")
    assert TrainConfig(**settings).versions_dir == expected


def test_a_data_set_that_is_here_has_the_name_of_its_directory(tmp_path, monkeypatch):
    (tmp_path / "clicks" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "clicks" / "below")
    versions_dir = TrainConfig(data_dir=Path("..")).versions_dir
    assert versions_dir == Path("saved_models/clicks")
