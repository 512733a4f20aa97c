"""Values without an id in a model are counted, and reported if there are many."""

import json

import numpy as np
import polars as pl
import pytest

from pipelines.prepare import prepare
from tests.support.own_log import CONFIG, DESCRIPTION, ROWS, write_log
from tests.support.raw_rows import make_rows, read_plainly, write_rows
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.unknown_values import UnknownValues, usual_shares
from tfdlrm.evaluate import EvaluateCommand, evaluate_model
from tfdlrm.exporting.raw_rows import RawFeatures
from tfdlrm.predict import PredictCommand, predict

CRITEO = make_rows(700)

pytestmark = pytest.mark.usefixtures("loaded_once")


def own_features(directory):
    columns = directory / "columns.yaml"
    columns.write_text(DESCRIPTION)
    log = write_log(directory / "log.csv", ROWS)
    config = CONFIG.__class__(**{**vars(CONFIG), "columns": columns})
    prepare([log], directory / "data", config)
    return RawFeatures.load(directory / "data", FeatureSchema.load(directory / "data"))


def report_of(features, frame):
    features(frame)
    return features.unknown.report()


@pytest.mark.parametrize("max_index_range", [None, 20])
def test_a_value_that_shares_an_id_in_the_facebook_dialect_counts(
    tmp_path, max_index_range
):
    raw = write_rows(tmp_path / "train.txt", CRITEO)
    config = PrepareConfig(dialect="facebook", max_index_range=max_index_range)
    prepare([raw], tmp_path / "data", config)
    features = RawFeatures.load(
        tmp_path / "data", FeatureSchema.load(tmp_path / "data")
    )
    values = read_plainly(CRITEO)[2]
    known_values = {(row[0] or 0) % (max_index_range or 2**32) for row in values}
    queries = [*range(60), None]
    expected = sum(
        v is not None and v % (max_index_range or 2**32) not in known_values
        for v in queries
    )
    table = features.tables[0]
    series = pl.Series("C1", queries, pl.UInt32)
    assert table.are_unknown(series, table.ids(series)).sum() == expected


def test_every_value_has_a_bucket_in_the_hash_dialect(tmp_path):
    raw = write_rows(tmp_path / "train.txt", CRITEO)
    prepare([raw], tmp_path / "data", PrepareConfig(dialect="hash", hash_buckets=30))
    features = RawFeatures.load(
        tmp_path / "data", FeatureSchema.load(tmp_path / "data")
    )
    frame = pl.DataFrame(
        {
            name: pl.Series([None], dtype=pl.Int64)
            for name in features.columns.dense_features
        }
        | {
            name: pl.Series([77], dtype=pl.UInt32)
            for name in features.columns.single_hot
        }
    )
    assert report_of(features, frame) == []


def test_unknown_values_of_bags_and_of_whole_rows_are_counted(tmp_path):
    features = own_features(tmp_path)
    frame = pl.DataFrame(
        {
            "price": [1.0, 2.0, 3.0, 4.0],
            "age": [1.0, 2.0, 3.0, 4.0],
            "user": ["u1", "U1", "U2", None],
            "tags": [["news", "NEWS"], [], ["News"], []],
            "shops": [["3"], [], [], []],
        },
        schema_overrides={"tags": pl.List(pl.String), "shops": pl.List(pl.String)},
    )
    counts, user, tags, rows = report_of(features, frame)
    assert counts == "unknown values: user 2 of 4 (50.00%), tags 2 of 5 (40.00%)"
    assert user.startswith("warning: user: 2 of 4 values (50.00%) are unknown")
    # Two of the three tags, next to two empty bags.
    assert tags.startswith("warning: tags: 2 of 5 values (40.00%) are unknown")
    assert tags.endswith("'NEWS', 'News'; are they written as in training?")
    assert rows == (
        "warning: 2 of 4 rows have no known value in any categorical column"
    )


def test_a_share_as_in_the_data_set_is_no_warning():
    counts = UnknownValues(["C1"], {"C1": 0.25})
    rows = counts.rows(100)
    rows.add("C1", pl.Series(["a"] * 100), np.arange(100) < 30)
    assert counts.report() == ["unknown values: C1 30 of 100 (30.00%)"]


@pytest.mark.parametrize(
    ("usual", "is_told"), [(0.5, True), (0.9, True), (0.97, False)]
)
def test_a_column_that_is_often_unknown_and_now_always_is_a_warning(usual, is_told):
    counts = UnknownValues(["C1"], {"C1": usual})
    counts.add("C1", num_values=100, num_unknown=100)
    assert (len(counts.report()) == 2) == is_told


def test_as_many_new_values_as_the_day_before_had_are_usual(tmp_path):
    shares = {"unknown": {"train": 0.02}, "unknown_before": {"train": 0.2}}
    columns = [{"name": "C1", **shares}, {"name": "C2", "unknown": {"train": 0.1}}]
    (tmp_path / "coverage.json").write_text(json.dumps({"features": columns}))
    assert usual_shares(tmp_path) == {"C1": 0.2, "C2": 0.1}


def test_nothing_unknown_is_nothing_to_report():
    counts = UnknownValues(["C1"])
    counts.rows(2).add("C1", pl.Series(["a", "b"]), np.array([False, False]))
    assert counts.report() == []


def test_predict_reports_the_shares_that_plain_python_counts(
    exported, data_dir, tmp_path, capfd
):
    rows = make_rows(400)
    raw = write_rows(tmp_path / "clicks.tsv", rows)
    vocabulary = pl.read_parquet(data_dir / "vocabulary" / "C1.parquet")
    known_values = set(vocabulary["value"])
    values = [row[0] for row in read_plainly(rows)[2]]
    unknown = sum(value is not None and value not in known_values for value in values)
    predict(PredictCommand(exported, raw, tmp_path / "scores.csv"))
    messages = capfd.readouterr().err
    assert f"C1: {unknown} of 400 values ({unknown / 400:.2%}) are unknown" in messages
    usual = json.loads((data_dir / "coverage.json").read_text())["features"][0]
    assert f"{max(usual['unknown'].values()):.2%} in its data set" in messages


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    path = tmp_path_factory.mktemp("labelled") / "clicks.tsv"
    return write_rows(path, CRITEO)


def test_evaluate_measures_a_raw_log_as_scikit_learn_does(
    exported, labelled, tmp_path, capfd
):
    metrics = pytest.importorskip("sklearn.metrics")
    predict(PredictCommand(exported, labelled, tmp_path / "scores.csv"))
    expected_report = capfd.readouterr().err
    labels = read_plainly(CRITEO)[0]
    scores = np.loadtxt(tmp_path / "scores.csv", skiprows=1)
    json_file = tmp_path / "measures.json"
    evaluate_model(EvaluateCommand(exported, raw=labelled, output_file=json_file))
    measures = json.loads(json_file.read_text())["raw"]
    assert measures["rows"] == 700
    assert measures["auc"] == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert measures["log_loss"] == pytest.approx(metrics.log_loss(labels, scores), 1e-5)
    assert capfd.readouterr().err == expected_report


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "neither is given, expected one"),
        ({"data_dir": "a", "raw": "b"}, "both are given, expected one"),
        ({"raw": "b", "splits": ("test",)}, "splits goes with data_dir"),
    ],
)
def test_evaluate_takes_a_data_set_or_a_log(settings, message):
    with pytest.raises(InputError, match=message):
        EvaluateCommand("model", **settings)


def test_a_log_without_labels_cannot_be_evaluated(exported, tmp_path):
    rows = [row.split(b"\t", 1)[1] for row in CRITEO[:20]]
    raw = write_rows(tmp_path / "clicks.tsv", rows)
    with pytest.raises(InputError, match="its rows have no label"):
        evaluate_model(EvaluateCommand(exported, raw=raw))
