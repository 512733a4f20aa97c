"""Data sets and models whose paths and columns look like patterns or markup."""

import csv
import json

import numpy as np
import polars as pl
import pytest
import tensorflow as tf
import yaml

import pipelines.engines.local as local
from pipelines.ids.counting import ValueCounter
from pipelines.prepare import prepare
from pipelines.stages.spill import read_piece, write_piece
from pipelines.verify import verify
from tfdlrm.base import local_copies
from tfdlrm.base.remote_path import RemotePath
from tfdlrm.config import PrepareConfig
from tfdlrm.config.models import FMConfig
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_files import read_vocabulary, write_vocabulary
from tfdlrm.exporting.model_card import example_row
from tfdlrm.exporting.raw_graph import RawFeatures
from tfdlrm.exporting.raw_signatures import raw_arguments
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.models import build_model
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.serving.servable import Servable

DENSE = ["a$b", "^p.*$", "*", "price [€]"]
CATEGORICAL = ["x[1]", "x1", "new?", "news", "a/b", "..", "日付", "[red]c", "a|b"]
CATEGORICAL += [
    "file",
    "file.npy",
    "^.*$",
    "^no$",
    "*c",
    "y" * 300,
    "two\nlines",
    "ctr%",
    "🙂",
]
BAG = "bag*s"


def write_csv(path, names, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([names, *rows])
    return path


def one_column(path, values, rows=400):
    """Write a log of one categorical column whose values take turns."""
    return write_csv(
        path, ["y", "c"], [[i % 2, values[i % len(values)]] for i in range(rows)]
    )


@pytest.fixture
def one_column_config(tmp_path):
    (tmp_path / "columns.yaml").write_text("{label: y, categorical: [c]}")
    return PrepareConfig(min_frequency=1, columns=tmp_path / "columns.yaml")


def make_data_set(directory, categorical):
    """Return a log, its rows by column, and its data set."""
    rng = np.random.default_rng(1)
    names = ["label!", *DENSE, *categorical, BAG]
    rows = []
    for row in range(400):
        numbers = [f"{value:.2f}" for value in rng.random(len(DENSE))]
        # No value is in two columns.
        values = [f"{number}-{rng.integers(3)}" for number in range(len(categorical))]
        rows.append([row % 2, *numbers, *values, "|".join(rng.choice(["p", "q"], 2))])
    log = write_csv(directory / "log.csv", names, rows)
    description = {
        "label": "label!",
        "dense": [*DENSE[:2], {"name": DENSE[2], "transform": "none"}, DENSE[3]],
        "categorical": [*categorical, {"name": BAG, "separator": "|"}],
    }
    (directory / "columns.yaml").write_text(
        yaml.safe_dump(description, allow_unicode=True), encoding="utf-8"
    )
    config = PrepareConfig(min_frequency=1, columns=directory / "columns.yaml")
    prepare([log], directory / "data [1]", config)
    columns = {name: [str(row[i]) for row in rows] for i, name in enumerate(names)}
    return log, columns, directory / "data [1]"


@pytest.fixture(scope="module")
def awkward(tmp_path_factory):
    """A data set with every awkward column."""
    return make_data_set(tmp_path_factory.mktemp("awkward [x]"), CATEGORICAL)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A data set with two columns whose names match as patterns."""
    return make_data_set(tmp_path_factory.mktemp("pair [x]"), CATEGORICAL[:2])


def test_a_piece_is_read_by_its_own_name(tmp_path):
    for number, name in enumerate(("q?", "qa", "z[1]", "z1", "*")):
        (tmp_path / name).mkdir()
        frame = pl.DataFrame({"^v.*$": [number], "*": [-number], "value": [9]})
        write_piece(frame, tmp_path / name / "0.arrow")
    for number, name in enumerate(("q?", "qa", "z[1]", "z1", "*")):
        path = tmp_path / name / "0.arrow"
        assert read_piece(path).rows() == [(number, -number, 9)]
        assert read_piece(path, ["*", "^v.*$"]).rows() == [(-number, number)]


def test_counts_that_went_to_disk_are_read_by_their_own_name(tmp_path):
    folders = [tmp_path / name for name in ("w?", "wa")]
    counters = []
    for number, folder in enumerate(folders):
        folder.mkdir()
        counters.append(ValueCounter(memory_bytes=1, work=folder))
        for _ in range(2):
            counters[-1].add(pl.Series([number, 7], dtype=pl.UInt32))
    assert sorted(counters[0].counts()["value"].to_list()) == [0, 7]


@pytest.mark.parametrize(
    ("name", "neighbour", "step"),
    [("q?", "qa", "_make_vocabularies"), ("z[1]", "z1", "make_buckets")],
)
def test_a_data_set_takes_nothing_of_its_neighbour(
    tmp_path, one_column_config, monkeypatch, name, neighbour, step
):
    other_data = one_column(tmp_path / "other.csv", "defgh")
    log = one_column(tmp_path / "log.csv", "abc")

    def die(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(local, step, die)
        prepare([other_data], tmp_path / neighbour, one_column_config)
    assert any(tmp_path.glob(f".{neighbour}.partial/work/*.arrow"))
    schema = prepare([log], tmp_path / name, one_column_config)
    assert sum(shard.rows for shard in schema.shards) == 400
    vocabulary = pl.read_parquet(
        (tmp_path / name / "vocabulary/c.parquet").read_bytes()
    )
    assert sorted(vocabulary["value"]) == ["a", "b", "c"]
    assert verify(tmp_path / name) == []
    moved = (tmp_path / name).rename(tmp_path / "moved [x]*")
    assert verify(moved) == []


def test_every_column_has_its_own_ids(awkward):
    _, columns, data = awkward
    assert verify(data) == []
    schema = FeatureSchema.load(data)
    for feature in schema.categorical_features[:-1]:
        assert feature.vocabulary_size == 3 + 2, feature.name
    coverage = json.loads((data / "coverage.json").read_text())
    for feature in coverage["features"][:-1]:
        assert feature["coverage"]["train"] == 1, feature["name"]
        assert feature["distinct"] == len(set(columns[feature["name"]]))


def features_of(path, bag):
    """Return the bytes of a shard's records, without the name of the bag."""
    records = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        names = ["label", "dense_features", "categorical_features"]
        names += [f"{bag}.values", f"{bag}.row_lengths"]
        records.append([features[name].bytes_list.value[0] for name in names])
    return records


@pytest.mark.parametrize("log_format", ["csv", "parquet"])
def test_names_that_polars_takes_for_patterns_are_names(tmp_path, log_format):
    """The ids are those of the same log under ordinary names."""
    rng = np.random.default_rng(2)
    numbers = range(300)
    log = {
        "y": [["no", "yes", "no"][i % 3] for i in numbers],
        "t": [1_700_000_000 + 3_600 * i for i in numbers],
        "p": [round(value, 3) for value in rng.random(300)],
        "q": [None if i % 7 == 0 else i for i in numbers],
        "c": [f"c{rng.integers(5)}" for _ in numbers],
        "d": [f"d{rng.integers(5)}" if i % 5 else None for i in numbers],
        "b": ["|".join(rng.choice(["r", "s"], i % 3)) for i in numbers],
    }
    awkward = ["^y.*$", "^.*$", "*", "^q$", "^c.*$", "x[1]*", "^b.*$"]
    schemas, coverages = [], []
    for number, names in enumerate((list(log), awkward)):
        names = dict(zip(log, names, strict=True))
        frame = pl.DataFrame({names[name]: values for name, values in log.items()})
        directory = tmp_path / str(number)
        directory.mkdir()
        path = directory / f"log.{log_format}"
        frame.write_csv(path) if log_format == "csv" else frame.write_parquet(path)
        columns = {
            "format": log_format,
            "label": {"name": names["y"], "positive": "yes", "negative": ["no"]},
            "dense": [names["p"], {"name": names["q"], "transform": "none"}],
            "categorical": [names["c"], names["d"]],
            "split": {"time": names["t"]},
        }
        columns["categorical"].append({"name": names["b"], "separator": "|"})
        (directory / "columns.yaml").write_text(yaml.safe_dump(columns))
        config = PrepareConfig(
            min_frequency=1,
            columns=directory / "columns.yaml",
            validation_days=1,
            test_days=1,
        )
        schemas.append(prepare([path], directory / "data", config))
        coverages.append(json.loads((directory / "data" / "coverage.json").read_text()))
    ordinary_schema, awkward_schema = schemas
    assert ordinary_schema.vocabulary_sizes == awkward_schema.vocabulary_sizes
    assert [shard.rows for shard in ordinary_schema.shards] == [
        s.rows for s in awkward_schema.shards
    ]
    for split in ("train", "validation", "test"):
        (path,) = (tmp_path / "0" / "data" / split).iterdir()
        (awkward_path,) = (tmp_path / "1" / "data" / split).iterdir()
        assert features_of(path, "b") == features_of(awkward_path, "^b.*$")
    for feature, awkward_feature in zip(
        *(coverage["features"] for coverage in coverages), strict=True
    ):
        assert {**feature, "name": awkward_feature["name"]} == awkward_feature


def write_model(data, directory):
    schema = FeatureSchema.load(data)
    model = build_model(schema, FMConfig(embedding_dim=2, initial_bound=1.0))
    return export_model(model, schema, data, directory)


def scores(model, log):
    output = log.parent / "scores.csv"
    predict(PredictCommand(model, log, output))
    return np.loadtxt(output, skiprows=1)


def raw_scores(model, columns):
    """Return the scores that the graph computes from text."""
    scorer = load_scorer(model)
    texts = {
        argument: tf.constant(columns[name])
        for argument, name in raw_arguments(scorer.schema).items()
    }
    return scorer.module.signatures["raw"](**texts)["probability"].numpy().ravel()


@pytest.mark.slow
def test_a_model_is_scored_by_its_own_weights_and_vocabularies(pair):
    log, columns, data = pair
    models = data.parent / "models"
    write_model(data, models / "m1")
    version = write_model(data, models / "m[1]")
    probabilities = {name: scores(models / name, log) for name in ("m1", "m[1]")}
    assert np.abs(probabilities["m1"] - probabilities["m[1]"]).max() > 0.01
    (models / "m1").rename(models / "m?")
    np.testing.assert_allclose(
        raw_scores(models / "m?", columns), probabilities["m1"], atol=1e-6
    )
    np.testing.assert_allclose(
        raw_scores(version, columns), probabilities["m[1]"], atol=1e-6
    )
    servable = Servable("m", 1, version)  # as the server loads it
    assert set(servable.signatures["raw"].inputs) == {*DENSE, "x[1]", "x1", BAG}
    assets = {path.name for path in (version / "assets").iterdir()}
    assert assets == {"x%5B1%5D.txt", "x1.txt", "bag%2As.txt"}


@pytest.mark.parametrize("name", ["m[1]", "m?", "m*", "a\\b"])
def test_weights_are_loaded_from_a_path_as_it_is_written(tmp_path, name):
    for model, bias in (("m1", 1.0), (name, 2.0)):
        module = tf.Module()
        module.bias = tf.Variable(bias)
        tf.saved_model.save(module, str(tmp_path / model))
    with local_copies.literal(tmp_path / name) as path:
        assert tf.saved_model.load(str(path)).bias.numpy() == 2.0


def test_values_are_those_of_the_column_and_the_folder(tmp_path):
    for folder in ("m[1]", "m1"):
        for name in ("x[1]", "x1"):
            value = pl.Series([f"{folder} {name}"])
            frame = pl.DataFrame({"value": value, "id": [2], "frequency": [1]})
            (tmp_path / folder).mkdir(exist_ok=True)
            write_vocabulary(frame, tmp_path / folder, name)
    for folder in ("m[1]", "m1"):
        for name in ("x[1]", "x1"):
            vocabulary = read_vocabulary(tmp_path / folder, name, num_values=1)
            assert vocabulary["value"].to_list() == [f"{folder} {name}"]
            schema = FeatureSchema((), (CategoricalFeature(name, 3),))
            features = RawFeatures(schema, tmp_path / folder, tmp_path)
            row = example_row(schema, features.categories)
            assert row == {name: f"{folder} {name}"}


@pytest.mark.slow
def test_a_model_has_every_awkward_column(awkward):
    log, columns, data = awkward
    version = write_model(data, data.parent / "models" / "m*")
    probabilities = scores(version, log)
    np.testing.assert_allclose(raw_scores(version, columns), probabilities, atol=1e-6)
    servable = Servable("m", 1, version)
    assert set(servable.signatures["raw"].inputs) == {*DENSE, *CATEGORICAL, BAG}
    assert len(list((version / "assets").iterdir())) == len(CATEGORICAL) + 1


def test_a_link_without_patterns_leads_to_an_awkward_folder(tmp_path):
    folder = tmp_path / "a [b]" / "c*"
    folder.mkdir(parents=True)
    with local_copies.literal(folder) as path:
        assert not set(str(path)) & set("*?[")
        assert path.samefile(folder)
    with local_copies.literal(folder / "dense") as path:  # the prefix of a checkpoint
        assert not set(str(path)) & set("*?[")
        assert path.name == "dense" and path.parent.samefile(folder)
    plain = tmp_path / "plain"
    with local_copies.literal(plain) as path:
        assert path == plain


def test_a_remote_folder_is_no_pattern(monkeypatch):
    """Only the names of its entries are matched."""
    tree = {"s3://b/m[1]": ["step-1", "step-2", "other"], "s3://b/m1": ["step-9"]}

    class Files:
        def isdir(self, path):
            return path in tree

        def listdir(self, path):
            return tree[path]

    monkeypatch.setattr(RemotePath, "_files", Files())
    paths = [str(path) for path in RemotePath("s3://b/m[1]").glob("step-*")]
    assert paths == ["s3://b/m[1]/step-1", "s3://b/m[1]/step-2"]
    assert list(RemotePath("s3://b/m*").glob("step-*")) == []
    tree["s3://b/n?"] = ["1", "2", "x"]
    tree["s3://b/n?/1"] = ["saved_model.pb"]
    paths = list(map(str, RemotePath("s3://b/n?").glob("[0-9]*/saved_model.pb")))
    assert paths == ["s3://b/n?/1/saved_model.pb"]
