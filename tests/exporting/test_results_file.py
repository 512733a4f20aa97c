"""The results of a version, next to what the run itself wrote."""

import json

import numpy as np
import pytest

from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.export import ExportCommand, export
from tfdlrm.exporting.results_file import (
    MOST_POINTS,
    NUM_QUANTILES,
    UNITS,
    Results,
    curve_points,
    load_results,
    read_results,
)
from tfdlrm.exporting.scorer import load_scorer


@pytest.fixture(scope="module")
def results(exported):
    return read_results(exported)


def validation_scores(version, data_dir):
    scorer = load_scorer(version)
    schema = FeatureSchema.load(data_dir)
    batches = read_split(data_dir, schema, "validation", 4096)
    return np.concatenate([scorer(features).numpy().ravel() for features, _ in batches])


def test_measures_and_rows_are_those_of_the_run(results, small_config):
    metrics = json.loads((small_config.run_dir / "metrics.json").read_text())
    for split, values in metrics.items():
        assert results["measures"][split].items() <= values.items()
        assert results["data"]["rows"][split] == values["rows"]
    assert (results["name"], results["version"]) == ("clicks", 1)
    assert results["data"]["name"] == small_config.data_dir.name


def test_each_point_of_the_curve_is_in_the_results(results, small_config):
    lines = (small_config.run_dir / "metrics.jsonl").read_text().splitlines()
    points = list(map(json.loads, lines))
    rows = {row["step"]: row for row in results["curve"]}
    for point in points:
        values = rows[point["step"]][point["split"]]
        assert values == {name: point[name] for name in ("loss", "accuracy", "auc")}
    assert results["kept_step"] == points[-1]["step"]
    assert results["curve"][-1]["epoch"] == 1


def test_quantiles_are_those_of_the_validation_scores(results, exported, data_dir):
    scores = validation_scores(exported, data_dir)
    quantiles = np.array(results["quantiles"])
    assert len(quantiles) == NUM_QUANTILES
    shares = np.searchsorted(np.sort(scores), quantiles, side="right") / len(scores)
    wanted = np.linspace(0, 1, NUM_QUANTILES)
    np.testing.assert_allclose(shares, wanted, atol=0.001 + 1 / len(scores))


def test_bins_hold_all_rows_and_clicks(results):
    for split, bins in results["reliability"].items():
        rows, observed = np.array(bins["rows"]), np.array(bins["observed"])
        measures = results["measures"][split]
        assert rows.sum() == measures["rows"]
        clicks = measures["rows"] * measures["base_rate"]
        np.testing.assert_allclose((rows * observed).sum(), clicks)


def test_each_number_has_a_unit(results):
    names = {name for values in results["measures"].values() for name in values}
    names |= {name for bins in results["reliability"].values() for name in bins}
    assert names - UNITS.keys() == set()
    assert results["units"] == UNITS


def test_an_export_of_the_run_has_the_same_results(results, small_config, tmp_path):
    again = read_results(
        export(ExportCommand(small_config.run_dir, tmp_path / "other"))
    )
    assert again == {**results, "name": "other"}


def test_int8_tables_have_scores_of_their_own(results, int8_exported, data_dir):
    version = int8_exported[0]
    other = read_results(version)
    card = json.loads((version / "assets.extra" / "model.json").read_text())
    auc = card["metrics"]["validation"]["auc"]
    assert other["measures"]["validation"]["auc"] == auc
    assert other["quantiles"] != results["quantiles"]
    highest = validation_scores(version, data_dir).max()
    np.testing.assert_allclose(other["quantiles"][-1], highest, rtol=1e-5)


def test_a_long_curve_keeps_its_ends():
    point = {"split": "validation", "loss": 0.5, "accuracy": 0.8, "auc": 0.7}
    rows = curve_points([{**point, "step": step} for step in range(1, 3001)], 1000)
    steps = [row["step"] for row in rows]
    assert len(steps) == MOST_POINTS
    assert (steps[0], steps[-1], rows[-1]["epoch"]) == (1, 3000, 3)
    assert set(np.diff(steps)) == {6, 7}


def test_what_is_undefined_is_null(tmp_path):
    results = Results(None, {"name": "x"}, {"test": {"auc": float("nan")}})
    results.write(tmp_path / "results.json", name="m", version=2)
    assert read_results(tmp_path / "results.json")["measures"] == {
        "test": {"auc": None}
    }


@pytest.mark.parametrize("text", ["", "[1]", '{"data": {}', '{"data": 1}', "{}"])
def test_damaged_results_are_none(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    assert load_results(tmp_path / "results.json") is None
    assert load_results(tmp_path / "missing.json") is None
