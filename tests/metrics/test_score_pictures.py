"""The pictures of scores, by what their panels hold."""

import warnings

import numpy as np
import pytest
from sklearn import metrics as oracle

from tfdlrm.metrics.binary import binary_metrics, reliability
from tfdlrm.metrics.score_histogram import ScoreHistogram
from tfdlrm.metrics.score_pictures import draw_evaluation, draw_scores


def clicks(seed, rows=2_000):
    rng = np.random.default_rng(seed)
    scores = rng.beta(1, 4, rows)
    return (rng.random(rows) < scores).astype(float), scores


SPLITS = {"validation": clicks(0), "test": clicks(1)}


@pytest.fixture(scope="module")
def panels():
    figure = draw_evaluation(
        {split: binary_metrics(*rows) for split, rows in SPLITS.items()},
        {split: reliability(*rows) for split, rows in SPLITS.items()},
        {split: ScoreHistogram.of(*rows) for split, rows in SPLITS.items()},
        "a model on clicks",
    )
    return {axis.get_title(): axis for axis in figure.axes}


def legend_of(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


@pytest.mark.parametrize(
    ("title", "name", "measure"),
    [
        ("ROC", "AUC", oracle.roc_auc_score),
        ("precision and recall", "AP", oracle.average_precision_score),
    ],
)
def test_legends_have_the_measures_of_scikit_learn(panels, title, name, measure):
    for split, rows in SPLITS.items():
        text = next(line for line in legend_of(panels[title]) if split in line)
        assert text.startswith(f"{split}, {name} ")
        assert float(text.split()[-1]) == pytest.approx(measure(*rows), abs=6e-4)


def test_each_class_has_all_its_rows_in_the_histogram(panels):
    panel = panels["scores of test rows"]
    labels, _ = SPLITS["test"]
    bars = [patch for patch in panel.patches if patch.get_label()]
    assert [bar.get_label() for bar in bars] == [
        f"not clicked ({(labels == 0).sum():,} rows)",
        f"clicked ({(labels == 1).sum():,} rows)",
    ]
    for bar in bars:
        assert bar.get_data().values.sum() == pytest.approx(100)


def test_a_table_has_the_measures_of_each_split(panels):
    (table,) = panels[""].tables
    cells = {
        position: cell.get_text().get_text()
        for position, cell in table.get_celld().items()
    }
    assert [cells[0, 0], cells[0, 1]] == ["validation", "test"]
    assert cells[3, 1] == f"{oracle.roc_auc_score(*SPLITS['test']):.4f}"


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([0, 0, 0], [0.2, 0.3, 0.4]),  # one class
        ([0, 1, 1], [0.3, 0.3, 0.3]),  # one score
        ([0, 1], [0.0, 1.0]),  # certain
        ([1], [0.5]),
    ],
)
def test_scores_at_the_edges_are_drawn_without_a_warning(labels, scores):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw_scores({"raw": ScoreHistogram.of(labels, scores)}, "edges")
    bars = [bar.get_data().values.sum() for bar in figure.axes[0].patches]
    assert bars == pytest.approx([100] * len(bars))
    undefined = "AUC undefined" in legend_of(figure.axes[1])[0]
    assert undefined == (len(set(labels)) == 1)
