import re
from importlib.util import find_spec

import polars as pl
import pytest

from benchmarks import read
from benchmarks.prepare import main
from benchmarks.runs import id_lookup, read_run
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


@pytest.mark.slow
def test_the_benchmark_prints_each_stage_of_each_size(tmp_path, capfd):
    sizes = ["--rows", "[2000]", "--vocabulary_sizes", "[]"]
    main([*sizes, "--work_dir", str(tmp_path)])
    printed = capfd.readouterr().out
    for stage in ("read rows", "count values", "encode rows", "write shards"):
        assert re.search(rf"^\| {stage} +\| +[\d.]+ \|", printed, re.MULTILINE)
    total = re.search(r"^\| whole command( +\| +[\d.,]+){5} \|$", printed, re.MULTILINE)
    assert total
    assert "within the budget of 8GB" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["kaggle-like-2000.tsv"]


def test_every_way_to_look_up_ids_finds_the_same():
    vocabulary, (piece, *_) = id_lookup._draw(5_000)
    ids = dict(zip(vocabulary["value"], vocabulary["id"], strict=True))
    expected = [ids[value] for value in piece]
    ways = id_lookup.WAYS
    for make in ways.values():
        assert make(vocabulary)(piece).tolist() == expected
    lines = id_lookup.lookup_table((1_000,)).splitlines()[2:]
    assert [line.split("|")[2].strip() for line in lines] == list(ways)
    assert all(float(line.split("|")[4].replace(",", "")) > 0 for line in lines)


@pytest.mark.slow
def test_the_reading_benchmark_prints_every_way(tmp_path, capfd):
    read.main(["--rows", "20000", "--seconds", "0.1", "--work_dir", str(tmp_path)])
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
