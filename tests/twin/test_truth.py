from dataclasses import asdict

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from pipelines.logs.criteo_file import RawFile
from pipelines.prepare import prepare
from pipelines.twin.planted import LOGIT_STEP, MAX_LOGIT
from pipelines.twin.truth import (
    TRUTH,
    best_measures,
    count_rows,
    reachable,
    truth_file,
    units,
)
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.metrics.binary import binary_metrics


def truth_of(logits, labels):
    truth = np.empty(len(logits), TRUTH)
    truth["logit"], truth["label"] = units(logits), labels
    return truth


def test_measures_are_those_of_sorting_every_row():
    rng = np.random.default_rng(0)
    logits = np.rint(rng.normal(-1, 1.5, 5_000) / LOGIT_STEP) * LOGIT_STEP
    labels = rng.random(5_000) < 1 / (1 + np.exp(-logits))
    measures = best_measures(count_rows(truth_of(logits, labels)))
    probabilities = 1 / (1 + np.exp(-logits))
    assert measures["auc"] == pytest.approx(roc_auc_score(labels, logits), abs=1e-12)
    loss = log_loss(labels, probabilities)
    assert measures["log_loss"] == pytest.approx(loss, abs=1e-12)
    own_measures = asdict(binary_metrics(labels, probabilities))
    for name in ("auc", "log_loss", "normalized_entropy"):
        assert measures[name] == pytest.approx(own_measures[name], abs=1e-9)


def test_expected_measures_are_means_over_labels_drawn_again():
    rng = np.random.default_rng(1)
    logits = np.rint(rng.normal(-1, 1.5, 20_000) / LOGIT_STEP) * LOGIT_STEP
    drawn = [
        best_measures(count_rows(truth_of(logits, rng.random(20_000) < rates)))
        for rates in [1 / (1 + np.exp(-logits))] * 40
    ]
    for name in ("auc", "log_loss", "normalized_entropy"):
        values = np.array([measures[name] for measures in drawn])
        error = values.std() / np.sqrt(len(values))
        assert drawn[0][f"expected_{name}"] == pytest.approx(
            values.mean(), abs=4 * error
        )


def test_the_largest_logits_have_a_place():
    truth = truth_of(np.array([-MAX_LOGIT, MAX_LOGIT]), [0, 1])
    counts = count_rows(truth)
    assert (counts[0, 0], counts[1, -1], counts.sum()) == (1, 1, 2)
    assert best_measures(counts)["auc"] == 1


def test_without_clicks_there_is_no_auc():
    measures = best_measures(count_rows(truth_of(np.zeros(3), [0, 0, 0])))
    assert np.isnan(measures["auc"])
    assert measures["log_loss"] == pytest.approx(np.log(2))


def test_the_schema_says_what_each_split_can_reach(raw_file, data_dir):
    schema = FeatureSchema.load(data_dir)
    truth = np.load(truth_file(raw_file))
    start = 0
    for split in ("train", "validation", "test"):
        rows = truth[start : start + schema.num_rows(split)]
        auc = roc_auc_score(rows["label"], rows["logit"])
        assert schema.reachable[split]["auc"] == pytest.approx(auc, abs=1e-12)
        start += len(rows)
    assert start == len(truth)


def test_splits_across_several_files_find_their_rows(raw_file, tmp_path):
    text, truth = raw_file.read_bytes(), np.load(truth_file(raw_file))
    cut = 2_500
    cut_bytes = len(b"".join(text.splitlines(keepends=True)[:cut]))
    for name, lines, rows in (
        ("a.tsv", text[:cut_bytes], truth[:cut]),
        ("b.tsv", text[cut_bytes:], truth[cut:]),
    ):
        (tmp_path / name).write_bytes(lines)
        np.save(truth_file(tmp_path / name), rows)
    config = PrepareConfig(min_frequency=3, days=2, validation_days=0)
    files = [tmp_path / "a.tsv", tmp_path / "b.tsv"]
    schema = prepare(files, tmp_path / "prepared", config)
    test_rows = truth[-schema.num_rows("test") :]
    auc = roc_auc_score(test_rows["label"], test_rows["logit"])
    assert schema.reachable.keys() == {"train", "test"}
    assert schema.reachable["test"]["auc"] == pytest.approx(auc, abs=1e-12)


def test_rows_that_the_truth_does_not_fit_have_none(raw_file, tmp_path):
    lines = raw_file.read_bytes().splitlines(keepends=True)
    assert pl.concat(RawFile(raw_file)).height == len(lines)
    changed = [b"1" + line[1:] for line in lines]
    for name, text in (("alone", lines), ("shorter", lines[:-1]), ("other", changed)):
        path = tmp_path / name
        path.write_bytes(b"".join(text))
        if name != "alone":
            truth_file(path).write_bytes(truth_file(raw_file).read_bytes())
        schema = prepare([path], tmp_path / f"{name}_prepared", PrepareConfig())
        assert schema.reachable is None


def test_a_damaged_truth_costs_only_what_it_tells(raw_file, tmp_path, capsys):
    undamaged, other_truth = (
        truth_file(raw_file).read_bytes(),
        np.load(truth_file(raw_file)),
    )
    other_truth["label"] = 2
    raw = tmp_path / "rows.tsv"
    raw.write_bytes(raw_file.read_bytes())
    path = truth_file(raw)
    path.write_bytes(undamaged[:-1])
    schema = prepare([raw], tmp_path / "prepared", PrepareConfig())
    assert schema.reachable is None
    assert f"{path} is not a planted truth (" in capsys.readouterr().out
    for array in (other_truth, other_truth["label"], other_truth[None]):
        np.save(path, array)
        assert reachable([raw], schema, {}) is None
        assert f"{path} is not a planted truth (" in capsys.readouterr().out
    path.write_bytes(undamaged.replace(b"}", b"("))
    assert reachable([raw], schema, {}) is None
