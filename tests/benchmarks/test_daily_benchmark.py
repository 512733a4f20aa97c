"""The benchmark of learning day by day: its settings, its tables, and a small run."""

import pytest

from benchmarks import daily
from benchmarks.daily import DailyBenchmark
from benchmarks.laboratory.daily_report import (
    MODELS,
    RollingDays,
    show_days,
    show_times,
)
from benchmarks.runs.daily_steps import Retrained
from tfdlrm.base.errors import InputError


def measures(auc):
    return {"auc": auc, "log_loss": 1 - auc, "unknown_share": 0.1}


def seed_of(warm):
    values = {"truth": 0.9, "warm": warm, "forget": 0.7, "cold": 0.65, "frozen": 0.6}
    later_day = {name: measures(values[name]) for name in MODELS}
    return RollingDays(
        days=[dict.fromkeys(MODELS), later_day, later_day],
        seconds=[1.0, 2.0, 3.0],
        seconds_forgetting=[1.0, 2.0, 2.5],
        ids=[10, 20, 30],
        ids_forgetting=[10, 20, 20],
        retrained={2: Retrained(5.0, measures(0.81))},
    )


def test_differences_are_taken_seed_by_seed():
    text = show_days([seed_of(0.78), seed_of(0.82)])
    assert "| 2           | 0.9000 ± 0.0000 | 0.8000 ± 0.0283 |" in text
    assert "AUC, mean from day 3: warm - truth: -0.1000 ± 0.0283" in text
    assert "warm - cold: +0.1500" in text


def test_the_time_of_all_days_is_next_to_that_of_a_day():
    lines = show_times(seed_of(0.8)).splitlines()
    cells = [cell.strip() for cell in lines[3].split("|")[1:-1]]
    assert cells == ["2", "2.00", "2.00", "5.00", "20", "20", "0.8100", "0.8000"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"days": 1}, "days is 1, expected >= 2"),
        ({"seeds": ()}, "seeds is"),
        ({"retrain_days": (10,)}, "retrain_days is .*, expected days before the last"),
        ({"drift": 2.0}, "drift is 2.0"),
    ],
)
def test_settings_that_measure_nothing_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        DailyBenchmark(**settings)


@pytest.mark.slow
def test_a_small_run_prints_its_tables(tmp_path, capsys):
    daily.main(
        f"--seeds 0,1 --days 3 --rows 600 --vocabulary_scale 0.0001 --retrain_days 2 "
        f"--min_frequency 3 --forget_days 1 --work_dir {tmp_path / 'daily'}".split()
    )
    text = capsys.readouterr().out
    for head in ("AUC", "log loss", "unknown values"):
        assert f"{head}\n\n| day " in text
    assert text.count("| mean from 3 |") == 2
    assert "| s, all days again |" in text
