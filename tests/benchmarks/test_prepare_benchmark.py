import re
from importlib.util import find_spec

import polars as pl
import pytest

from benchmarks import read
from benchmarks.prepare import main
from benchmarks.runs import read_run
from benchmarks.workload.raw_file import write_rows
from pipelines.logs.criteo_file import RawFile


def test_generated_rows_are_well_formed_and_the_same_each_time(tmp_path):
    write_rows(tmp_path / "a", 2000)
    write_rows(tmp_path / "b", 2000)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    frame = pl.concat(list(RawFile(tmp_path / "a")))
    assert frame.height == 2000
    assert 0.1 < frame["label"].mean() < 0.4
    assert frame["C3"].n_unique() > 500 > 10 > frame["C9"].n_unique()


def test_the_benchmark_prints_each_stage_of_each_size(tmp_path, capfd):
    main(["--rows", "[2000]", "--data", str(tmp_path)])
    printed = capfd.readouterr().out
    for stage in ("read rows", "count values", "encode rows", "write shards"):
        assert re.search(rf"^\| {stage} +\| +[\d.]+ \|", printed, re.MULTILINE)
    total = re.search(r"^\| whole command( +\| +[\d.,]+){5} \|$", printed, re.MULTILINE)
    assert total
    assert "within the budget of 8GB" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["kaggle-like-2000.tsv"]


@pytest.mark.slow
def test_the_reading_benchmark_prints_every_way(tmp_path, capfd):
    read.main(["--rows", "20000", "--seconds", "0.1", "--data", str(tmp_path)])
    printed = capfd.readouterr().out
    table = printed[printed.index("| records") :].splitlines()[2:]
    names = [line.split("|")[1].strip() for line in table]
    parquet_is_read = find_spec("tensorflow_io") is not None
    assert names == [
        description
        for way, description in read_run.DESCRIPTIONS.items()
        if parquet_is_read or not way.startswith("parquet")
    ]
    rates = [float(line.split("|")[2].replace(",", "")) for line in table]
    ratios = [float(line.split("|")[3]) for line in table]
    assert min(rates) > 0
    for rate, ratio in zip(rates, ratios, strict=True):
        assert ratio == pytest.approx(rate / rates[0], rel=0.02)
