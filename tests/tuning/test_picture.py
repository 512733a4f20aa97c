import pytest

from tfdlrm.tuning.dimensions import Choices, Range
from tfdlrm.tuning.outcome import FinishedTrial, Outcome, best_of
from tfdlrm.tuning.picture import TrialPicture
from tfdlrm.tuning.table import TrialTable

DIMENSIONS = {
    "model.top_mlp_units": Choices(([8], [16, 8])),
    "optimizer.learning_rate": Range(0.001, 1.0, None, log=True, is_whole=False),
}
LOSSES = (0.5, 0.4, 0.45, 0.42)


def trial(number, outcome):
    units, rate = ([8], [16, 8])[number % 2], 0.01 * (number + 1)
    values = {"model.top_mlp_units": units, "optimizer.learning_rate": rate}
    return FinishedTrial(number, values, outcome, {5: 0.6, 10: outcome.log_loss})


@pytest.fixture
def trials():
    complete = [
        trial(number, Outcome("complete", loss, 1 - loss, 100))
        for number, loss in enumerate(LOSSES)
    ]
    return [
        *complete,
        trial(4, Outcome("pruned", 0.43, 0.5, 10)),
        trial(5, Outcome.failed("the loss became nan")),
    ]


def draw(trials, metric):
    best = best_of(trials, metric)
    picture = TrialPicture(trials, best, metric, DIMENSIONS, 10, "Trials")
    figure = picture.draw()
    figure.draw_without_rendering()
    return figure.axes


def values_of(axis, label):
    (line,) = [line for line in axis.lines if line.get_label() == label]
    return list(line.get_ydata())


def test_the_best_so_far_falls_by_log_loss_and_rises_by_auc(trials):
    history, *_ = draw(trials, "log_loss")
    assert values_of(history, "complete") == list(LOSSES)
    assert values_of(history, "pruned") == [0.43]
    assert values_of(history, "best so far") == [0.5, 0.4, 0.4, 0.4, 0.4]
    history, *_ = draw(trials, "auc")
    assert values_of(history, "best so far") == [0.5, 0.6, 0.6, 0.6, 0.6]


@pytest.mark.filterwarnings("error")
def test_panels_do_not_overlap_without_pruned_trials(trials):
    axes = draw(trials[:2], "log_loss")
    boxes = [axis.get_tightbbox() for axis in axes]
    assert boxes[2].y1 <= boxes[0].y0


def test_each_setting_has_a_panel_with_the_values_of_its_trials(trials):
    _, _, units, rates = draw(trials, "log_loss")
    assert list(units.lines[0].get_xdata()) == [0, 1, 0, 1]
    assert [text.get_text() for text in units.get_xticklabels()] == ["[8]", "[16,8]"]
    assert list(rates.lines[0].get_xdata()) == [0.01, 0.02, 0.03, 0.04]
    assert rates.get_xscale() == "log"
    low, high = rates.get_xlim()
    assert low < 0.001 and high > 1


def test_trials_far_behind_are_drawn_on_the_edge(trials):
    trials.append(trial(6, Outcome("complete", 90.0, 0.5, 100)))
    history, *_ = draw(trials, "log_loss")
    assert history.get_ylim()[1] < 1
    assert values_of(history, "complete")[-1] == history.get_ylim()[1]


def test_the_table_shows_ends_and_reasons(trials):
    table = TrialTable(list(DIMENSIONS))
    assert "top_mlp_units  learning_rate" in table.head
    assert table.line(trials[1]).split() == (
        ["1", "0.4000", "0.6000", "100", "0.0", "[16,8]", "0.02"]
    )
    assert "pruned" in table.line(trials[4])
    assert table.line(trials[5]).endswith("the loss became nan")
    first, *_, last = table.csv(trials).splitlines()
    assert first.endswith("model.top_mlp_units,optimizer.learning_rate")
    assert last == '5,failed,,,,0.0,the loss became nan,"[16,8]",0.06'
