import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.stages.split import split_rows
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig


@given(
    st.integers(20, 500),
    st.integers(1, 9),
    st.sampled_from([0, 0.1, 0.5, 0.9, 1, 1.5, 2]),
    st.sampled_from([0, 0.1, 0.5, 0.9, 1, 1.5, 2]),
)
def test_splits_cut_days_as_numpy_does(num_rows, days, validation_days, test_days):
    config = PrepareConfig(
        days=days, validation_days=validation_days, test_days=test_days
    )
    if validation_days + test_days >= days:
        with pytest.raises(InputError, match="hold out"):
            split_rows([num_rows], config)
        return
    split = split_rows([num_rows // 2, num_rows - num_rows // 2], config)
    parts = np.array_split(np.arange(num_rows), days)
    assert split.rows_per_day == tuple(len(part) for part in parts)
    held_out = round(10 * (validation_days + test_days)) / 10
    for end, time in zip(split.ends, (days - held_out, days - test_days), strict=False):
        rows_before = [row for part in parts[: int(time)] for row in part]
        share = time - int(time)
        cut = share * len(parts[int(time)]) if share else 0
        assert abs(end - len(rows_before) - cut) < 1
        if share == 0.5:
            halves = np.array_split(parts[int(time)], 2)
            assert end == len(rows_before) + len(halves[0])
    assert split.ends[2] == num_rows


def test_half_of_one_row_is_that_row():
    config = PrepareConfig(days=3, validation_days=2.5, test_days=0)
    assert split_rows([1], config).ends == (1, 1, 1)


def test_a_split_without_training_rows_is_refused():
    config = PrepareConfig(days=3, validation_days=2.5, test_days=0)
    with pytest.raises(InputError, match="no row is left to train on"):
        split_rows([0, 0], config)
