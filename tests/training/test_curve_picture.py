"""The picture of learning curves, by what its panels hold."""

import pytest

from tfdlrm.training.curve_picture import CurveMarks, draw_curves
from tfdlrm.training.curves import CurvePoint


def point(step, split="train", loss=0.5):
    rate = 0.01 * step if split == "train" else None
    return CurvePoint(step, split, loss, 0.7, 0.75, step / 10, rate)


POINTS = [
    point(step, split, loss)
    for step, loss in [(5, 0.6), (10, 0.5), (15, 0.55), (20, 0.58)]
    for split in ("train", "validation")
]
MARKS = CurveMarks("dlrm on clicks", steps_per_epoch=8, kept_step=10)


def panels_of(points, marks=MARKS):
    figure = draw_curves(points, marks)
    assert figure.get_suptitle() == marks.title
    return {axis.get_title(): axis for axis in figure.axes}


def upright_lines(axis):
    lines = [line for line in axis.lines if len(set(line.get_xdata())) == 1]
    return [line.get_xdata()[0] for line in lines if len(line.get_xdata()) == 2]


def test_training_is_solid_and_validation_dashed():
    lines = {line.get_label(): line for line in panels_of(POINTS)["AUC"].lines}
    assert lines["train"].get_linestyle() == "-"
    assert lines["validation"].get_linestyle() == "--"
    assert list(lines["train"].get_xdata()) == [5, 10, 15, 20]
    assert "kept: step 10" in lines


def test_epochs_end_where_they_do_and_the_kept_step_is_marked_in_each_panel():
    panels = panels_of(POINTS)
    assert len(panels) == 4
    for panel in panels.values():
        assert upright_lines(panel) == [8, 16, 10]


def test_the_learning_rate_is_that_of_each_training_point():
    (line, *_) = panels_of(POINTS)["learning rate"].lines
    assert list(line.get_ydata()) == pytest.approx([0.05, 0.1, 0.15, 0.2])


def test_hundreds_of_epochs_are_not_a_wall_of_lines():
    points = [point(step) for step in (1, 3_000)]
    panel = panels_of(points, CurveMarks("long", 10, 3_000))["accuracy"]
    assert upright_lines(panel)[:2] == [100, 200]
    assert len(upright_lines(panel)) == 31


def test_points_of_earlier_releases_have_no_learning_rate():
    old = [CurvePoint(step, "train", 0.5, 0.7, 0.75, 1.0) for step in (1, 2)]
    labels = [line.get_label() for line in panels_of(old)["learning rate"].lines]
    assert "train" not in labels
