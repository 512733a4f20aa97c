"""Rolling over logs and over their data sets, in every dialect and with bags."""

import json

import pytest

from benchmarks.runs.daily_steps import run_here
from pipelines.synthetic import Twin, write_days
from tests.support.own_log import DESCRIPTION, ROWS, write_log
from tfdlrm.config import PrepareConfig, RollingConfig
from tfdlrm.config.models import DLRMConfig
from tfdlrm.daily.roll import roll

MODEL = DLRMConfig(embedding_dim=4, bottom_mlp_units=(4,), top_mlp_units=(4,))
END_OF_DAY = 1_700_179_200
"""The end of the third day of the log, 2023-11-16."""

FACEBOOK = PrepareConfig(dialect="facebook", max_index_range=300)


def scores_of(directory, name, **settings):
    config = RollingConfig(
        output=directory / name,
        export_dir=directory / f"{name}-models",
        compare=("frozen",),
        model=MODEL,
        batch_size=64,
        evaluations_per_epoch=1,
        **settings,
    )
    roll(config, run_here)
    days = json.loads((config.output / "report.json").read_bytes())["days"]
    return [day for day in days if "warm" in day]


def assert_scored_alike(directory, **settings):
    """Roll over logs, and over the data sets that were made of them."""
    by_logs = scores_of(directory, "logs", **settings)
    folders = sorted((directory / "logs" / "days").iterdir())
    data_dirs = tuple(folder / "data" for folder in folders)
    by_data_sets = scores_of(directory, "sets", data_dirs=data_dirs)
    assert len(by_logs) == len(by_data_sets) == len(folders) - 1
    for by_log, by_data_set in zip(by_logs, by_data_sets, strict=True):
        for model in ("warm", "frozen"):
            warnings = [
                [
                    line
                    for line in day[model].pop("warnings")
                    if "rows have no" not in line
                ]
                for day in (by_log, by_data_set)
            ]  # a data set does not say which values it has
            assert len(warnings[0]) == len(warnings[1])
            for name, value in by_log[model].items():
                assert by_data_set[model][name] == pytest.approx(value, 1e-4), name
    return by_logs


def write_three_days(directory):
    write_days(directory / "day_{day}.txt", Twin(1800, 0, 1e-4, 3, 0.3, turnover=0.3))
    return tuple(directory / f"day_{day}.txt" for day in (1, 2, 3))


@pytest.mark.slow
def test_days_of_the_facebook_dialect_are_scored_alike(tmp_path):
    # There unknown values have the id of the value 0.
    logs = write_three_days(tmp_path)
    _, last_day = assert_scored_alike(tmp_path, raw=logs, prepare=FACEBOOK)
    shares = [last_day[model]["unknown_share"] for model in ("warm", "frozen")]
    assert 0 < shares[0] < shares[1]


@pytest.mark.slow
def test_days_of_one_log_with_bags_are_scored_alike(tmp_path):
    columns = tmp_path / "columns.yaml"
    columns.write_text(DESCRIPTION)
    rows = [row for row in ROWS if int(row["ts"]) < END_OF_DAY]
    log = write_log(tmp_path / "log.csv.gz", rows)
    prepare = PrepareConfig(min_frequency=2, columns=columns)
    scores = assert_scored_alike(tmp_path, raw=(log,), prepare=prepare)
    assert [day["day"] for day in scores] == ["2023-11-15", "2023-11-16"]
    assert sum(day["warm"]["rows"] for day in scores) < len(rows)


@pytest.mark.slow
def test_values_that_are_forgotten_are_unknown_when_they_come_back(tmp_path):
    settings = {
        "raw": write_three_days(tmp_path),
        "prepare": PrepareConfig(min_frequency=3),
    }
    *_, remembering = scores_of(tmp_path, "all", **settings)
    *_, forgetting = scores_of(tmp_path, "some", forget_days=1, **settings)
    assert forgetting["frozen"] == remembering["frozen"]
    for name, share in remembering["warm"]["unknown"].items():
        assert forgetting["warm"]["unknown"][name] >= share
    assert forgetting["warm"]["unknown_share"] > remembering["warm"]["unknown_share"]
