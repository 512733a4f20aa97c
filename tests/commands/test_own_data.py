"""A log that is not Criteo's through the whole chain, against a plain reading of it."""

import math
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from pipelines.logs import opening, text_log
from pipelines.prepare import prepare
from pipelines.stages import encoding
from pipelines.stages.journal import Journal
from pipelines.verify import verify
from tests.support.own_log import CONFIG, DESCRIPTION, ROWS, write_log
from tests.support.prepared_runs import files_of
from tests.support.raw_rows import write_rows
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.parsing import row_spec
from tfdlrm.data.reading import read_split
from tfdlrm.data.schema import FeatureSchema

SPLITS = ("train", "validation", "test")


def bag_of(row, name):
    text = row[name]
    separators = {"tags": "|", "shops": " "}
    if name in separators:
        return [part for part in text.split(separators[name]) if part]
    return [text or None]


def expected(rows, min_frequency=4):
    """Return the label, dense features and bags of ids of every row, by split."""
    order = sorted(range(len(rows)), key=lambda i: (int(rows[i]["ts"]), i))
    per_day = Counter(int(row["ts"]) // 86_400 for row in rows)
    counts = [per_day[day] for day in sorted(per_day)]
    test = sum(counts[:-2]) + math.ceil(counts[-2] / 2)
    validation = sum(counts[:-3]) + math.ceil(counts[-3] / 2)
    parts = [order[:validation], order[validation:test], order[test:]]
    ids = {}
    for name in ("user", "tags", "shops"):
        counts = Counter(v for i in parts[0] for v in bag_of(rows[i], name) if v)
        frequent = sorted((v for v in counts if counts[v] >= min_frequency), key=str)
        frequent.sort(key=lambda v, counts=counts: -counts[v])
        ids[name] = {v: i for i, v in enumerate(frequent, start=2)} | {None: 1}

    def encode(row):
        dense = (
            math.log1p(max(float(row["price"] or 0), 0)),
            float(row["age"] or 0),
        )
        bags = [[ids[n].get(v, 0) for v in bag_of(row, n)] for n in ids]
        return float(row["bought"] == "yes"), dense, bags

    encoded = {
        split: [encode(rows[i]) for i in sorted(part)]
        for split, part in zip(SPLITS, parts, strict=True)
    }
    return encoded, [len(feature_ids) + 1 for feature_ids in ids.values()]


def as_lists(ids):
    """Return `ids.to_list()`, which itself takes a second for a thousand rows."""
    ends = np.cumsum(ids.values.row_lengths())
    bags = [bag.tolist() for bag in np.split(ids.flat_values, ends[:-1])]
    width = ids.shape[1]
    return [bags[row : row + width] for row in range(0, len(bags), width)]


def read(directory, split):
    schema = FeatureSchema.load(directory)
    rows = []
    for features, labels in read_split(directory, schema, split, 100):
        bags = as_lists(features["categorical_features"])
        dense = features["dense_features"].numpy()
        for label, numbers, bag in zip(labels.numpy()[:, 0], dense, bags, strict=True):
            rows.append((float(label), tuple(float(x) for x in numbers), bag))
    return rows


def round_all(rows):
    return [
        (label, tuple(round(x, 4) for x in dense), bags) for label, dense, bags in rows
    ]


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("own")
    (directory / "columns.yaml").write_text(DESCRIPTION)
    write_log(directory / "log.csv", ROWS)
    return directory


@pytest.fixture(scope="module")
def config(work_dir):
    return replace(CONFIG, columns=work_dir / "columns.yaml")


@pytest.fixture(scope="module")
def data_dir(work_dir, config):
    prepare([work_dir / "log.csv"], work_dir / "data", config)
    return work_dir / "data"


def assert_holds(directory, rows=ROWS):
    expected_rows, sizes = expected(rows)
    schema = FeatureSchema.load(directory)
    assert schema.vocabulary_sizes == sizes
    for split in SPLITS:
        actual_rows = round_all(read(directory, split))
        part = round_all(expected_rows[split])
        if split == "train":
            actual_rows, part = sorted(actual_rows), sorted(part)
        assert actual_rows == part


def test_a_data_set_is_what_plain_python_makes_of_the_log(data_dir):
    assert_holds(data_dir)
    schema = FeatureSchema.load(data_dir)
    assert schema.single_hot == ["user"]
    assert schema.multi_hot == ["tags", "shops"]
    assert (schema.label, schema.untransformed) == ("bought", ("age",))
    assert verify(data_dir) == []


@pytest.mark.slow
def test_rows_of_one_record_each_are_the_same_rows(work_dir, config, data_dir):
    output = work_dir / "rows"
    prepare([work_dir / "log.csv"], output, replace(config, record_format="row"))
    for split in SPLITS:
        assert read(output, split) == read(data_dir, split)
    assert verify(output) == []
    schema = FeatureSchema.load(output)
    record = next(iter(tf.data.TFRecordDataset(str(output / schema.shards[-1].path))))
    example = tf.train.Example.FromString(record.numpy())
    assert example.SerializeToString(deterministic=True) == record.numpy()
    parsed = tf.io.parse_example([record.numpy()], row_spec(schema))
    label, _, bags = read(output, "test")[0]
    assert float(parsed["bought"][0]) == label
    assert [parsed["tags"].to_list()[0], parsed["shops"].to_list()[0]] == bags[1:]


@pytest.mark.slow
def test_small_pieces_and_several_passes_change_nothing_that_is_learned(
    work_dir, config, tmp_path, monkeypatch
):
    monkeypatch.setattr(encoding, "_TABLES_SHARE", 10**9)  # a pass for each column
    monkeypatch.setattr(opening, "open_log", partial(small_log, chunk_bytes=4096))
    zipped = write_log(tmp_path / "log.csv.gz", ROWS)
    prepare([zipped], tmp_path / "data", config)
    assert_holds(tmp_path / "data")


def small_log(path, columns, on_bad_row, chunk_bytes):
    return text_log.TextLog(path, columns, on_bad_row, chunk_bytes=chunk_bytes)


def test_an_interrupted_run_goes_on_to_the_same_bytes(
    work_dir, config, tmp_path, monkeypatch
):
    monkeypatch.setattr(opening, "open_log", partial(small_log, chunk_bytes=20_000))
    log = work_dir / "log.csv"
    prepare([log], tmp_path / "whole", config)
    expected_files = files_of(tmp_path / "whole")
    add, entry_names = Journal.add, []

    def add_and_stop(journal, entry_name, entry):
        add(journal, entry_name, entry)
        entry_names.append(entry_name)
        raise KeyboardInterrupt

    output = tmp_path / "stopped"
    while not output.exists():
        monkeypatch.setattr(Journal, "add", add_and_stop)
        try:
            prepare([log], output, config)
        except KeyboardInterrupt:
            assert len(entry_names) < 100
    assert {"piece", "time cuts", "time piece", "encoded", "shard"} <= set(entry_names)
    assert files_of(output) == expected_files


@pytest.mark.slow
def test_parquet_gives_the_same_data_set(config, data_dir, tmp_path):
    frame = pl.DataFrame(ROWS).with_columns(
        pl.col("ts").cast(pl.Int64),
        pl.col("price").cast(pl.Float64),
        pl.col("age").cast(pl.Int16, strict=False),
        pl.col("tags").str.split("|"),
        pl.when(pl.col("user") != "").then("user").cast(pl.Categorical).alias("user"),
    )
    frame.write_parquet(tmp_path / "log.parquet", row_group_size=400)
    columns = tmp_path / "columns.yaml"
    text = DESCRIPTION.replace('tags, separator: "|"', "tags, multi_hot: true")
    columns.write_text(f"format: parquet\n{text}")
    prepare(
        [tmp_path / "log.parquet"], tmp_path / "data", replace(config, columns=columns)
    )
    assert_holds(tmp_path / "data")


@pytest.mark.slow
def test_own_text_is_hashed_without_counting(work_dir, config, tmp_path):
    settings = replace(config, dialect="hash", min_frequency=None, hash_buckets=50)
    schema = prepare([work_dir / "log.csv"], tmp_path / "data", settings)
    assert schema.vocabulary_sizes == [52, 52, 52]
    tags = [bag_of(row, "tags") for row in ROWS]
    hashed = [tf.strings.to_hash_bucket_fast(bag, 50) + 2 for bag in tags]
    actual_ids = [
        bags[1] for split in SPLITS for _, _, bags in read(tmp_path / "data", split)
    ]
    assert sorted(actual_ids) == sorted(ids.numpy().tolist() for ids in hashed)


def test_settings_that_do_not_go_together_are_refused_before_reading(
    work_dir, config, tmp_path
):
    log, output = [write_rows(tmp_path / "log.csv", [b"no row"])], tmp_path / "data"
    with pytest.raises(
        InputError, match=r"days is 3, but .*columns.yaml the column ts"
    ):
        prepare(log, output, replace(config, days=3))
    facebook = PrepareConfig(dialect="facebook", columns=config.columns)
    with pytest.raises(InputError, match="the facebook dialect numbers Criteo's"):
        prepare(log, output, facebook)
    with pytest.raises(InputError, match="tags has several values a row"):
        prepare(log, output, replace(config, record_format="parquet"))
    assert not output.exists()


@pytest.mark.parametrize(
    ("positive", "is_reported"), [("yes", False), ("Yes", True), ("no", False)]
)
def test_labels_that_are_all_alike_are_told(tmp_path, capsys, positive, is_reported):
    columns, log = tmp_path / "columns.yaml", tmp_path / "log.csv"
    columns.write_text(f"{{label: {{name: y, positive: '{positive}'}}, dense: [a]}}")
    log.write_text("y,a\nyes,1\nno,2\n")
    config = PrepareConfig(columns=columns, validation_days=0, test_days=0)
    prepare([log], tmp_path / "data", config)
    assert ("same label" in capsys.readouterr().out) == is_reported


def test_columns_described_otherwise_are_another_data_set(
    work_dir, config, data_dir, tmp_path
):
    other_description = tmp_path / "columns.yaml"
    other_description.write_text(DESCRIPTION.replace("[price, ", "[price, unused, "))
    with pytest.raises(InputError, match="columns describes other columns"):
        prepare(
            [work_dir / "log.csv"], data_dir, replace(config, columns=other_description)
        )
    other_description.write_text(f"# a comment\n{DESCRIPTION}")
    prepare(
        [work_dir / "log.csv"], data_dir, replace(config, columns=other_description)
    )
