"""The examples run unchanged, and do what their text promises."""

import re

import pytest

from tests.support.processes import ROOT, run_command_line


def numbers(name):
    """Return the numbers that the example prints, line by line."""
    result = run_command_line(f"python {ROOT / 'examples' / name}")
    assert result.returncode == 0, result.stderr
    return [
        [float(number) for number in re.findall(r"\d+(?:\.\d+)?", line)]
        for line in result.stdout.splitlines()
    ]


def test_the_reuse_examples_are_short():
    for name in ("movielens_ranking.py", "tabular.py"):
        lines = (ROOT / "examples" / name).read_text().splitlines()
        assert len(lines) < 60, name


@pytest.mark.slow
def test_the_ranking_example_explains_the_ratings():
    (error, spread), _ = numbers("movielens_ranking.py")
    assert error < spread / 2


@pytest.mark.slow
def test_the_tabular_example_finds_what_logistic_regression_cannot():
    ((area,),) = numbers("tabular.py")
    assert area > 0.83  # logistic regression on the same rows: 0.72


@pytest.mark.slow
def test_ranking_improves_on_retrieval_alone():
    (_, *_), (anything,), (nearest,), (_, best) = numbers("retrieval_then_ranking.py")
    assert anything < nearest < best
