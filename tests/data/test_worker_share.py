"""Several workers share a pass: every row once, in equally many steps."""

from itertools import chain

import numpy as np
import pytest

from tests.data.test_reading import ROWS, as_batches, data_sets, rows, small_windows
from tfdlrm.data.reading import read_split
from tfdlrm.data.reading_order import WorkerShare

__all__ = ["data_sets", "small_windows"]  # fixtures


ROW_IS_SLOW = ["block", pytest.param("row", marks=pytest.mark.slow)]


@pytest.fixture(params=["block", "row"])
def data_set(data_sets, request):
    return data_sets[request.param]


def shares(num_workers, batches_per_step=1):
    return [WorkerShare(i, num_workers, batches_per_step) for i in range(num_workers)]


def read_all(data_set, batch_size, shuffle, shares, start_batch=0):
    return [
        as_batches(
            read_split(*data_set, "train", batch_size, shuffle, start_batch, share)
        )
        for share in shares
    ]


# Seven shards: more than workers, as many, and fewer.
@pytest.mark.slow_variants
@pytest.mark.parametrize(
    ("num_workers", "shuffle"),
    [
        (3, None),
        (3, (3, 0)),
        (7, (3, 0)),
        *(
            pytest.param(*values, marks=pytest.mark.slow)
            for values in [(2, None), (2, (3, 0)), (7, None), (20, None), (20, (3, 0))]
        ),
    ],
)
def test_each_row_is_read_once_by_one_worker(data_set, num_workers, shuffle):
    parts = read_all(data_set, 60, shuffle, shares(num_workers))
    rows_read = [*chain.from_iterable(chain.from_iterable(parts))]
    assert sorted(rows_read) == sorted(rows(read_split(*data_set, "train", 60)))
    sizes = [sum(map(len, part)) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("data_set", ROW_IS_SLOW, indirect=True)
@pytest.mark.parametrize(
    "num_workers", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 20))]
)
def test_a_step_has_the_rows_that_it_has_for_one_worker(data_set, num_workers):
    for batch_size in (30, 56, 1000):
        alone = as_batches(read_split(*data_set, "train", batch_size, (3, 0)))
        parts = read_all(data_set, batch_size, (3, 0), shares(num_workers))
        assert {len(part) for part in parts} == {len(alone)}
        sizes = np.array([[len(batch) for batch in part] for part in parts])
        assert np.ptp(sizes.sum(axis=0)) <= num_workers
        assert np.ptp(sizes) <= 1


def test_every_device_of_a_worker_has_a_batch_in_a_step(data_set):
    parts = read_all(data_set, 60, (3, 0), shares(2, batches_per_step=3))
    assert [len(part) for part in parts] == [3 * 7, 3 * 7]
    rows_read = [*chain.from_iterable(chain.from_iterable(parts))]
    assert sorted(rows_read) == sorted(rows(read_split(*data_set, "train", 60)))


@pytest.mark.parametrize("data_set", ROW_IS_SLOW, indirect=True)
@pytest.mark.parametrize(
    "batches_per_step", [pytest.param(1, marks=pytest.mark.slow), 2]
)
def test_workers_go_on_where_a_pass_was_left(data_set, batches_per_step):
    workers = shares(3, batches_per_step)
    parts = read_all(data_set, 30, (3, 1), workers)
    for step in (1, 5, 14):
        later_parts = read_all(data_set, 30, (3, 1), workers, start_batch=step)
        assert later_parts == [part[step * batches_per_step :] for part in parts]


def test_a_worker_opens_no_shards_but_its_own(data_set):
    directory, schema = data_set
    (first_shard, *_, last_shard), num_rows = (
        schema.split_shards("train"),
        sum(ROWS["train"]),
    )
    for share, other_shard in zip(shares(2), (last_shard, first_shard), strict=True):
        path = directory / other_shard.path
        hidden = path.with_suffix(".hidden")
        batches = read_split(*data_set, "train", 60, share=share)
        path.rename(hidden)
        try:
            assert len(rows(batches)) == num_rows // 2
        finally:
            hidden.rename(path)
