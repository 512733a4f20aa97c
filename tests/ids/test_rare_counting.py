"""Counts of rare values come back in order and in bounded memory."""

import numpy as np
import polars as pl
import pytest

from pipelines.ids.rare_counting import RareValues
from tfdlrm.base.kept_files import DamagedFileError
from tfdlrm.data import rare_values
from tfdlrm.data.rare_values import (
    copy_rare_values,
    rare_values_path,
    read_rare_values,
    write_rare_values,
)


def make_counts(num_values, dtype):
    """Return counts of distinct values in no order."""
    rng = np.random.default_rng(0)
    values = pl.Series("value", rng.choice(2**32, num_values, replace=False), pl.UInt32)
    frequencies = pl.Series("frequency", rng.integers(1, 9, num_values), pl.Int64)
    values = values if dtype == pl.UInt32 else "é" + values.cast(pl.String)
    return pl.DataFrame([values.alias("value"), frequencies])


def in_parts(counts, num_parts):
    return [counts.gather_every(num_parts, part) for part in range(num_parts)]


@pytest.mark.parametrize("dtype", [pl.UInt32, pl.String])
def test_counts_on_disk_come_back_in_order_a_few_at_a_time(tmp_path, dtype):
    counts = make_counts(20_000, dtype)
    rare = RareValues(1024, tmp_path)
    for part in in_parts(counts, 64):
        rare.add(part)
    assert len(list(tmp_path.iterdir())) > 32
    frames = list(rare.in_order())
    assert len(frames) > 20
    assert max(frame.height for frame in frames) <= 1024
    assert pl.concat(frames).equals(counts.sort("value"))
    assert not list(tmp_path.iterdir())


def test_values_that_are_far_from_uniform_are_cut_evenly_too(tmp_path):
    values = np.arange(10_000) ** 2 % 2**31
    distinct = np.unique(values)
    counts = pl.DataFrame({"value": pl.Series(distinct, dtype=pl.UInt32)})
    counts = counts.with_columns(frequency=pl.lit(1, pl.Int64))
    rare = RareValues(1024, tmp_path)
    for part in in_parts(counts, 64):
        rare.add(part)
    frames = list(rare.in_order())
    assert max(frame.height for frame in frames) <= 1024
    assert pl.concat(frames).equals(counts)


def test_a_damaged_run_is_noticed(tmp_path):
    rare = RareValues(10, tmp_path)
    for part in in_parts(make_counts(100, pl.UInt32), 4):
        rare.add(part)
    path = sorted(tmp_path.iterdir())[0]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DamagedFileError, match=path.name):
        list(rare.in_order())


@pytest.mark.parametrize("dtype", [pl.UInt32, pl.String])
@pytest.mark.parametrize("num_values", [0, 1, 4, 9, 30])
def test_the_file_depends_on_the_counts_alone(tmp_path, monkeypatch, dtype, num_values):
    monkeypatch.setattr(rare_values, "_GROUP_ROWS", 4)
    counts = make_counts(num_values, dtype).sort("value")
    contents = []
    for num_rows in (1, 3, 100):
        parts = list(counts.iter_slices(num_rows)) or [counts]
        write_rare_values(parts, tmp_path, "C1")
        contents.append(rare_values_path(tmp_path, "C1").read_bytes())
    assert len(set(contents)) == 1
    frames = list(read_rare_values(tmp_path, "C1"))
    assert max((frame.height for frame in frames), default=0) <= 4
    assert pl.concat([counts.clear(), *frames]).equals(counts)
    (tmp_path / "copy").mkdir()
    copy_rare_values(tmp_path, "C1", tmp_path / "copy")
    assert rare_values_path(tmp_path / "copy", "C1").read_bytes() == contents[0]


def test_numbers_take_few_bytes(tmp_path):
    write_rare_values([make_counts(100_000, pl.UInt32).sort("value")], tmp_path, "C1")
    size = rare_values_path(tmp_path, "C1").stat().st_size
    # Neighbours differ by 2**32 / 100,000, 16 bits; frequencies take 3 or 4.
    assert size / 100_000 < 3


def test_a_data_set_without_rare_values_has_none_to_read_or_copy(tmp_path):
    assert read_rare_values(tmp_path, "C1") is None
    copy_rare_values(tmp_path, "C1", tmp_path)
    assert not list(tmp_path.iterdir())
