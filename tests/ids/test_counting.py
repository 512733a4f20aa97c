from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.ids.counting import ValueCounter

VALUES = st.integers(0, 2**32 - 1) | st.integers(0, 5) | st.none()
MUCH, LITTLE = 2**30, 2000


def count(pieces, dtype, memory_bytes, work, min_frequency=1):
    counter = ValueCounter(memory_bytes, work)
    for piece in pieces:
        counter.add(pl.Series("C1", piece, dtype))
    counts = counter.counts(min_frequency)
    assert not list(work.iterdir())
    return counts, counter.num_distinct


@pytest.mark.slow_variants
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(VALUES, max_size=20), max_size=6), st.integers(1, 3))
@pytest.mark.parametrize("dtype", [pl.UInt32, pl.String])
@pytest.mark.parametrize("memory_bytes", [MUCH, LITTLE])
def test_counts_are_those_of_plain_python(
    tmp_path, dtype, memory_bytes, pieces, min_frequency
):
    if dtype == pl.String:
        pieces = [[v if v is None else f"é{v}" for v in piece] for piece in pieces]
    counts, num_distinct = count(pieces, dtype, memory_bytes, tmp_path, min_frequency)
    values = [value for piece in pieces for value in piece]
    plain = Counter(value for value in values if value is not None)
    expected = [
        (value, n, values.index(value))
        for value, n in plain.items()
        if n >= min_frequency
    ]
    assert counts.rows() == expected  # a Counter keeps the order of first sight
    assert num_distinct == len(plain)


@pytest.mark.slow_variants
@pytest.mark.parametrize("distinct", [10, 300, 200_000])
@pytest.mark.parametrize("dtype", [pl.UInt32, pl.String])
def test_counts_that_go_to_disk_are_the_same(tmp_path, distinct, dtype):
    rng = np.random.default_rng(0)
    pieces = [
        pl.Series(rng.integers(distinct, size=10_000), dtype=pl.UInt32).cast(dtype)
        for _ in range(8)
    ]
    in_memory, _ = count(pieces, dtype, MUCH, tmp_path)
    counter = ValueCounter(200 * 1000, tmp_path)
    for piece in pieces:
        counter.add(piece)
    assert bool(list(tmp_path.iterdir())) == (distinct > 1000)
    assert counter.counts().equals(in_memory)
    assert counter.num_distinct == in_memory.height


def test_files_of_an_earlier_count_do_not_matter(tmp_path):
    values = [range(100)] * 2
    stale = ValueCounter(LITTLE, tmp_path)
    stale.add(pl.Series(range(1000, 2000), dtype=pl.UInt32))
    assert list(tmp_path.iterdir())
    counter = ValueCounter(LITTLE, tmp_path)
    for piece in values:
        counter.add(pl.Series(piece, dtype=pl.UInt32))
    assert counter.counts()["frequency"].to_list() == [2] * 100


def test_rows_are_numbered_beyond_32_bits(tmp_path):
    counter = ValueCounter(MUCH, tmp_path)
    counter._num_rows = counter._batch_start = 2**32 + 5
    counter.add(pl.Series([7, 9, 7], dtype=pl.UInt32))
    counter.add(pl.Series([8], dtype=pl.UInt32))
    assert counter.counts().rows() == [
        (7, 2, 2**32 + 5),
        (9, 1, 2**32 + 6),
        (8, 1, 2**32 + 8),
    ]
