"""Transforms of numbers on Spark, in a real session, against the local engine."""

import os
import shutil
from dataclasses import replace
from functools import partial

import pytest

from pipelines.engines import spark_reading, spark_session
from pipelines.logs import opening, text_log
from pipelines.logs.criteo_file import RawFile
from pipelines.prepare import prepare
from tests.support.log_of_numbers import DESCRIPTION, make_numbers, write_numbers
from tests.support.prepared_runs import files_of
from tests.support.raw_rows import make_rows, write_rows
from tfdlrm.config import PrepareConfig

pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("Java is not installed", allow_module_level=True)

SPARK = {"engine": "spark", "master": "local[2]"}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def session():
    """A session for all runs; the engine uses the active session."""
    with spark_session.cluster(PrepareConfig(**SPARK)) as workers:
        workers.session.conf.set("spark.sql.shuffle.partitions", "2")
        yield


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(opening, "RawFile", partial(RawFile, chunk_bytes=20_000))
    monkeypatch.setattr(spark_reading, "CHUNKS_PER_PART", 3)


def test_spark_fits_the_same_numbers_to_ones_own_log(tmp_path, monkeypatch):
    (tmp_path / "columns.yaml").write_text(DESCRIPTION)
    days = [tmp_path / "day_0.csv", tmp_path / "day_1.csv", tmp_path / "day_2.csv"]
    for seed, path in enumerate(days):
        write_numbers(path, make_numbers(400, seed))
    config = PrepareConfig(columns=tmp_path / "columns.yaml", min_frequency=2)
    spark = prepare(days, tmp_path / "spark", replace(config, **SPARK))
    monkeypatch.setattr(text_log, "CHUNK_BYTES", 5000)
    local = prepare(days, tmp_path / "local", config)
    assert spark.transforms == local.transforms
    assert all(feature.is_fitted for feature in spark.transforms.values())


def test_spark_makes_the_same_data_set_with_transforms(tmp_path):
    raw = write_rows(tmp_path / "raw.tsv", make_rows(900, seed=4))
    config = PrepareConfig(
        dense_transform="quantiles:9",
        dense_buckets="log2_squared",
        missing_flags=True,
    )
    prepare([raw], tmp_path / "local", config)
    prepare([raw], tmp_path / "spark", replace(config, **SPARK))
    assert files_of(tmp_path / "spark") == files_of(tmp_path / "local")
    later = write_rows(tmp_path / "later.tsv", make_rows(300, seed=5))
    config = PrepareConfig(extend=tmp_path / "local")
    prepare([later], tmp_path / "local_2", config)
    prepare([later], tmp_path / "spark_2", replace(config, **SPARK))
    assert files_of(tmp_path / "spark_2") == files_of(tmp_path / "local_2")
