from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ids.encoded_rows import Bags, EncodedRows, concatenate
from tfdlrm.data.block_format import row_type

TYPE = row_type(2, 3)


def rows_of(lists, seed=0):
    """Return random rows with these bags, a list of a list a column for each row."""
    rng = np.random.default_rng(seed)
    fixed = np.frombuffer(rng.bytes(len(lists) * TYPE.itemsize), TYPE)
    bags = []
    for column in zip(*lists, strict=True):
        values = np.array([i for bag in column for i in bag], np.int32)
        bags.append(Bags(values, np.array([len(bag) for bag in column], np.int32)))
    return EncodedRows(fixed, tuple(bags))


def plain(rows):
    """Return each row as bytes and a list for each bag."""
    columns = []
    for bags in rows.bags:
        starts = np.cumsum([0, *bags.lengths])
        columns.append([bags.values[s:e].tolist() for s, e in pairwise(starts)])
    return [
        (row.tobytes(), *bag) for row, *bag in zip(rows.fixed, *columns, strict=True)
    ]


BAG = st.lists(st.integers(0, 9), max_size=4)
LISTS = st.lists(st.tuples(BAG, BAG), min_size=1, max_size=20)


@given(LISTS, st.randoms(use_true_random=False))
def test_rows_are_taken_and_split_as_lists_are(lists, random):
    rows = rows_of(lists)
    expected = plain(rows)
    order = [random.randrange(len(lists)) for _ in range(random.randrange(30))]
    rows_taken = rows.take(np.array(order, np.int64))
    assert plain(rows_taken) == [expected[i] for i in order]
    ends = sorted(random.randrange(len(lists) + 1) for _ in range(3))
    parts = rows.split(ends)
    starts = [0, *ends]
    assert [plain(part) for part in parts] == [
        expected[start:end] for start, end in zip(starts, [*ends, None], strict=True)
    ]
    assert plain(concatenate(parts)) == expected
    blocks = [plain(block) for block in rows.blocks(3)]
    assert [len(block) for block in blocks[:-1]] == [3] * (len(blocks) - 1)
    assert list(chain.from_iterable(blocks)) == expected


@pytest.mark.parametrize("num_bags", [0, 2])
def test_what_was_appended_is_read_again(tmp_path, num_bags):
    parts = [
        rows_of([([1, 2], []), ([], [7])], seed=1),
        rows_of([([], [])], seed=2),
        rows_of([([5], [6, 6])], seed=3),
    ]
    parts = [EncodedRows(part.fixed, part.bags[:num_bags]) for part in parts]
    path = tmp_path / "rows"
    sizes = []
    with path.open("ab") as file:
        for part in parts:
            sizes.append(part.write(file))
    assert path.stat().st_size == sum(sizes)
    rows = EncodedRows.read(path, TYPE, num_bags)
    assert plain(rows) == plain(concatenate(parts))
