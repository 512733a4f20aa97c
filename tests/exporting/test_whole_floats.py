"""The category `7.0` is the integer 7, from every source."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from pipelines.logs.columns import Columns
from pipelines.logs.columns_file import load_columns
from pipelines.logs.json_rows import JsonRows
from pipelines.logs.opening import open_log
from pipelines.prepare import prepare
from tests.support.served import Served
from tfdlrm.config import PrepareConfig
from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.meaning_differences import differences
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.saved_model import export_model
from tfdlrm.models import build_model
from tfdlrm.predict import PredictCommand, predict

DESCRIPTION = """
label: y
categorical: [shop, {name: tags, separator: "|"}]
missing: ["-1"]
"""
WRITTEN = ["7.0", "-12.0", "-0.0", "0.0", "7.00", "7.5", "v7.0", "07.0", "1e3", "-1.0"]
READ = ["7", "-12", "0", "0", "7.00", "7.5", "v7.0", "07.0", "1e3", None]


@pytest.fixture
def columns(tmp_path):
    path = tmp_path / "columns.yaml"
    path.write_text(DESCRIPTION)
    return path


def write_csv(path, shops, tags=None):
    lines = [
        f"{number % 2},{shop},{tag}"
        for number, (shop, tag) in enumerate(zip(shops, tags or shops, strict=True))
    ]
    path.write_text("\n".join(["y,shop,tags", *lines]) + "\n")
    return path


def values_of(path, columns):
    (frame,) = open_log(path, columns)
    return frame["shop"].to_list(), frame["tags"].to_list()


def test_a_text_log_has_integers_where_pandas_wrote_floats(tmp_path, columns):
    path = write_csv(tmp_path / "log.csv", WRITTEN)
    shops, tags = values_of(path, load_columns(columns))
    assert shops == READ
    assert tags == [[value] if value else [] for value in READ]


def test_text_in_parquet_means_the_same(tmp_path, columns):
    path = tmp_path / "log.parquet"
    labels = [number % 2 for number in range(len(WRITTEN))]
    pl.DataFrame({"y": labels, "shop": WRITTEN, "tags": WRITTEN}).write_parquet(path)
    shops, _ = values_of(path, replace(load_columns(columns), format="parquet"))
    assert shops == READ


def test_a_number_of_an_event_means_the_same(columns):
    events = [{"y": 1, "shop": 7.0, "tags": [8.0, "9.0"]}, {"y": 0, "shop": -1.0}]
    rows = JsonRows(load_columns(columns))
    frame, bad = rows.read([json.dumps(event).encode() for event in events])
    assert not bad
    assert frame["shop"].to_list() == ["7", None]
    assert frame["tags"].to_list() == [["8", "9"], []]


def test_data_sets_of_earlier_versions_go_on_to_distinguish_them(tmp_path, columns):
    description = load_columns(columns).to_json()
    assert description.pop("floats_as_integers")
    path = write_csv(tmp_path / "log.csv", ["7.0", "7"])
    assert values_of(path, Columns.from_json(description))[0] == ["7.0", "7"]


@pytest.mark.parametrize(
    "dialect", ["default", pytest.param("hash", marks=pytest.mark.slow)]
)
def test_a_model_of_integers_scores_floats_alike(tmp_path, columns, dialect):
    shops = ["7", "8", "9", "7"] * 20
    log = write_csv(tmp_path / "log.csv", shops)
    settings = {"min_frequency": 1} if dialect == "default" else {"hash_buckets": 50}
    config = PrepareConfig(dialect=dialect, columns=columns, **settings)
    prepare([log], tmp_path / "data", config)
    schema = FeatureSchema.load(tmp_path / "data")
    model = build_model(schema, LogisticRegressionConfig())
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape))
    version = export_model(model, schema, tmp_path / "data", tmp_path / "model")
    float_texts = [f"{shop}.0" for shop in shops]
    served = Served(version)
    expected = served.probabilities("raw", shop=shops, tags=shops)
    assert len(set(expected)) == 3
    probabilities = served.probabilities("raw", shop=float_texts, tags=float_texts)
    np.testing.assert_array_equal(probabilities, expected)
    raw = write_csv(tmp_path / "floats.csv", float_texts)
    predict(PredictCommand(version, raw, tmp_path / "scores.csv"))
    scores = np.loadtxt(tmp_path / "scores.csv", skiprows=1)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_other_spellings_of_missing_values_mean_something_else(tmp_path, columns):
    meaning = Meaning.of(FeatureSchema((), (), columns=load_columns(columns).to_json()))
    assert differences(meaning, meaning) == []
    changed = FeatureSchema(("age",), (), columns={"missing": {"age": ["NA"]}})
    same = Meaning.of(FeatureSchema(("age",), (), columns={}))
    assert differences(same, Meaning.of(changed)) == [
        "column age: missing [] there, ['NA'] here"
    ]
    assert Meaning.from_json(Meaning.of(changed).to_json()) == Meaning.of(changed)
