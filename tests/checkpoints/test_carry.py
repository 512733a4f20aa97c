"""Rows of tables in other tables, and pieces that are carried there."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfdlrm.checkpoints.carry import RowMap

TABLES = st.lists(
    st.tuples(st.lists(st.booleans(), min_size=1, max_size=6), st.integers(0, 3)),
    min_size=1,
    max_size=5,
)


@given(TABLES, st.randoms(use_true_random=False))
def test_each_carried_row_goes_to_the_row_of_its_id(tables, random):
    carried = [np.array(flags) for flags, _ in tables]
    num_rows = [len(flags) + num_new for flags, num_new in tables]
    expected, source_row, target_start = {}, 0, 0
    for flags, rows in zip(carried, num_rows, strict=True):
        for number, flag in enumerate(flags):
            if flag:
                expected[source_row] = target_start + number
            source_row += 1
        target_start += rows
    rows = np.array(
        sorted(random.sample(range(source_row), random.randint(1, source_row)))
    )
    row_map = RowMap(carried, num_rows)
    assert row_map.num_source_rows == source_row
    indices, targets = row_map.locate(rows)
    located = dict(zip(rows[indices].tolist(), targets.tolist(), strict=True))
    assert located == {row: expected[row] for row in rows.tolist() if row in expected}
