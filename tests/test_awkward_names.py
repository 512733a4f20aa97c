"""Data sets and models whose paths and columns look like patterns or markup."""

import csv
import json

import numpy as np
import polars as pl
import pytest
import tensorflow as tf
import yaml

import pipelines.engines.local as local
from pipelines.counting import ValueCounter
from pipelines.prepare import prepare
from pipelines.spill import read_piece, write_piece
from pipelines.verify import verify
from tfdlrm import storage
from tfdlrm.config import PrepareConfig
from tfdlrm.model_config import FMConfig
from tfdlrm.models import build_model
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.remote_path import RemotePath
from tfdlrm.schema import FeatureSchema
from tfdlrm.serving.saved_model import export_model, load_scorer
from tfdlrm.serving.servable import Servable
from tfdlrm.serving.signatures import raw_arguments

DENSE = ["a$b", "^p.*$", "*", "price [€]"]
CATEGORICAL = ["x[1]", "x1", "new?", "news", "a/b", "..", "日付", "[red]c", "a|b"]
CATEGORICAL += ["file", "file.npy", "^.*$", "*c", "y" * 300, "two\nlines", "ctr%", "🙂"]
BAG = "bag*s"


def write_csv(path, names, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([names, *rows])
    return path


def one_column(path, values, rows=400):
    """A log of one categorical column that takes turns."""
    return write_csv(
        path, ["y", "c"], [[i % 2, values[i % len(values)]] for i in range(rows)]
    )


@pytest.fixture
def one_column_config(tmp_path):
    (tmp_path / "columns.yaml").write_text("{label: y, categorical: [c]}")
    return PrepareConfig(min_frequency=1, columns=tmp_path / "columns.yaml")


@pytest.fixture(scope="module")
def awkward(tmp_path_factory):
    """The log, its rows by column, and the data set."""
    directory = tmp_path_factory.mktemp("awkward [x]")
    rng = np.random.default_rng(1)
    names = ["label!", *DENSE, *CATEGORICAL, BAG]
    rows = []
    for row in range(400):
        numbers = [f"{value:.2f}" for value in rng.random(len(DENSE))]
        # Every value of a column is in no other one.
        values = [f"{number}-{rng.integers(3)}" for number in range(len(CATEGORICAL))]
        rows.append([row % 2, *numbers, *values, "|".join(rng.choice(["p", "q"], 2))])
    log = write_csv(directory / "log.csv", names, rows)
    described = {
        "label": "label!",
        "dense": [*DENSE[:2], {"name": DENSE[2], "transform": "none"}, DENSE[3]],
        "categorical": [*CATEGORICAL, {"name": BAG, "separator": "|"}],
    }
    (directory / "columns.yaml").write_text(
        yaml.safe_dump(described, allow_unicode=True), encoding="utf-8"
    )
    config = PrepareConfig(min_frequency=1, columns=directory / "columns.yaml")
    prepare([log], directory / "data [1]", config)
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return log, columns, directory / "data [1]"


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
    other = one_column(tmp_path / "other.csv", "defgh")
    log = one_column(tmp_path / "log.csv", "abc")

    def die(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(local, step, die)
        prepare([other], tmp_path / neighbour, one_column_config)
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
    described = json.loads((data / "coverage.json").read_text())
    for feature in described["features"][:-1]:
        assert feature["coverage"]["train"] == 1, feature["name"]
        assert feature["distinct"] == len(set(columns[feature["name"]]))


@pytest.fixture(scope="module")
def models(awkward):
    """Two models of other weights, `m[1]` and `m1`."""
    _, _, data = awkward
    schema = FeatureSchema.load(data)
    directory = data.parent / "models"
    for name in ("m1", "m[1]"):  # the first is there while the second is written
        model = build_model(schema, FMConfig(embedding_dim=2, initial_bound=1.0))
        export_model(model, schema, data, directory / name)
    return directory


def scores(model, log):
    output = log.parent / "scores.csv"
    predict(PredictCommand(model, log, output))
    return np.loadtxt(output, skiprows=1)


def test_a_model_is_scored_by_its_own_weights_and_vocabularies(awkward, models):
    log, columns, _ = awkward
    found = {name: scores(models / name, log) for name in ("m1", "m[1]")}
    assert np.abs(found["m1"] - found["m[1]"]).max() > 0.01
    models.joinpath("m1").rename(models / "m?")
    np.testing.assert_array_equal(scores(models / "m?", log), found["m1"])
    np.testing.assert_array_equal(scores(models / "m[1]", log), found["m[1]"])
    # By the graph, and as the server loads it.
    scorer = load_scorer(models / "m[1]")
    texts = {
        argument: tf.constant([str(each) for each in columns[name]])
        for argument, name in raw_arguments(scorer.schema).items()
    }
    answer = scorer.module.signatures["raw"](**texts)["probability"].numpy().ravel()
    np.testing.assert_allclose(answer, found["m[1]"], atol=1e-6)
    servable = Servable("m", 1, models / "m[1]" / "1")
    assert servable.signatures.keys() >= {"raw", "serving_default"}
    assert set(servable.signatures["raw"].inputs) == {*DENSE, *CATEGORICAL, BAG}


def test_assets_have_escaped_names(models):
    version = next(models.glob("m[[]1]")) / "1"
    assets = {path.name for path in (version / "assets").iterdir()}
    assert {"x%5B1%5D.txt", "x1.txt", "a%2Fb.txt", "日付.txt"} <= assets
    assert len(assets) == len(CATEGORICAL) + 1


def test_a_link_without_patterns_leads_to_an_awkward_folder(tmp_path):
    folder = tmp_path / "a [b]" / "c*"
    folder.mkdir(parents=True)
    with storage.literal(folder) as path:
        assert not set(str(path)) & set("*?[")
        assert path.samefile(folder)
    with storage.literal(folder / "dense") as path:  # the prefix of a checkpoint
        assert not set(str(path)) & set("*?[")
        assert path.name == "dense" and path.parent.samefile(folder)
    plain = tmp_path / "plain"
    with storage.literal(plain) as path:
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
    found = [str(path) for path in RemotePath("s3://b/m[1]").glob("step-*")]
    assert found == ["s3://b/m[1]/step-1", "s3://b/m[1]/step-2"]
    assert list(RemotePath("s3://b/m*").glob("step-*")) == []
    tree["s3://b/n?"] = ["1", "2", "x"]
    tree["s3://b/n?/1"] = ["saved_model.pb"]
    found = list(map(str, RemotePath("s3://b/n?").glob("[0-9]*/saved_model.pb")))
    assert found == ["s3://b/n?/1/saved_model.pb"]
