"""The Spark engine, in a real session on two cores, against the local one."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pipelines.engines import spark, spark_reading, spark_session
from pipelines.engines.spark_parts import Part, PartRead
from pipelines.logs import opening
from pipelines.logs.bad_rows import BadRow, SkippedRows
from pipelines.logs.criteo_file import RawFile
from pipelines.prepare import prepare
from pipelines.stages import buckets
from pipelines.verify import verify
from tests.support.days_of_shop import COLUMNS, make_day, write_day
from tests.support.own_log import CONFIG as OWN_CONFIG
from tests.support.own_log import DESCRIPTION, write_log
from tests.support.own_log import ROWS as OWN_ROWS
from tests.support.prepared_runs import files_of
from tests.support.processes import ROOT, run_command_line
from tests.support.raw_rows import make_rows, replace_field, write_rows
from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import FeatureSchema

pyspark_sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
SparkSession = pyspark_sql.SparkSession
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("Java is not installed", allow_module_level=True)

ROWS = make_rows(1500, seed=5)
BAD = replace_field(ROWS[0], 3, b"many")
SPARK = {"engine": "spark", "master": "local[2]"}


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A session for several runs; the engine uses the active session."""
    config = PrepareConfig(**SPARK)
    with spark_session.cluster(config) as workers:
        workers.session.conf.set("spark.sql.shuffle.partitions", "2")
        yield workers.session


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(opening, "RawFile", partial(RawFile, chunk_bytes=20_000))
    monkeypatch.setattr(spark_reading, "CHUNKS_PER_PART", 3)
    monkeypatch.setattr(buckets, "MAX_SHARD_ROWS", 300)


@pytest.fixture
def raw(tmp_path):
    """A plain file of several parts and a zipped one, with malformed lines."""
    return [
        write_rows(tmp_path / "day_0", [*ROWS[:100], b"", *ROWS[100:900], BAD]),
        write_rows(tmp_path / "day_1.gz", [*ROWS[900:950], BAD, *ROWS[950:]]),
    ]


def skipped_rows(printed: str) -> list[str]:
    lines = printed.splitlines()
    start = lines.index("skipped 3 malformed rows")
    return lines[start : start + 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        PrepareConfig(min_frequency=3),
        PrepareConfig(min_frequency=600),
        PrepareConfig(dialect="facebook"),
        PrepareConfig(dialect="hash", record_format="row"),
    ],
)
@pytest.mark.usefixtures("session")
def test_spark_makes_the_same_data_set(raw, tmp_path, capsys, config):
    config = replace(config, on_bad_row="skip")
    prepare(raw, tmp_path / "local", config)
    report = skipped_rows(capsys.readouterr().out)
    schema = prepare(raw, tmp_path / "spark", replace(config, **SPARK))
    assert len(schema.shards) > 4
    assert files_of(tmp_path / "spark") == files_of(tmp_path / "local")
    assert verify(tmp_path / "spark") == []
    assert skipped_rows(capsys.readouterr().out) == report
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
@pytest.mark.usefixtures("session")
def test_spark_prepares_ones_own_log(tmp_path, monkeypatch):
    blank = dict.fromkeys(("user", "tags", "shops"), "")
    (tmp_path / "columns.yaml").write_text(DESCRIPTION)
    raw = [
        write_log(tmp_path / "log.csv", OWN_ROWS[:1000]),
        write_log(tmp_path / "more.csv.gz", OWN_ROWS[1000:]),
        write_log(tmp_path / "blank.csv", [{**row, **blank} for row in OWN_ROWS[:50]]),
    ]
    config = replace(OWN_CONFIG, columns=tmp_path / "columns.yaml")
    prepare(raw, tmp_path / "local", config)
    monkeypatch.setattr(
        spark, "table_groups", lambda *_: (("user", "tags"), ("shops",))
    )
    prepare(raw, tmp_path / "spark", replace(config, **SPARK))
    assert files_of(tmp_path / "spark") == files_of(tmp_path / "local")


@pytest.mark.slow
@pytest.mark.usefixtures("session")
def test_the_first_bad_row_is_told_with_its_line(raw, tmp_path):
    with pytest.raises(InputError) as locally:
        prepare(raw, tmp_path / "data", PrepareConfig())
    with pytest.raises(InputError) as by_spark:
        prepare(raw, tmp_path / "data", PrepareConfig(**SPARK))
    assert str(by_spark.value) == str(locally.value)
    assert "day_0 line 101: is blank" in str(by_spark.value)
    assert {path.name for path in tmp_path.iterdir()} == {"day_0", "day_1.gz"}


@pytest.mark.slow
@pytest.mark.usefixtures("session")
def test_what_spark_cannot_use_is_refused_in_one_line(raw, tmp_path):
    zipped = raw[1].read_bytes()
    raw[1].write_bytes(zipped[: len(zipped) // 2])
    skip = PrepareConfig(on_bad_row="skip", **SPARK)
    with pytest.raises(InputError, match=r"day_1.gz is a damaged gzip file"):
        prepare(raw, tmp_path / "data", skip)
    write_rows(raw[1], [b"no", b"rows"])
    with pytest.raises(InputError, match=r"day_1.gz has no well-formed row"):
        prepare(raw, tmp_path / "data", skip)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
@pytest.mark.usefixtures("session")
def test_a_stopped_run_goes_on_and_notices_a_changed_input(
    raw, tmp_path, monkeypatch, capsys
):
    config = PrepareConfig(on_bad_row="skip", min_frequency=3, **SPARK)
    output = tmp_path / "data"
    work = tmp_path / ".data.partial" / "work"

    def stop(*_args):
        raise KeyboardInterrupt

    earlier_pieces = None
    for stage in ("make_vocabularies", "write_shards", "make_schema"):
        with monkeypatch.context() as patch:
            patch.setattr(spark, stage, stop)
            with pytest.raises(KeyboardInterrupt):
                prepare(raw, output, config)
        pieces = {path: path.stat().st_ino for path in work.glob("*.arrow")}
        assert pieces
        assert earlier_pieces in (None, pieces)  # none is written twice
        earlier_pieces = pieces
    finished = work / "shard-000000.json"
    finished.unlink()  # as if killed before this one was written
    text = raw[0].read_bytes()
    raw[0].write_bytes(text)  # written again with the same contents
    prepare(raw, output, config)
    assert "resuming an earlier run from" in capsys.readouterr().out
    prepare(raw, tmp_path / "whole", replace(config, engine="local", master=None))
    assert files_of(output) == files_of(tmp_path / "whole")
    shutil.rmtree(output)

    with monkeypatch.context() as patch:
        patch.setattr(spark, "write_shards", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(raw, output, config)
    raw[0].write_bytes(bytes([text[0] ^ 1]) + text[1:])
    prepare(raw, output, config)
    assert "day_0 has changed" in capsys.readouterr().out
    prepare(raw, tmp_path / "other", replace(config, engine="local", master=None))
    assert files_of(output) == files_of(tmp_path / "other")


@pytest.mark.slow
def test_the_command_goes_on_after_a_kill(tmp_path):
    raw = write_rows(tmp_path / "train.txt", ROWS)
    output = tmp_path / "data"
    # Only this process knows where the project is, and sends it to workers.
    program = (
        f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); "
        "runpy.run_module('pipelines.prepare', run_name='__main__')"
    )
    command = [
        *(sys.executable, "-c", program, "--raw", str(raw), "--output", str(output)),
        *("--engine", "spark", "--master", "local[2]"),
    ]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    child = subprocess.Popen(command, cwd=tmp_path, env=environment)
    parts = tmp_path / ".data.partial" / "work"
    while child.poll() is None and not list(parts.glob("*.arrow")):
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert not output.exists()
    process = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert "resuming an earlier run from" in process.stdout
    assert "next: python -m tfdlrm.train" in process.stdout
    local = tmp_path / "local"
    command = [sys.executable, "-c", program, "--raw", str(raw), "--output", str(local)]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert FeatureSchema.load(output).shards == FeatureSchema.load(local).shards
    assert verify(output) == []


def test_a_part_of_a_file_has_the_rows_of_its_chunks(tmp_path):
    path = tmp_path / "train.txt"
    for end in (b"\n", b""):
        path.write_bytes(b"\r\n".join([*ROWS[:200], b"bad", *ROWS[200:400]]) + end)
        for chunk_bytes in (2000, 9973):
            file = RawFile(path, "skip", chunk_bytes)
            expected = [frame.rows() for frame in file]
            skipped = file.skipped.to_json()
            for size in (1, 4, 1000):
                frames, lines, bad = [], 0, []
                for start in range(0, file.num_chunks, size):
                    stop = min(start + size, file.num_chunks)
                    frames += [frame.rows() for frame in file.part(range(start, stop))]
                    bad += [row.line + lines for row in file.skipped.examples.values()]
                    lines += file.num_lines
                assert frames == expected
                assert lines == 401
                assert bad == [skipped["examples"][0]["line"]] == [201]


def test_a_file_without_good_rows_is_told_with_its_own_first_bad_one(raw):
    parts = [Part(0, raw[0], range(1), 9), *(Part(1, raw[1], range(1), 9),) * 2]
    results = []
    for line, reason, rows in ((3, "blank line", 1), (4, "bad label", 0), (2, "x", 0)):
        skipped = SkippedRows()
        skipped.add(BadRow(Path("/elsewhere"), line, reason, "is bad"))
        results.append(PartRead((rows,), num_lines=9, skipped=skipped.to_json()))
    with pytest.raises(InputError, match=r"day_1.gz has no .*day_1.gz line 4: is bad"):
        spark_reading._spill(raw, parts, results, ["", ""], raw[0].parent)


def test_a_bad_row_keeps_its_remote_address():
    skipped = SkippedRows()
    skipped.add(BadRow(storage.at("s3://b/day_0"), 1, "blank line", "is blank"))
    (row,) = SkippedRows.from_json(skipped.to_json()).examples.values()
    assert str(row) == "s3://b/day_0 line 1: is blank"


def test_without_java_or_pyspark_one_line_says_what_to_install(tmp_path, monkeypatch):
    raw = write_rows(tmp_path / "train.txt", ROWS)
    config = PrepareConfig(**SPARK)
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"needs Java and finds no .*bin/java, exp"):
        prepare([raw], tmp_path / "data", config)
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    with pytest.raises(InputError, match=r"finds Java 11 at .*, expected Java 17"):
        prepare([raw], tmp_path / "data", config)
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(InputError, match=r"pip install -r requirements-spark.txt"):
        prepare([raw], tmp_path / "data", config)
    assert not (tmp_path / "data").exists()


def test_what_a_worker_raises_is_raised_here():
    traceback = "Traceback ...\nOSError: [Errno 28] No space left on device: '/x/y'\n"
    with pytest.raises(OSError, match=r"No space left on device$") as error:
        spark_session._raise_error_of(traceback)
    assert error.value.errno == 28
    with pytest.raises(InputError, match=r"^C1\.parquet cannot be read$"):
        spark_session._raise_error_of(
            "Traceback ...\ntfdlrm.base.errors.InputError: C1.parquet cannot be read\n"
        )
    with pytest.raises(InputError, match="No module named 'polars'; expected"):
        spark_session._raise_error_of("ModuleNotFoundError: No module named 'polars'")


def test_a_master_without_spark_is_refused():
    with pytest.raises(InputError, match=r"master is local\[2\], expected none"):
        PrepareConfig(master="local[2]")


@pytest.mark.slow
def test_a_master_that_is_none_is_refused(tmp_path):
    raw = write_rows(tmp_path / "train.txt", ROWS)
    process = run_command_line(
        f"python -m pipelines.prepare --raw {raw} --output {tmp_path / 'data'} "
        "--engine spark --master nonsense"
    )
    assert process.returncode == 2
    assert "no Spark session on master nonsense" in process.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("forget_days", [None, 1])
@pytest.mark.usefixtures("session")
def test_spark_extends_to_the_same_data_set(tmp_path, forget_days):
    days = [make_rows(400, seed=7), make_rows(300, seed=8)]
    raw = [write_rows(tmp_path / f"day_{n}", rows) for n, rows in enumerate(days)]
    prepare(raw[:1], tmp_path / "base", PrepareConfig(min_frequency=4))
    config = PrepareConfig(extend=tmp_path / "base", forget_days=forget_days)
    prepare(raw[1:], tmp_path / "local", config)
    prepare(raw[1:], tmp_path / "spark", replace(config, **SPARK))
    assert files_of(tmp_path / "spark") == files_of(tmp_path / "local")
    schema = FeatureSchema.load(tmp_path / "spark")
    assert len(schema.chain) == 1 and sum(schema.new_ids.values())
    assert verify(tmp_path / "spark") == []


@pytest.mark.slow
@pytest.mark.usefixtures("session")
def test_spark_extends_text_of_ones_own_log(tmp_path):
    (tmp_path / "columns.yaml").write_text(COLUMNS)
    raw = [write_day(tmp_path / f"day{n}.csv", make_day(n)) for n in range(2)]
    settings = PrepareConfig(min_frequency=3, columns=tmp_path / "columns.yaml")
    prepare(raw[:1], tmp_path / "base", settings)
    config = PrepareConfig(extend=tmp_path / "base", forget_days=1)
    prepare(raw[1:], tmp_path / "local", config)
    prepare(raw[1:], tmp_path / "spark", replace(config, **SPARK))
    assert files_of(tmp_path / "spark") == files_of(tmp_path / "local")


@pytest.mark.slow
@pytest.mark.usefixtures("session")
def test_spark_extends_facebook_ids_in_the_same_order(tmp_path):
    raw = [write_rows(tmp_path / f"day_{n}", make_rows(200, seed=n)) for n in range(2)]
    prepare(raw[:1], tmp_path / "base", PrepareConfig(dialect="facebook"))
    config = PrepareConfig(extend=tmp_path / "base")
    prepare(raw[1:], tmp_path / "local", config)
    prepare(raw[1:], tmp_path / "spark", replace(config, **SPARK))
    assert files_of(tmp_path / "spark") == files_of(tmp_path / "local")
