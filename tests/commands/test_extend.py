"""`prepare --extend`: ids stay, new values get the next ones, forgotten ones go."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import polars as pl
import pytest

from pipelines.ids.coverage_report import read_coverage
from pipelines.prepare import PrepareCommand, prepare
from pipelines.stages.extending import open_earlier
from pipelines.stages.journal import Journal
from pipelines.verify import verify
from tests.support.days_of_shop import (
    COLUMNS,
    bags,
    make_day,
    tags,
    users,
    write_day,
)
from tests.support.plain_chain import PlainColumn
from tests.support.prepared_runs import files_of
from tests.support.raw_rows import make_rows, write_rows
from tfdlrm.base import storage
from tfdlrm.base.command_line import parse
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data import read_split
from tfdlrm.data.extension import carried_ids
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.rare_values import read_rare_values
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_files import read_history

MIN_FREQUENCY = 3
TRAIN_ONLY = {"validation_days": 0.0, "test_days": 0.0}
DAYS = [make_day(number) for number in range(4)]


def config_of(directory, **settings):
    columns = directory / "columns.yaml"
    columns.write_text(COLUMNS)
    return PrepareConfig(
        min_frequency=MIN_FREQUENCY, columns=columns, **TRAIN_ONLY, **settings
    )


def extending(directory, **settings):
    return PrepareConfig(extend=directory, **{**TRAIN_ONLY, **settings})


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Logs of four days, and a data set of the first two, each extending the last."""
    root = tmp_path_factory.mktemp("shop")
    for number, rows in enumerate(DAYS):
        write_day(root / f"day{number}.csv", rows)
    prepare([root / "day0.csv"], root / "set0", config_of(root))
    prepare([root / "day1.csv"], root / "set1", extending(root / "set0"))
    return root


def history(directory, name):
    schema = FeatureSchema.load(directory)
    sizes = {f.name: f.vocabulary_size for f in schema.categorical_features}
    return read_history(directory, name, sizes[name] - 2).rows()


def plain_columns(days, **settings):
    """Return users and tags after some days, in plain Python."""
    columns = PlainColumn(MIN_FREQUENCY), PlainColumn(MIN_FREQUENCY)
    for number, rows in enumerate(days):
        forgets = settings if number else {}
        for column, values in zip(columns, (users, tags), strict=True):
            column.add(values(rows), **forgets)
    return columns


def rows_of(directory, split="train"):
    """Return the rows of a split: label, ids of the user and of the tags."""
    schema = FeatureSchema.load(directory)
    rows = []
    for features, labels in read_split(directory, schema, split, 50):
        ids = features["categorical_features"].to_list()
        for label, (user, bag) in zip(labels.numpy().ravel(), ids, strict=True):
            rows.append((int(label), user[0], tuple(bag)))
    return rows


def plain_rows(rows, user_column, tag_column):
    return [
        (
            int(row["bought"] == "yes"),
            1 if user is None else user_column.ids.get(user, 0),
            tuple(tag_column.ids.get(tag, 0) for tag in bag),
        )
        for row, user, bag in zip(rows, users(rows), bags(rows), strict=True)
    ]


def test_values_keep_their_ids_and_new_ones_get_the_next(shop):
    columns = plain_columns(DAYS[:2])
    for name, column in zip(("user", "tags"), columns, strict=True):
        assert len(column.new) > 1
        assert history(shop / "set1", name) == column.rows
        rare = pl.concat(read_rare_values(shop / "set1", name)).rows()
        assert rare == column.rare
        before = history(shop / "set0", name)
        now = history(shop / "set1", name)
        assert [row[:2] for row in now[: len(before)]] == [row[:2] for row in before]
    assert sorted(rows_of(shop / "set1")) == sorted(plain_rows(DAYS[1], *columns))


def test_the_schema_records_the_chain(shop):
    first = FeatureSchema.load(shop / "set0")
    second = FeatureSchema.load(shop / "set1")
    assert first.chain == () and first.new_ids == {} and first.days == 1
    (link,) = second.chain
    assert link.meaning == Meaning.of(first).fingerprint
    assert link.data_set == first.fingerprint
    assert link.days == 1
    sizes = {f.name: f.vocabulary_size for f in first.categorical_features}
    assert link.num_ids == sizes
    user_column, tag_column = plain_columns(DAYS[:2])
    new = {"user": len(user_column.new), "tags": len(tag_column.new)}
    assert second.new_ids == new
    for feature in second.categorical_features:
        assert feature.vocabulary_size == sizes[feature.name] + new[feature.name]
    assert (second.dialect, second.min_frequency) == ("default", MIN_FREQUENCY)
    assert second.columns == first.columns


def test_a_chain_grows(shop, tmp_path):
    prepare([shop / "day2.csv"], tmp_path / "set2", extending(shop / "set1"))
    schema = FeatureSchema.load(tmp_path / "set2")
    first, second = (FeatureSchema.load(shop / name) for name in ("set0", "set1"))
    meanings = [Meaning.of(s).fingerprint for s in (first, second)]
    assert [link.meaning for link in schema.chain] == meanings
    assert history(tmp_path / "set2", "user") == plain_columns(DAYS[:3])[0].rows
    for meaning, before in zip(meanings, (first, second), strict=True):
        carried = carried_ids(tmp_path / "set2", schema, meaning)
        assert {n: len(c) for n, c in carried.items()} == {
            f.name: f.vocabulary_size for f in before.categorical_features
        }
        assert all(column.all() for column in carried.values())
    assert carried_ids(shop / "set1", second, Meaning.of(schema).fingerprint) is None
    assert verify(tmp_path / "set2") == []


def test_coverage_is_told_against_both_vocabularies(shop, tmp_path, capsys):
    settings = extending(shop / "set1", validation_days=1.0, test_days=2.0)
    prepare([shop / "day2.csv"], tmp_path / "data", settings)
    printed = capsys.readouterr().out
    assert "values have an id now, 0 lost theirs" in printed
    assert "before" in printed and "new" in printed
    train, validation, test = np.split(np.array(DAYS[2]), [172, 215])
    before, now = plain_columns(DAYS[:2])[0], plain_columns([*DAYS[:2], train])[0]
    feature = read_coverage(tmp_path / "data")[0]
    assert (feature.new, feature.forgotten) == (len(now.new), 0)
    assert (feature.kept, feature.distinct) == (len(now.ids), len(now.counts))
    for name, rows in (("train", train), ("validation", validation), ("test", test)):
        values = users(rows)
        for shares, column in (
            (feature.unknown, now),
            (feature.unknown_before, before),
        ):
            unknown = sum(v is not None and v not in column.ids for v in values)
            assert shares[name] == pytest.approx(unknown / len(values))
    page = (tmp_path / "data" / "coverage.md").read_text()
    assert "| feature | kept | new | train" in page


def test_a_first_data_set_says_nothing_of_extending(shop):
    report = json.loads((shop / "set0" / "coverage.json").read_text())
    assert not {"new", "forgotten", "unknown_before"} & report["features"][0].keys()
    assert "chain" not in json.loads((shop / "set0" / "schema.json").read_text())


def test_the_same_command_again_does_nothing(shop, capsys):
    prepare([shop / "day1.csv"], shop / "set1", extending(shop / "set0"))
    assert "is already prepared" in capsys.readouterr().out


def test_a_moved_base_is_the_same_base(shop, tmp_path, capsys):
    shutil.copytree(shop / "set0", tmp_path / "elsewhere")
    prepare([shop / "day1.csv"], shop / "set1", extending(tmp_path / "elsewhere"))
    assert "is already prepared" in capsys.readouterr().out


def test_a_data_set_that_extends_another_one_is_another(shop, tmp_path):
    shutil.copytree(shop / "set1", tmp_path / "base")
    with pytest.raises(InputError, match="extend named another data set, or none"):
        prepare([shop / "day1.csv"], shop / "set1", extending(tmp_path / "base"))
    config = config_of(shop)
    with pytest.raises(InputError, match="was made differently"):
        prepare([shop / "day1.csv"], shop / "set1", config)


def test_the_same_columns_file_may_be_given(shop, tmp_path):
    config = config_of(shop, extend=shop / "set0")
    prepare([shop / "day1.csv"], tmp_path / "data", config)
    files = files_of(tmp_path / "data")
    expected = files_of(shop / "set1")
    assert files.keys() == expected.keys()
    assert [name for name in files if files[name] != expected[name]] == ["schema.json"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_frequency": 4}, "min_frequency is 4, but what extend names was prepa"),
        ({"dialect": "hash"}, "dialect is hash, but what extend names was prepared"),
        ({"hash_buckets": 9}, "hash_buckets is 9, but what extend names was prepare"),
        ({"max_index_range": 9}, "max_index_range is 9, but what extend names"),
        ({"forget_days": 0}, "forget_days is 0, expected >= 1"),
    ],
)
def test_other_settings_are_refused(shop, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        prepare(
            [shop / "day1.csv"], tmp_path / "x", extending(shop / "set0", **settings)
        )
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bought,", "price2,", "label: column bought there, price2 here"),
        ('"yes"', '"no"', "label: positive is 'yes' there, 'no' here"),
        ("transform: none", "transform: log1p", "column age: transform none there"),
        ("user,", "user2,", "categorical columns: user is there, and not here"),
        ('tags, separator: "|"', "tags", "column tags: several values a row there"),
        ("[price,", "[", "dense columns: price is there, and not here"),
        ("[user,", "[{name: user, missing: [x]},", "column user: missing"),
    ],
)
def test_other_columns_are_refused(shop, tmp_path, old, new, message):
    assert old in COLUMNS
    columns = tmp_path / "other.yaml"
    columns.write_text(COLUMNS.replace(old, new))
    with pytest.raises(InputError, match=message):
        prepare(
            [shop / "day1.csv"],
            tmp_path / "x",
            extending(shop / "set0", columns=columns),
        )


def test_criteo_rows_do_not_extend_a_log_of_ones_own(shop, tmp_path):
    raw = write_rows(tmp_path / "day.txt", make_rows(50))
    prepare([raw], tmp_path / "criteo", PrepareConfig(min_frequency=2))
    with pytest.raises(InputError, match="describes another log than what extend na"):
        config = extending(tmp_path / "criteo", columns=shop / "columns.yaml")
        prepare([shop / "day1.csv"], tmp_path / "x", config)


def test_forgetting_needs_something_to_extend():
    with pytest.raises(InputError, match="forget_days is 3, expected none without ex"):
        PrepareConfig(forget_days=3)


def test_what_is_no_data_set_is_not_extended(shop, tmp_path):
    with pytest.raises(InputError, match="expected a data set directory with schema"):
        prepare([shop / "day1.csv"], tmp_path / "x", extending(tmp_path))
    with pytest.raises(InputError, match="expected a data set directory with schema"):
        prepare([shop / "day1.csv"], tmp_path / "x", extending(tmp_path / "none"))


def test_what_is_extended_is_known_by_all_days_before_it(shop, tmp_path):
    config = replace(config_of(tmp_path), min_frequency=1)
    for name, settings in (
        ("once", config),
        ("twice", extending(tmp_path / "once")),
        ("next", extending(tmp_path / "once")),
    ):
        day = "day1.csv" if name == "next" else "day0.csv"
        prepare([shop / day], tmp_path / name, settings)
    once, twice = (FeatureSchema.load(tmp_path / name) for name in ("once", "twice"))
    assert once.fingerprint == twice.fingerprint  # only the counts differ
    with pytest.raises(InputError, match="extend named another data set"):
        prepare([shop / "day1.csv"], tmp_path / "next", extending(tmp_path / "twice"))


@pytest.mark.parametrize("folder", [".", "next", "vocabulary/next"])
def test_an_output_in_what_is_extended_is_refused(shop, folder):
    files = files_of(shop / "set0")
    with pytest.raises(InputError, match="is what extend names, or lies in it"):
        prepare([shop / "day1.csv"], shop / "set0" / folder, extending(shop / "set0"))
    assert files_of(shop / "set0") == files


def test_a_damaged_base_is_refused(shop, tmp_path):
    for name in ("vocabulary/user.parquet", "rare_values/tags.parquet"):
        shutil.copytree(shop / "set0", tmp_path / "base", dirs_exist_ok=True)
        path = tmp_path / "base" / name
        path.write_bytes(path.read_bytes()[:-9] + b"123456789")
        with pytest.raises(InputError, match=path.name):
            prepare([shop / "day1.csv"], tmp_path / "x", extending(tmp_path / "base"))
        path.unlink()
        with pytest.raises(InputError, match=path.name):
            prepare([shop / "day1.csv"], tmp_path / "x", extending(tmp_path / "base"))
        assert not (tmp_path / "x").exists()


def test_an_earlier_release_kept_no_rare_values(shop, tmp_path, capsys):
    base = tmp_path / "base"
    shutil.copytree(shop / "set0", base)
    shutil.rmtree(base / "rare_values")
    replace(FeatureSchema.load(base), rare_values={}, days=None).save(base)
    prepare([shop / "day1.csv"], tmp_path / "data", extending(base))
    printed = capsys.readouterr().out
    assert f"{base} has no rare_values, as in data sets of earlier releases" in printed
    column = plain_columns(DAYS[:1])[0]
    for value, _, _ in column.rare:
        del column.counts[value], column.last_days[value]
    column.add(users(DAYS[1]))
    assert history(tmp_path / "data", "user") == column.rows


def test_values_that_are_no_longer_seen_are_forgotten(shop, tmp_path, capsys):
    settings = extending(shop / "set1", forget_days=1)
    prepare([shop / "day2.csv"], tmp_path / "data", settings)
    columns = plain_columns(DAYS[:2])
    for column, values in zip(columns, (users, tags), strict=True):
        column.add(values(DAYS[2]), forget_days=1)
    assert any(row[0] is None for row in columns[0].rows)
    for name, column in zip(("user", "tags"), columns, strict=True):
        assert history(tmp_path / "data", name) == column.rows
    assert sorted(rows_of(tmp_path / "data")) == sorted(plain_rows(DAYS[2], *columns))
    assert verify(tmp_path / "data") == []
    feature = read_coverage(tmp_path / "data")[0]
    before = plain_columns(DAYS[:2])[0]
    assert feature.forgotten == len(before.ids.keys() - columns[0].ids.keys()) > 0
    assert feature.kept == len(columns[0].ids)


def test_coverage_before_counts_forgotten_values_of_held_out_rows(shop, tmp_path):
    settings = extending(shop / "set0", forget_days=1, test_days=3.0)
    prepare([shop / "day1.csv"], tmp_path / "data", settings)
    before, now = plain_columns(DAYS[:1])[0], plain_columns(DAYS[:1])[0]
    train, test = DAYS[1][:172], DAYS[1][172:]
    now.add(users(train), forget_days=1)
    values = users(test)
    lost = [v for v in values if v in before.ids and v not in now.ids]
    assert lost
    feature = read_coverage(tmp_path / "data")[0]
    for shares, column in ((feature.unknown, now), (feature.unknown_before, before)):
        unknown = sum(v is not None and v not in column.ids for v in values)
        assert shares["test"] == pytest.approx(unknown / len(values))
    ids = [1 if value is None else now.ids.get(value, 0) for value in values]
    assert [row[1] for row in rows_of(tmp_path / "data", "test")] == ids


def test_days_are_counted_by_files(shop, tmp_path):
    raw = [shop / "day1.csv", shop / "day2.csv"]
    prepare(raw, tmp_path / "data", extending(shop / "set0", forget_days=2))
    schema = FeatureSchema.load(tmp_path / "data")
    assert schema.days == 2
    column = plain_columns(DAYS[:1])[0]
    column.add(users([*DAYS[1], *DAYS[2]]), days=2, forget_days=2)
    assert history(tmp_path / "data", "user") == column.rows


@pytest.mark.parametrize(("days", "expected"), [(None, 1), (5, 5)])
def test_days_of_one_file_are_what_is_given(shop, tmp_path, days, expected):
    prepare([shop / "day1.csv"], tmp_path / "data", extending(shop / "set0", days=days))
    assert FeatureSchema.load(tmp_path / "data").days == expected


def test_days_of_a_split_column_are_its_dates(shop, tmp_path):
    (tmp_path / "columns.yaml").write_text(f"{COLUMNS}split: {{day: date}}\n")
    dates = [1, 1, 2], [3, 4, 4, 6]
    users_of_dates = [f"u{date}" for day in dates for date in day]
    raw = []
    for number, day in enumerate(dates):
        raw.append(tmp_path / f"log{number}.csv")
        lines = [f"{'yes' if date % 2 else 'no'},u{date},,1,2,{date}" for date in day]
        raw[-1].write_text("\n".join(["bought,user,tags,price,age,date", *lines]))
    config = PrepareConfig(
        min_frequency=1, columns=tmp_path / "columns.yaml", **TRAIN_ONLY
    )
    prepare(raw[:1], tmp_path / "set0", config)
    prepare(raw[1:], tmp_path / "set1", extending(tmp_path / "set0", forget_days=4))
    schema = FeatureSchema.load(tmp_path / "set1")
    assert (schema.chain[0].days, schema.days) == (2, 3)
    values = {row[0]: row[4] for row in history(tmp_path / "set1", "user")}
    assert values == dict.fromkeys(users_of_dates[:3], 1) | dict.fromkeys(
        users_of_dates[3:], 4
    )
    with pytest.raises(InputError, match="days is 3, but by what is extended the col"):
        prepare(raw[1:], tmp_path / "x", extending(tmp_path / "set0", days=3))


def test_settings_that_agree_may_be_given(shop, tmp_path, capsys):
    settings = extending(shop / "set0", dialect="default", min_frequency=MIN_FREQUENCY)
    prepare([shop / "day1.csv"], shop / "set1", settings)
    assert "is already prepared" in capsys.readouterr().out


def test_a_facebook_data_set_is_extended_as_if_prepared_at_once(tmp_path):
    rows = make_rows(300, seed=1)
    raw = [
        write_rows(tmp_path / "day0", rows[:150]),
        write_rows(tmp_path / "day1", rows[150:]),
    ]
    config = PrepareConfig(dialect="facebook", max_index_range=1000)
    prepare(raw, tmp_path / "whole", config)
    prepare(raw[:1], tmp_path / "set0", config)
    prepare(raw[1:], tmp_path / "set1", PrepareConfig(extend=tmp_path / "set0"))
    whole, second = (FeatureSchema.load(tmp_path / n) for n in ("whole", "set1"))
    assert second.vocabulary_contents == whole.vocabulary_contents
    assert second.max_index_range == 1000
    assert not (tmp_path / "set1" / "rare_values").exists()


def test_hashed_ids_are_extended_without_counting(tmp_path):
    raw = write_rows(tmp_path / "day.txt", make_rows(60))
    prepare([raw], tmp_path / "set0", PrepareConfig(dialect="hash", hash_buckets=7))
    config = PrepareConfig(extend=tmp_path / "set0")
    schema = prepare([raw], tmp_path / "set1", config)
    assert (schema.dialect, schema.hash_buckets) == ("hash", 7)
    assert len(schema.chain) == 1 and schema.new_ids == {}
    with pytest.raises(InputError, match="forget_days is 2, but the hash dialect has"):
        prepare([raw], tmp_path / "x", replace(config, forget_days=2))


@pytest.mark.parametrize("is_after", [False, True])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    shop, tmp_path, monkeypatch, is_after
):
    settings = extending(shop / "set1", forget_days=1, test_days=1.0)
    prepare([shop / "day2.csv"], tmp_path / "whole", settings)
    add, countdown = Journal.add, 0

    def add_or_stop(journal, step, entry):
        nonlocal countdown
        countdown -= 1
        if countdown or is_after:
            add(journal, step, entry)
        if not countdown:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "add", add_or_stop)
    num_stops = 0
    while not (tmp_path / "data").exists():
        countdown = 2
        try:
            prepare([shop / "day2.csv"], tmp_path / "data", settings)
        except KeyboardInterrupt:
            num_stops += 1
    assert num_stops > 2
    assert files_of(tmp_path / "data") == files_of(tmp_path / "whole")


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    "name", ["rare_values/user.parquet", "vocabulary/user.parquet"]
)
@pytest.mark.parametrize("damage", ["cut", "missing", "other"])
def test_damaged_counts_of_a_stopped_run_are_made_again(
    shop, tmp_path, monkeypatch, capsys, name, damage
):
    add = Journal.add

    def add_then_stop(journal, step, entry):
        add(journal, step, entry)
        if step == "vocabulary" and journal.count(step) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", add_then_stop)
        with pytest.raises(KeyboardInterrupt):
            prepare([shop / "day1.csv"], tmp_path / "data", extending(shop / "set0"))
    path = tmp_path / ".data.partial" / "data" / name
    contents = path.read_bytes()
    path.unlink()
    if damage != "missing":
        new_contents = {"cut": contents[:-30], "other": contents[:-1] + b"?"}
        path.write_bytes(new_contents[damage])
    capsys.readouterr()
    prepare([shop / "day1.csv"], tmp_path / "data", extending(shop / "set0"))
    assert f"{path} " in capsys.readouterr().out
    assert files_of(tmp_path / "data") == files_of(shop / "set1")


@pytest.mark.parametrize("is_missing", [False, True])
def test_damaged_forgotten_values_are_found_again(
    shop, tmp_path, monkeypatch, capsys, is_missing
):
    settings = extending(shop / "set0", forget_days=1, test_days=3.0)
    prepare([shop / "day1.csv"], tmp_path / "whole", settings)
    add = Journal.add

    def add_then_stop(journal, step, entry):
        add(journal, step, entry)
        if step == "vocabulary" and journal.count(step) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", add_then_stop)
        with pytest.raises(KeyboardInterrupt):
            prepare([shop / "day1.csv"], tmp_path / "data", settings)
    path = tmp_path / ".data.partial" / "work" / "forgotten" / "user.arrow"
    contents = path.read_bytes()
    path.unlink()
    if not is_missing:
        path.write_bytes(contents[:-9])
    capsys.readouterr()
    prepare([shop / "day1.csv"], tmp_path / "data", settings)
    assert f"{path} " in capsys.readouterr().out
    assert files_of(tmp_path / "data") == files_of(tmp_path / "whole")


def test_memory_changes_nothing(shop, tmp_path, monkeypatch):
    from pipelines.ids import counting

    monkeypatch.setattr(counting, "_BYTES_PER_VALUE", 10**9)  # a few values at a time
    prepare([shop / "day1.csv"], tmp_path / "data", extending(shop / "set0"))
    assert files_of(tmp_path / "data") == files_of(shop / "set1")


def test_settings_of_a_command_line_reach_the_data_set(shop, tmp_path):
    extend = f"--extend {shop / 'set0'} --forget_days 2"
    argv = f"--raw {shop / 'day1.csv'} --output {tmp_path / 'data'} {extend}"
    command = parse(PrepareCommand, "pipelines.prepare", argv.split(), several="raw")
    schema = prepare(command.raw, command.output, command)
    assert schema.source["settings"]["forget_days"] == 2
    link = asdict(schema.chain[0])
    expected = {"meaning": link["meaning"], "data_set": link["data_set"]}
    assert schema.source["settings"]["extend"] == [expected]


def test_verify_names_damaged_rare_values(shop, tmp_path):
    shutil.copytree(shop / "set1", tmp_path / "data")
    path = tmp_path / "data" / "rare_values" / "user.parquet"
    path.write_bytes(path.read_bytes() + b"?")
    (problem,) = verify(tmp_path / "data")
    assert problem.startswith(f"{path} has the checksum")
    path.unlink()
    assert verify(tmp_path / "data") == [
        f"{path} cannot be read: No such file or directory"
    ]


def test_a_version_of_a_model_is_found(shop, tmp_path):
    directory = tmp_path / "models"
    for version in ("2", "10", "11"):
        extra = directory / version / "assets.extra"
        extra.mkdir(parents=True)
        shutil.copy(shop / "set0" / "schema.json", extra)
        shutil.copytree(shop / "set0" / "vocabulary", extra / "vocabulary")
        if version != "11":  # still being copied
            (directory / version / "saved_model.pb").touch()
    for path in (directory, directory / "10"):
        earlier = open_earlier(storage.at(path))
        assert earlier.directory == directory / "10" / "assets.extra"


def test_missing_values_keep_their_id_when_others_are_forgotten(tmp_path):
    rows = [make_rows(60, seed) for seed in range(2)]
    # Id 0 is that of the missing value, the first one of all.
    rows[0][0] = b"\t".join([b"0", *[b""] * 39])
    raw = [write_rows(tmp_path / f"day{day}", rows[day]) for day in range(2)]
    prepare(raw[:1], tmp_path / "set0", PrepareConfig(dialect="facebook"))
    config = PrepareConfig(extend=tmp_path / "set0", forget_days=1)
    schema = prepare(raw[1:], tmp_path / "set1", config)
    assert any(feature.forgotten for feature in read_coverage(tmp_path / "set1"))
    values = [value for row in rows[1] for value in row.split(b"\t")[14:]]
    num_missing = values.count(b"") + values.count(b"00000000")
    ids = [
        features["categorical_features"].numpy()
        for split in ("train", "validation", "test")
        if schema.num_rows(split)
        for features, _ in read_split(tmp_path / "set1", schema, split, 50)
    ]
    assert np.count_nonzero(np.concatenate(ids) == 0) == num_missing
