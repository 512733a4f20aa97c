import numpy as np
import pyarrow.parquet as pa_parquet
import pytest
from scipy import stats

from pipelines.logs.columns_file import load_columns
from pipelines.random_data import BLOCK_ROWS, RandomData, random_rows, write_random
from tests.support.processes import run_command_line
from tfdlrm.base.errors import InputError


def all_rows(data):
    blocks = list(random_rows(data))
    return (
        np.concatenate([block.labels for block in blocks]),
        np.concatenate([block.dense for block in blocks]),
        [np.concatenate(ids) for ids in zip(*(b.indices for b in blocks), strict=True)],
        [np.concatenate(ls) for ls in zip(*(b.lengths for b in blocks), strict=True)],
    )


def test_uniform_ids_are_uniform_up_to_both_ends():
    _, dense, (few, many), _ = all_rows(
        RandomData(rows=20_000, vocabulary_sizes=(7, 500))
    )
    for ids, size in ((few, 7), (many, 500)):
        counts = np.bincount(ids, minlength=size)
        assert len(counts) == size
        assert stats.chisquare(counts).pvalue > 0.01
    assert dense.shape == (20_000, 13)
    assert stats.kstest(dense.ravel(), "uniform").pvalue > 0.01


def test_gaussian_ids_have_their_mean_and_deviation():
    data = RandomData(20_000, (1_000, 50), ids="gaussian", deviation=20.0, mean=25.0)
    _, _, (wide, narrow), _ = all_rows(data)
    expected = stats.norm(25, 20)
    edges = np.arange(1_000)[:100] + 0.5
    shares = np.array([np.mean(wide < edge) for edge in edges])
    assert np.abs(shares - expected.cdf(edges)).max() < 1.95 / np.sqrt(20_000)
    assert (narrow.min(), narrow.max()) == (0, 49)
    beyond = np.mean(narrow == 49)
    assert beyond == pytest.approx(expected.sf(48.5), abs=0.01)


def test_the_mean_of_gaussian_ids_is_the_middle_of_each_table():
    _, _, indices, _ = all_rows(RandomData(5_000, (1_001, 11), ids="gaussian"))
    for ids, middle in zip(indices, (500, 5), strict=True):
        assert ids.mean() == pytest.approx(middle, abs=0.1)


def test_a_fixed_number_of_lookups_is_fixed():
    *_, indices, lengths = all_rows(RandomData(100, (2, 50), lookups=4))
    assert [len(ids) for ids in indices] == [400, 400]
    assert all(np.all(num_ids == 4) for num_ids in lengths)


def test_a_random_number_of_lookups_is_at_most_the_table():
    data = RandomData(20_000, (3, 50), lookups=6, lookups_fixed=False)
    *_, indices, lengths = all_rows(data)
    for ids, num_ids, most in zip(indices, lengths, (3, 6), strict=True):
        assert (num_ids.min(), num_ids.max(), num_ids.sum()) == (1, most, len(ids))
        # max(1, round(u * most)): the first takes half of zero's share too.
        expected = np.array([1.5, *[1] * (most - 2), 0.5]) / most * 20_000
        assert stats.chisquare(np.bincount(num_ids)[1:], expected).pvalue > 0.01


def test_the_seed_decides_and_a_shorter_run_is_the_start():
    data = RandomData(BLOCK_ROWS + 5, (100,), seed=1)
    rows = all_rows(data)
    np.testing.assert_array_equal(rows[2][0], all_rows(data)[2][0])
    other_rows = all_rows(RandomData(BLOCK_ROWS + 5, (100,), seed=2))
    assert np.any(rows[2][0] != other_rows[2][0])
    first = next(random_rows(RandomData(BLOCK_ROWS, (100,), seed=1)))
    np.testing.assert_array_equal(first.indices[0], rows[2][0][:BLOCK_ROWS])


@pytest.mark.parametrize("lookups", [1, 3])
def test_the_file_has_the_rows_and_says_what_its_columns_are(tmp_path, lookups):
    path = tmp_path / "rows.parquet"
    data = RandomData(
        BLOCK_ROWS + 9, (100, 5), num_dense=2, lookups=lookups, lookups_fixed=False
    )
    write_random(path, data)
    labels, dense, indices, lengths = all_rows(data)
    table = pa_parquet.read_table(path)
    assert table.column_names == ["label", "D1", "D2", "C1", "C2"]
    np.testing.assert_array_equal(table["label"].to_numpy(), labels)
    np.testing.assert_array_equal(table["D2"].to_numpy(), dense[:, 1])
    bags = table["C1"].to_pylist()
    if lookups == 1:
        assert bags == indices[0].tolist()
    else:
        ends = np.cumsum(lengths[0])[:-1]
        assert bags == [ids.tolist() for ids in np.split(indices[0], ends)]
    columns = load_columns(tmp_path / "rows.parquet.columns.yaml")
    assert columns.dense_features == columns.untransformed == ("D1", "D2")
    assert columns.categorical_features == ("C1", "C2")
    assert columns.multi_hot == (() if lookups == 1 else ("C1", "C2"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows": 0}, "rows is 0"),
        ({"vocabulary_sizes": (3, 0)}, "vocabulary_sizes"),
        ({"lookups": 0}, "lookups is 0"),
        ({"deviation": 0.0}, "deviation is 0.0"),
        ({"deviation": 2.0}, "deviation is 2.0, expected none with uniform ids"),
        ({"mean": 0.0}, "mean is 0.0, expected none with uniform ids"),
        ({"vocabulary_sizes": (), "num_dense": 0}, "number of features is 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        RandomData(**{"rows": 5, "vocabulary_sizes": (4,), **settings})


def test_the_command_writes_a_file_or_says_why_not(tmp_path):
    command = "python -m pipelines.random_data --rows 10 --vocabulary_sizes '[4,3,2]'"
    process = run_command_line(f"{command} --output_file rows.parquet", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert pa_parquet.read_table(tmp_path / "rows.parquet").num_rows == 10
    (tmp_path / "file").write_text("")
    failed = run_command_line(
        f"{command} --output_file file/rows.parquet", cwd=tmp_path
    )
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
