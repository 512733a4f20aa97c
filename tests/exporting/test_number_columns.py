"""Numbers with transforms: one raw row has one probability, whoever scores it."""

import json

import numpy as np
import polars as pl
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from pipelines.logs.opening import open_log
from tests.support.number_log import (
    NAMES,
    NUMBERS,
    ROWS,
    UNUSUAL,
    NumberLog,
    number_log,
    write_rows,
)
from tests.support.raw_rows import make_rows
from tests.support.raw_rows import write_rows as write_criteo_rows
from tests.support.served import Served, example, replay, warm_up_logs
from tfdlrm.base.errors import InputError
from tfdlrm.data.reading import read_split
from tfdlrm.evaluate import EvaluateCommand, evaluate_model
from tfdlrm.exporting.raw_rows import RawFeatures
from tfdlrm.exporting.raw_scores import score_log
from tfdlrm.exporting.sample_rows import sample_rows
from tfdlrm.exporting.scorer import load_scorer
from tfdlrm.importance import ImportanceCommand, importance
from tfdlrm.predict import PredictCommand, predict
from tfdlrm.streaming.batches import Batches
from tfdlrm.streaming.events import Chunk

BUCKETS_ALONE = """
  - {name: price, buckets: {quantiles: 5}}
  - {name: level, column: price, buckets: log2_squared}
"""


@pytest.fixture(scope="module")
def numbers_log(tmp_path_factory):
    return number_log(tmp_path_factory)


@pytest.fixture(scope="module")
def scorer(numbers_log):
    return load_scorer(numbers_log.version)


@pytest.fixture(scope="module")
def served(numbers_log):
    return Served(numbers_log.version)


def inputs_of(rows):
    return {name: [row[name] for row in rows] for name in NAMES}


def examples_of(rows):
    return [example({name: row[name] for name in NAMES if row[name]}) for row in rows]


def test_rows_of_the_data_set_are_the_features_of_raw_rows(numbers_log, scorer):
    features, _ = next(
        iter(read_split(numbers_log.data_dir, numbers_log.schema, "test", 1000))
    )
    features_of = RawFeatures.load(scorer.extra_directory, scorer.schema)
    frame = pl.concat(open_log(numbers_log.log, features_of.columns).frames())
    actual = features_of(frame[200:])
    for name, expected in features.items():
        if isinstance(expected, tf.RaggedTensor):
            assert actual[name].to_list() == expected.to_list()
        else:
            np.testing.assert_array_equal(actual[name], expected)
    assert (np.std(features["dense_features"], axis=0) > 0).all()


def test_raw_columns_and_examples_score_like_the_data_set(numbers_log, scorer, served):
    features, _ = next(
        iter(read_split(numbers_log.data_dir, numbers_log.schema, "test", 1000))
    )
    expected = scorer(features).numpy().ravel()
    rows = ROWS[200:]
    assert set(served.signatures["raw"].inputs) == set(NAMES)
    raw = served.probabilities("raw", **inputs_of(rows))
    np.testing.assert_array_equal(raw, expected)
    of_examples = served.probabilities("tf_example", examples=examples_of(rows))
    np.testing.assert_array_equal(of_examples, expected)
    assert len(np.unique(expected)) > 150


def test_unusual_numbers_score_like_predictions(numbers_log, served, tmp_path):
    log = write_rows(tmp_path / "unusual.csv", UNUSUAL)
    predict(PredictCommand(numbers_log.version, log, tmp_path / "scores.csv"))
    predicted = pl.read_csv(tmp_path / "scores.csv")["probability"].to_numpy()
    raw = served.probabilities("raw", **inputs_of(UNUSUAL))
    np.testing.assert_allclose(raw, predicted, rtol=1e-6)
    of_examples = served.probabilities("tf_example", examples=examples_of(UNUSUAL))
    np.testing.assert_array_equal(of_examples, raw)
    measured = score_log(load_scorer(numbers_log.version), log)
    np.testing.assert_allclose(measured.probabilities, raw, rtol=1e-6)


@pytest.mark.parametrize("text", ["1e39", "nan", "inf", "-inf", "0x10", "1_000", "x"])
@pytest.mark.parametrize("name", ["price", "views"])
def test_what_is_no_number_is_refused_by_column(
    numbers_log, served, tmp_path, name, text
):
    rows = [ROWS[0], {**ROWS[1], name: text}]
    message = f"{name} of row 1 is `{text}`, expected a finite number or nothing"
    if text == "1e39":
        message = f"{name} of row 1 is .*, expected a finite number or nothing"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served("raw", **inputs_of(rows))
    with pytest.raises(InputError, match=f"{name}.* is '{text}', expected a finite"):
        log = write_rows(tmp_path / "log.csv", rows)
        predict(PredictCommand(numbers_log.version, log, tmp_path / "scores.csv"))


def test_floats_of_examples_are_numbers_and_nan_is_refused(served):
    row = {name: ROWS[0][name] for name in ("country", "tags")}
    floats = dict.fromkeys(NUMBERS, 2.5)
    texts = dict.fromkeys(NUMBERS, "2.5")
    of_floats, of_texts, spelled, blank = served.probabilities(
        "tf_example",
        examples=[
            example({**row, **floats}),
            example({**row, **texts}),
            example({**row, **floats, "age": -1.0}),  # spells a missing value
            example({**row, **{n: v for n, v in floats.items() if n != "age"}}),
        ],
    )
    assert of_floats == of_texts and spelled == blank != of_floats
    with pytest.raises(tf.errors.InvalidArgumentError, match="seconds of row 0 is"):
        served("tf_example", examples=[example({**row, "seconds": float("nan")})])


def test_a_missing_flag_distinguishes_a_missing_number_from_the_mean(
    numbers_log, served
):
    mean = numbers_log.schema.transforms["price"].transform.mean
    rows = [ROWS[0] | {"price": repr(mean)}, ROWS[0] | {"price": ""}]
    at_mean, missing = served.probabilities("raw", **inputs_of(rows))
    assert at_mean != missing


def test_buckets_are_no_columns_and_are_not_counted_as_unknown(numbers_log, served):
    rows = [ROWS[0] | {"views": "9e37", "country": "xx"}]  # a bucket without an id
    answer = served("raw_unknown", **inputs_of(rows))
    assert answer["unknown"].tolist() == [[1, 0]]  # country, tags
    coverage = served("coverage", number=[0, 1])
    assert [name.decode() for name in coverage["name"]] == ["country", "tags"]


def test_evaluate_counts_the_columns_of_the_log(numbers_log, tmp_path):
    json_file = tmp_path / "measures.json"
    evaluate_model(
        EvaluateCommand(numbers_log.version, raw=numbers_log.log, output_file=json_file)
    )
    measures = json.loads(json_file.read_text())["raw"]
    assert list(measures["unknown"]) == ["country", "tags"]


@pytest.mark.slow
def test_importance_is_that_of_raw_columns(numbers_log, tmp_path):
    for source in ({"data_dir": numbers_log.data_dir}, {"raw": numbers_log.log}):
        output = tmp_path / next(iter(source))
        command = ImportanceCommand(
            numbers_log.version, output=output, repeats=2, **source
        )
        importances = {column.name: column for column in importance(command)}
        assert [*importances] == numbers_log.schema.raw_columns
        assert any(importances["price"].log_loss_rise)


def test_events_of_a_stream_have_the_features_of_the_log(numbers_log, scorer):
    features_of = RawFeatures.load(scorer.extra_directory, scorer.schema)
    events = [
        json.dumps({name: row[name] for name in ("bought", *NAMES)}).encode()
        for row in [*ROWS[:50], *UNUSUAL]
    ]
    batches = Batches("clicks", scorer.schema, features_of, len(events))
    (batch,) = batches.add(Chunk(0, 0, events))
    served = scorer(batch.features).numpy().ravel()
    expected = Served(numbers_log.version).probabilities(
        "raw", **inputs_of([*ROWS[:50], *UNUSUAL])
    )
    np.testing.assert_allclose(served, expected, rtol=1e-6)


@pytest.mark.slow
def test_other_fitted_numbers_are_another_meaning(numbers_log, tmp_path):
    other = NumberLog.of(
        tmp_path, write_rows(tmp_path / "log.csv", ROWS[50:]), numbers_log.columns
    )
    with pytest.raises(InputError, match=r"column price: standardize with .* here"):
        evaluate_model(EvaluateCommand(numbers_log.version, other.data_dir))


def test_samples_have_the_features_of_rows_of_the_data_set(numbers_log, scorer, served):
    samples = sample_rows(numbers_log.data_dir, numbers_log.schema)
    assert len(samples) >= 5
    assert all(set(sample) == set(NAMES) for sample in samples)
    features, _ = next(
        iter(read_split(numbers_log.data_dir, numbers_log.schema, "test", 1000))
    )
    expected = set(scorer(features).numpy().ravel().tolist())
    rows = [sample | {"tags": "|".join(sample["tags"])} for sample in samples]
    actual = served.probabilities("raw", **inputs_of(rows))
    assert set(actual.tolist()) <= expected


def test_the_card_and_warm_up_requests_have_raw_columns(numbers_log, served):
    card = json.loads((numbers_log.version / "assets.extra" / "model.json").read_text())
    assert set(card["example"]) == set(NAMES)
    assert card["schema"]["transforms"]["price_bucket"]["column"] == "price"
    for log in warm_up_logs(numbers_log.version):
        replay(served, log)


@pytest.mark.slow
def test_numbers_of_criteos_format_have_transforms_too(tmp_path):
    rows = make_rows(400)
    log = write_criteo_rows(tmp_path / "log.tsv", rows)
    settings = {
        "dense_transform": "standardize",
        "dense_buckets": "log2_squared",
        "missing_flags": True,
    }
    numbers_log = NumberLog.of(tmp_path, log, None, **settings)
    scorer, served = load_scorer(numbers_log.version), Served(numbers_log.version)
    features, _ = next(
        iter(read_split(numbers_log.data_dir, numbers_log.schema, "test", 1000))
    )
    expected = scorer(features).numpy().ravel()
    names = numbers_log.schema.raw_columns
    assert len(names) == 39 and len(numbers_log.schema.dense_features) == 26
    fields = [row.decode().split("\t")[1:] for row in rows[200:]]
    columns = dict(zip(names, map(list, zip(*fields, strict=True)), strict=True))
    np.testing.assert_array_equal(served.probabilities("raw", **columns), expected)
    predict(PredictCommand(numbers_log.version, log, tmp_path / "scores.csv"))
    predicted = pl.read_csv(tmp_path / "scores.csv")["probability"].to_numpy()[200:]
    np.testing.assert_allclose(predicted, expected, rtol=1e-6)
    assert all(
        set(sample) == set(names)
        for sample in sample_rows(numbers_log.data_dir, numbers_log.schema)
    )
    refused = columns | {"I3": ["1e3"] * len(fields)}
    with pytest.raises(tf.errors.InvalidArgumentError, match="I3 of row 0 is `1e3`"):
        served("raw", **refused)


@pytest.mark.slow
def test_buckets_may_be_the_only_features(tmp_path):
    columns = tmp_path / "columns.yaml"
    columns.write_text("label: bought\nmissing: [NA]\ncategorical: " + BUCKETS_ALONE)
    log = write_rows(tmp_path / "log.csv", ROWS)
    numbers_log = NumberLog.of(tmp_path, log, columns)
    features, _ = next(
        iter(read_split(numbers_log.data_dir, numbers_log.schema, "test", 1000))
    )
    expected = load_scorer(numbers_log.version)(features).numpy().ravel()
    served = Served(numbers_log.version)
    assert not {"coverage", "raw_unknown"} & set(served.signatures)
    prices = [row["price"] for row in ROWS[200:]]
    np.testing.assert_array_equal(served.probabilities("raw", price=prices), expected)
    predict(PredictCommand(numbers_log.version, log, tmp_path / "scores.csv"))
    predicted = pl.read_csv(tmp_path / "scores.csv")["probability"].to_numpy()[200:]
    np.testing.assert_allclose(predicted, expected, rtol=1e-6)
    assert sample_rows(numbers_log.data_dir, numbers_log.schema)[0].keys() == {"price"}


@pytest.mark.slow
def test_models_without_transforms_compute_none(numbers_log, cases):
    added = {"IsNan", "DivNoNan", "UpperBound"}
    assert added <= operations(numbers_log.version)
    assert not added & operations(cases("default").path)


def operations(version):
    """Return the operations in the graph of a SavedModel."""
    contents = (version / "saved_model.pb").read_bytes()
    (graph,) = SavedModel.FromString(contents).meta_graphs
    functions = [function.node_def for function in graph.graph_def.library.function]
    nodes = [graph.graph_def.node, *functions]
    return {node.op for part in nodes for node in part}
