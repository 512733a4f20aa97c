"""A rolling run: the order of its steps, and how it resumes after a kill."""

import fcntl
import json
import os
import shutil
from dataclasses import replace

import pytest

from tests.support.own_log import DESCRIPTION, ROWS, write_log
from tests.support.raw_rows import make_rows, write_rows
from tests.support.rolling_steps import FakeSteps, KilledError, seen_by
from tfdlrm.base import directories, storage
from tfdlrm.base.errors import InputError
from tfdlrm.config import (
    OptimizerConfig,
    PlateauConfig,
    PrepareConfig,
    RollingConfig,
)
from tfdlrm.config.models import DLRMConfig
from tfdlrm.daily import journal, report
from tfdlrm.daily.roll import roll

NUM_DAYS = 4
NAMES = [f"day_{day}.txt" for day in range(NUM_DAYS)]


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("logs")
    return tuple(
        write_rows(directory / name, make_rows(20, seed=day))
        for day, name in enumerate(NAMES)
    )


def config_for(directory, logs, **settings):
    return RollingConfig(
        raw=logs,
        output=directory / "rolling",
        export_dir=directory / "models",
        **settings,
    )


def roll_with(patch, fake, config):
    with patch.context() as inner_patch:
        # Pictures take longer than all the rest.
        inner_patch.setattr(report, "plot_days", lambda *args: None)
        return roll(config, fake)


def results(directory):
    """Return the report's files, and what each version saw."""
    output = directory / "rolling"
    files = {
        name: (output / name).read_bytes() for name in ("report.md", "report.json")
    }
    versions = {path.name: seen_by(path) for path in (directory / "models").iterdir()}
    return files, versions


@pytest.mark.parametrize("compare", [(), ("cold", "frozen")])
def test_each_day_is_scored_by_models_that_have_not_seen_it(
    logs, tmp_path, monkeypatch, compare
):
    config = config_for(tmp_path, logs, compare=compare)
    roll_with(monkeypatch, FakeSteps(), config)
    days = json.loads((tmp_path / "rolling" / "report.json").read_text())["days"]
    assert [day["day"] for day in days] == NAMES
    assert days[0] == {"day": NAMES[0]}
    for number, day in enumerate(days[1:], start=1):
        assert day["warm"]["seen"] == NAMES[:number]
        if compare:
            assert day["cold"]["seen"] == [NAMES[number - 1]]
            assert day["frozen"]["seen"] == NAMES[:1]
        assert day.keys() == {"day", "warm", *compare}


def test_a_day_is_scored_before_it_is_prepared_and_learned(logs, tmp_path, monkeypatch):
    fake = FakeSteps()
    roll_with(monkeypatch, fake, config_for(tmp_path, logs[:2]))
    assert fake.names == [
        ("0001", "prepare"),
        ("0001", "train"),
        ("0002", "scores"),
        ("0002", "prepare"),
        ("0002", "train"),
    ]


def test_there_is_a_version_a_day(logs, tmp_path, monkeypatch):
    roll_with(monkeypatch, FakeSteps(), config_for(tmp_path, logs))
    _, versions = results(tmp_path)
    assert versions == {str(day): NAMES[:day] for day in range(1, NUM_DAYS + 1)}


COMPARED = {"compare": ("cold", "frozen"), "keep": 1}
NUM_STEPS = 3 * 2 + 2 + 2  # of three days; their scores; the cold model of the second


@pytest.mark.slow_variants
@pytest.mark.parametrize("is_done", [True, False])
def test_a_run_killed_at_any_step_ends_as_one_that_was_not(
    logs, tmp_path, monkeypatch, is_done
):
    expected_directory = tmp_path / "whole"
    fake = FakeSteps()
    roll_with(monkeypatch, fake, config_for(expected_directory, logs[:3], **COMPARED))
    assert len(fake.names) == NUM_STEPS
    for kill_at in range(NUM_STEPS):
        directory = tmp_path / str(kill_at)
        config = config_for(directory, logs[:3], **COMPARED)
        with pytest.raises(KilledError):
            roll_with(monkeypatch, FakeSteps(kill_at, is_done), config)
        roll_with(monkeypatch, FakeSteps(), config)
        assert results(directory) == results(expected_directory)


def test_the_same_command_again_does_nothing(logs, tmp_path, monkeypatch):
    config = config_for(tmp_path, logs)
    roll_with(monkeypatch, FakeSteps(), config)
    expected = results(tmp_path)
    fake = FakeSteps()
    roll_with(monkeypatch, fake, config)
    assert fake.names == []
    assert results(tmp_path) == expected


def test_days_may_come_one_by_one_and_old_logs_may_go(logs, tmp_path, monkeypatch):
    together, apart = tmp_path / "together", tmp_path / "apart"
    roll_with(monkeypatch, FakeSteps(), config_for(together, logs, **COMPARED))
    for day in range(NUM_DAYS):
        last_two = logs[max(day - 1, 0) : day + 1]
        config = config_for(apart, last_two, **COMPARED)
        roll_with(monkeypatch, FakeSteps(), config)
    assert results(apart) == results(together)


def test_only_the_newest_days_stay(logs, tmp_path, monkeypatch):
    config = config_for(tmp_path, logs, keep=2, compare=("frozen",))
    roll_with(monkeypatch, FakeSteps(), config)
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"3", "4"}
    days = tmp_path / "rolling" / "days"
    assert [(days / f"000{day}" / "run").exists() for day in (1, 2, 3, 4)] == [
        *(False, False),
        *(True, True),
    ]


def test_a_version_that_another_command_wrote_stays(logs, tmp_path, monkeypatch):
    other_version = tmp_path / "models" / "1"
    other_version.mkdir(parents=True)
    roll_with(monkeypatch, FakeSteps(), config_for(tmp_path, logs, keep=1))
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"1", "5"}


def changed_log(tmp_path, logs):
    changed = tmp_path / logs[1].name
    changed.write_bytes(logs[1].read_bytes() + logs[2].read_bytes())
    return (logs[0], changed, *logs[2:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logs, _: logs[1::-1], "is the day that is day_0.txt now"),
        (lambda logs, path: changed_log(path, logs), "has changed since its day began"),
    ],
)
def test_other_days_in_the_same_output_are_refused(
    logs, tmp_path, monkeypatch, change, message
):
    roll_with(monkeypatch, FakeSteps(), config_for(tmp_path, logs))
    config = config_for(tmp_path, change(logs, tmp_path))
    with pytest.raises(InputError, match=message):
        roll_with(monkeypatch, FakeSteps(), config)


def test_the_output_of_another_rolling_run_is_refused(logs, tmp_path, monkeypatch):
    roll_with(monkeypatch, FakeSteps(), config_for(tmp_path, logs[:2]))
    expected = results(tmp_path)
    with pytest.raises(InputError, match=r"whose days are day_0.txt to day_1.txt; the"):
        roll_with(monkeypatch, FakeSteps(), config_for(tmp_path, logs[2:]))
    assert results(tmp_path) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 32}, "batch_size: 256 there, batch_size: 32 now"),
        ({"compare": ("cold",)}, "compare"),
        ({"model": DLRMConfig(embedding_dim=4)}, "model.embedding_dim"),
        ({"prepare": PrepareConfig(min_frequency=3)}, "prepare.min_frequency"),
        ({"forget_days": 3}, "forget_days"),
    ],
)
def test_other_settings_are_refused(logs, tmp_path, monkeypatch, settings, message):
    config = config_for(tmp_path, logs[:1])
    roll_with(monkeypatch, FakeSteps(), config)
    with pytest.raises(InputError, match=f"with other settings: {message}"):
        roll_with(monkeypatch, FakeSteps(), replace(config, **settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"keep": 1},
        {"allow_one_class": True},
        {"prepare": PrepareConfig(memory_budget="4GB", on_bad_row="skip")},
    ],
)
def test_settings_that_change_no_number_may_be_others(
    logs, tmp_path, monkeypatch, settings
):
    config = config_for(tmp_path, logs[:2])
    roll_with(monkeypatch, FakeSteps(), config)
    config = replace(config, raw=logs, **settings)
    roll_with(monkeypatch, FakeSteps(), config)
    _, versions = results(tmp_path)
    assert versions[str(NUM_DAYS)] == NAMES


def test_a_log_that_changes_between_scoring_and_learning_is_refused(
    logs, tmp_path, monkeypatch
):
    (tmp_path / "logs").mkdir()
    paths = tuple(tmp_path / "logs" / path.name for path in logs[:2])
    for path, log in zip(paths, logs, strict=False):
        path.write_bytes(log.read_bytes())
    fake = FakeSteps(kill_at=2)
    with pytest.raises(KilledError):
        roll_with(monkeypatch, fake, config_for(tmp_path, paths))
    assert fake.names[-1] == ("0002", "scores")
    text = paths[1].read_bytes()
    paths[1].write_bytes(bytes([text[0] ^ 1]) + text[1:])  # another label
    with pytest.raises(InputError, match="has changed since its day began"):
        roll_with(monkeypatch, FakeSteps(), config_for(tmp_path, paths))


def test_a_day_that_was_scored_may_be_given_up(logs, tmp_path, monkeypatch):
    killed = FakeSteps(kill_at=3, is_done=False)
    with pytest.raises(KilledError):
        roll_with(monkeypatch, killed, config_for(tmp_path, logs[:2]))
    assert killed.names[-1] == ("0002", "scores")
    shutil.rmtree(tmp_path / "rolling" / "days" / "0002")
    paths = (logs[0], logs[2])
    roll_with(monkeypatch, FakeSteps(), config_for(tmp_path, paths))
    _, versions = results(tmp_path)
    assert versions["2"] == [path.name for path in paths]


@pytest.mark.parametrize("repair", ["fixed", "left out"])
def test_a_day_that_could_not_be_scored_may_be_repaired(
    logs, tmp_path, monkeypatch, repair
):
    day = write_rows(tmp_path / "day_1b.txt", make_rows(20, seed=9))
    paths = (logs[0], day, logs[2])
    killed = FakeSteps(kill_at=2, is_done=False)
    with pytest.raises(KilledError):
        roll_with(monkeypatch, killed, config_for(tmp_path, paths))
    assert killed.names[-1] == ("0001", "train")  # the scores of day 2 are not there
    write_rows(day, make_rows(19, seed=9))
    paths = paths if repair == "fixed" else (logs[0], logs[2])
    roll_with(monkeypatch, FakeSteps(), config_for(tmp_path, paths))
    _, versions = results(tmp_path)
    assert versions[str(len(paths))] == [path.name for path in paths]


def test_days_in_folders_may_have_files_of_one_name(tmp_path, monkeypatch):
    paths = []
    for day in range(3):
        (tmp_path / f"2024-01-0{day + 1}").mkdir()
        path = tmp_path / f"2024-01-0{day + 1}" / "clicks.txt"
        paths.append(write_rows(path, make_rows(20 + day, seed=day)))
    for night in (paths[:1], paths[:2], paths[1:]):
        roll_with(monkeypatch, FakeSteps(), config_for(tmp_path, tuple(night)))
    _, versions = results(tmp_path)
    assert versions["3"] == ["clicks.txt"] * 3


def test_another_log_of_the_same_name_and_size_is_not_taken_for_learned(
    logs, tmp_path, monkeypatch
):
    path = tmp_path / "today.txt"
    path.write_bytes(logs[0].read_bytes())
    config = config_for(tmp_path, (path,))
    roll_with(monkeypatch, FakeSteps(), config)
    path.write_bytes(logs[0].read_bytes())
    roll_with(monkeypatch, FakeSteps(), config)  # a copy is the same log
    text = path.read_bytes()
    path.write_bytes(bytes([text[0] ^ 1]) + text[1:])  # another label
    with pytest.raises(InputError, match="has changed since its day began"):
        roll_with(monkeypatch, FakeSteps(), config)


def test_a_missing_log_is_refused_before_any_work(logs, tmp_path, monkeypatch):
    fake = FakeSteps()
    config = config_for(tmp_path, (*logs, tmp_path / "day_4.txt"))
    with pytest.raises(InputError, match=r"day_4.txt"):
        roll_with(monkeypatch, fake, config)
    assert fake.names == []
    assert not (tmp_path / "rolling").exists()


def test_a_log_without_labels_is_refused_before_any_work(logs, tmp_path, monkeypatch):
    rows = [row.split(b"\t", 1)[1] for row in make_rows(5)]
    log = write_rows(tmp_path / "day_9.txt", rows)
    with pytest.raises(InputError, match="its rows have no label"):
        roll_with(monkeypatch, FakeSteps(), config_for(tmp_path, (*logs, log)))
    assert not (tmp_path / "rolling").exists()


@pytest.fixture
def own_log(tmp_path):
    """A log of several days, and the settings to read it."""
    columns = tmp_path / "columns.yaml"
    columns.write_text(DESCRIPTION)
    log = write_log(tmp_path / "log.csv", ROWS[:200])
    return log, PrepareConfig(columns=columns)


DATES = [f"2023-11-{day}" for day in range(14, 20)]


def test_a_single_log_is_cut_into_the_days_of_its_split(own_log, tmp_path, monkeypatch):
    log, prepare = own_log
    config = config_for(tmp_path, (log,), prepare=prepare)
    roll_with(monkeypatch, FakeSteps(), config)
    _, versions = results(tmp_path)
    assert versions == {str(day): DATES[:day] for day in range(1, len(DATES) + 1)}


def test_a_single_log_may_grow_by_days(own_log, tmp_path, monkeypatch):
    log, prepare = own_log
    days = sorted({int(row["ts"]) // 86_400 for row in ROWS[:200]})
    config = config_for(tmp_path, (log,), prepare=prepare)
    for num_days in (3, 5):
        rows = [row for row in ROWS[:200] if int(row["ts"]) // 86_400 < days[num_days]]
        write_log(log, rows)
        roll_with(monkeypatch, FakeSteps(), config)
        _, versions = results(tmp_path)
        assert list(versions) and max(map(int, versions)) == num_days
    rows[0] = {**rows[0], "user": "somebody"}  # of a day that was learned
    write_log(log, rows)
    with pytest.raises(InputError, match="has changed since its day began"):
        roll_with(monkeypatch, FakeSteps(), config)


def test_a_cut_that_was_killed_is_made_again(own_log, tmp_path, monkeypatch):
    log, prepare = own_log
    config = config_for(tmp_path, (log,), prepare=prepare)

    def die(*args):
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(storage, "replace_json", die)
        roll_with(monkeypatch, FakeSteps(), config)
    roll_with(monkeypatch, FakeSteps(), config)
    _, versions = results(tmp_path)
    assert len(versions) == len(DATES)


def test_a_log_of_one_day_is_a_day_like_others(own_log, tmp_path, monkeypatch):
    _, prepare = own_log
    days = sorted({int(row["ts"]) // 86_400 for row in ROWS})[:2]
    logs = tuple(
        write_log(
            tmp_path / f"{day}.csv",
            [row for row in ROWS if int(row["ts"]) // 86_400 == day][:9],
        )
        for day in days
    )
    for paths in (logs[:1], logs):  # the first night has one file
        roll_with(
            monkeypatch, FakeSteps(), config_for(tmp_path, paths, prepare=prepare)
        )
    _, versions = results(tmp_path)
    assert versions["2"] == [log.name for log in logs]


def test_days_in_the_order_of_a_shell_are_refused(tmp_path, monkeypatch):
    names = ["day_0.txt", "day_1.txt", "day_10.txt", "day_2.txt"]
    logs = tuple(write_rows(tmp_path / name, make_rows(5)) for name in names)
    with pytest.raises(InputError, match=r"raw has .*day_10.txt before .*day_2.txt, "):
        roll_with(monkeypatch, FakeSteps(), config_for(tmp_path, logs))
    in_order = (*logs[:2], logs[3], logs[2])
    roll_with(monkeypatch, FakeSteps(), config_for(tmp_path, in_order))


@pytest.mark.parametrize("name", ["schema.json", "config.yaml", "notes.txt"])
def test_a_directory_of_something_else_is_refused(logs, tmp_path, monkeypatch, name):
    output = tmp_path / "rolling"
    output.mkdir()
    (output / name).touch()
    with pytest.raises(InputError, match=f"is in use already: it holds {name}"):
        roll_with(monkeypatch, FakeSteps(), config_for(tmp_path, logs))
    assert [path.name for path in output.iterdir()] == [name]


def test_a_second_process_is_kept_out(logs, tmp_path, monkeypatch):
    config = config_for(tmp_path, logs[:1])
    config.output.mkdir()
    with (
        directories.only_process(config.output),
        pytest.raises(InputError, match="is in use: another process learns day by day"),
    ):
        roll_with(monkeypatch, FakeSteps(), config)
    roll_with(monkeypatch, FakeSteps(), config)


def test_a_resumed_run_waits_for_the_step_of_a_killed_one(
    logs, tmp_path, monkeypatch, capsys
):
    config = config_for(tmp_path, logs[:1])
    days = config.output / "days"
    days.mkdir(parents=True)
    descriptor = os.open(days, os.O_RDONLY)  # as the step still holds it
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    def end_of_step(*args):
        print(*args)
        os.close(descriptor)

    monkeypatch.setattr(journal, "print", lambda *args, **_: end_of_step(*args), False)
    roll_with(monkeypatch, FakeSteps(), config)
    assert "Waiting for a process of the stopped run to end" in capsys.readouterr().out


def test_a_damaged_journal_is_refused(logs, tmp_path, monkeypatch):
    config = config_for(tmp_path, logs[:1])
    roll_with(monkeypatch, FakeSteps(), config)
    file = tmp_path / "rolling" / "rolling.json"
    file.write_text(file.read_text().replace("day_0", "day_5"))
    with pytest.raises(InputError, match="is damaged"):
        roll_with(monkeypatch, FakeSteps(), config)


@pytest.mark.parametrize("name", ["learned.json", "scores.json"])
def test_a_damaged_file_of_a_day_is_named_and_can_be_made_again(
    logs, tmp_path, monkeypatch, name
):
    config = config_for(tmp_path, logs[:3])
    roll_with(monkeypatch, FakeSteps(), config)
    expected = results(tmp_path)
    file = tmp_path / "rolling" / "days" / "0003" / name
    file.write_text("{")
    if name == "scores.json":
        with pytest.raises(InputError, match=f"{name} is damaged"):
            roll_with(monkeypatch, FakeSteps(), config)
    file.unlink()
    (file.parent / "learned.json").unlink(missing_ok=True)
    roll_with(monkeypatch, FakeSteps(), config)
    assert results(tmp_path) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "neither is given"),
        ({"raw": ("a",), "data_dirs": ("b",)}, "both are given"),
        ({"raw": ("a", "a")}, "raw is .*, expected each once"),
        ({"raw": ("a",), "keep": 0}, "keep is 0, expected >= 1"),
        ({"raw": ("a",), "forget_days": 0}, "forget_days is 0, expected >= 1"),
        ({"raw": ("a",), "compare": ("cold", "cold")}, "compare is .*, expected each"),
        ({"raw": ("a",), "run_dir": "r"}, "run_dir is r, expected none"),
        ({"raw": ("a",), "data_dir": "d"}, "data_dir is d, expected none"),
        ({"raw": ("a",), "early_stopping": 2}, "a day holds no rows out"),
        (
            {"raw": ("a",), "optimizer": OptimizerConfig(schedule=PlateauConfig())},
            "optimizer.schedule is plateau, .* a day holds no rows out",
        ),
        ({"data_dirs": ("a",), "forget_days": 2}, "forget_days is 2, expected none"),
        (
            {
                "raw": ("a",),
                "forget_days": 2,
                "prepare": PrepareConfig(dialect="hash"),
            },
            "the hash dialect has no vocabulary",
        ),
    ],
)
def test_settings_that_make_no_rolling_run_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        RollingConfig(**settings)


def test_all_rows_of_a_day_are_learned_unless_the_settings_say_otherwise():
    config = RollingConfig(raw=("a",))
    assert (config.preparing().validation_days, config.preparing().test_days) == (0, 0)
    held_out = PrepareConfig(days=10, validation_days=1, test_days=0)
    assert RollingConfig(raw=("a",), prepare=held_out).preparing() == held_out
    facebook = PrepareConfig(dialect="facebook")  # which always holds out rows
    assert RollingConfig(raw=("a",), prepare=facebook).preparing() == facebook


def test_versions_go_to_a_directory_of_the_run_s_name(tmp_path):
    config = RollingConfig(raw=("a",), output=tmp_path / "ads")
    assert str(config.versions_dir) == "saved_models/ads"
