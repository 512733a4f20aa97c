"""Raw rows that occurred, against the log and the model's own conversion."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from pipelines.prepare import prepare
from tests.support.exported_cases import CRITEO_ROWS, NAMES
from tests.support.own_log import CONFIG, DESCRIPTION, ROWS, write_log
from tests.support.raw_rows import write_rows
from tfdlrm.config import PrepareConfig
from tfdlrm.exporting.sample_rows import NUM_SAMPLES, number_text, sample_rows


def prepare_own_log(directory, config=CONFIG):
    """Return the directory and the schema of a data set."""
    (directory / "columns.yaml").write_text(DESCRIPTION)
    log = write_log(directory / "log.csv", ROWS[:900])
    config = replace(config, columns=directory / "columns.yaml")
    return directory / "data", prepare([log], directory / "data", config)


@pytest.mark.parametrize(
    "config", [PrepareConfig(min_frequency=1), PrepareConfig(dialect="facebook")]
)
def test_a_sample_is_a_row_of_the_log(tmp_path, config):
    log = write_rows(tmp_path / "log.tsv", CRITEO_ROWS)
    schema = prepare([log], tmp_path / "data", config)
    samples = sample_rows(tmp_path / "data", schema)
    assert 1 < len(samples) <= NUM_SAMPLES
    log = [line.decode().split("\t")[1:] for line in CRITEO_ROWS]
    for sample in samples:
        values = [sample[column] for column in NAMES]
        assert any(is_same_row(values, fields) for fields in log)


def is_same_row(values, fields):
    """Compare a sample with a row of the log: nothing and negatives are 0 there."""
    numbers = [str(max(int(field or 0), 0)) for field in fields[:13]]
    categories = [field or value for field, value in zip(fields, values, strict=True)]
    return values[:13] == numbers and [value.lstrip("0") for value in values[13:]] == [
        field.lstrip("0").lower() for field in categories[13:]
    ]


def test_a_sample_of_an_own_log_is_a_row_of_it(tmp_path):
    samples = sample_rows(*prepare_own_log(tmp_path))
    assert len(samples) == NUM_SAMPLES
    for sample in samples:
        assert any(
            sample["tags"] == [tag for tag in row["tags"].split("|") if tag]
            and sample["shops"] == row["shops"].split()
            and sample["user"] == row["user"]
            and sample["age"] == (row["age"] or "0")
            and float(sample["price"]) == max(float(row["price"]), 0)
            for row in ROWS[:900]
        )


def test_hashes_have_no_samples(tmp_path):
    config = PrepareConfig(dialect="hash", hash_buckets=7)
    assert sample_rows(*prepare_own_log(tmp_path, config)) == []


def test_rows_that_all_have_unknown_values_are_no_samples(tmp_path):
    config = PrepareConfig(min_frequency=10_000)
    log = write_rows(tmp_path / "log.tsv", [b"0" + b"\t1" * 39] * 20)
    schema = prepare([log], tmp_path / "data", config)
    assert sample_rows(tmp_path / "data", schema) == []


def test_the_features_of_a_number_are_those_of_its_text():
    rng = np.random.default_rng(0)
    numbers = np.concatenate([np.arange(2000), rng.integers(0, 2**40, 500)])
    for number in numbers:
        feature = np.float32(np.log1p(np.float64(number)))
        text = number_text(feature, False)
        assert np.float32(np.log1p(float(text))) == feature
        assert len(text) <= len(str(number)) and text.isdigit()
    assert number_text(np.float32(-2.5), True) == "-2.5"
    assert number_text(np.float32(1e30), True) == str(int(1e30))


def test_a_data_set_without_vocabularies_has_no_sample(tmp_path):
    data_dir, schema = prepare_own_log(tmp_path)
    shutil.rmtree(data_dir / "vocabulary")
    assert sample_rows(data_dir, schema) == []
