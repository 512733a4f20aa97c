"""`python -m benchmarks.export`: memory, time and size of exporting full-size tables.

Every version is written, and loaded, by a process of its own.
"""

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from benchmarks.laboratory import machine
from benchmarks.laboratory.processes import answer_of
from benchmarks.laboratory.table import markdown
from benchmarks.workload.criteo_kaggle import (
    BOTTOM_UNITS,
    EMBEDDING_DIM,
    TOP_UNITS,
    vocabulary_sizes,
)
from pipelines.logs.criteo import CATEGORICAL_FEATURES, DENSE_FEATURES
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.config.models import DLRMConfig
from tfdlrm.data.schema import NUM_RESERVED_IDS, CategoricalFeature, FeatureSchema
from tfdlrm.data.vocabulary_files import write_vocabulary

CALLS = 200
COLUMNS = (
    "tables",
    "vocabularies",
    "export s",
    "GB over the parameters",
    "on disk GB",
    "load s",
    "loaded GB",
    "raw, 1 row, ms",
    "raw, 256 rows, ms",
)


@dataclass(frozen=True)
class ExportBenchmark:
    """Export the Criteo Kaggle model, and load what was written.

    Args:
        table_scale: Factor of the published vocabulary sizes.
        task: What this process does; `all` starts one for each of the others.
        work_dir: Where a task finds and leaves its files.
        quantize: Whether tables are written as int8.
    """

    table_scale: float = 1.0
    task: Literal["all", "vocabularies", "export", "load"] = "all"
    work_dir: Path | None = None
    quantize: bool = False


def write_vocabularies(directory: Path, table_scale: float) -> None:
    """Write a made-up schema and its vocabularies."""
    rng = np.random.default_rng(0)
    sizes = vocabulary_sizes(table_scale)
    features = []
    for name, size in zip(CATEGORICAL_FEATURES, sizes, strict=True):
        values = _distinct(rng, size)
        ids = np.arange(size, dtype=np.int32) + NUM_RESERVED_IDS
        columns = {"value": values, "id": ids, "frequency": np.ones(size, np.int64)}
        write_vocabulary(pl.DataFrame(columns), directory, name)
        features.append(CategoricalFeature(name, size + NUM_RESERVED_IDS))
    FeatureSchema(DENSE_FEATURES, tuple(features)).save(directory)


def _distinct(rng: np.random.Generator, count: int) -> np.ndarray:
    values = np.unique(rng.integers(2**32, size=count + count // 8 + 64, dtype="u4"))
    return rng.permutation(values)[:count]


def export(directory: Path, quantize: bool) -> dict[str, float]:
    """Export an untrained model, and return what that took."""
    from tfdlrm.exporting.quantization import quantize_tables
    from tfdlrm.exporting.saved_model import export_model
    from tfdlrm.models import build_model

    schema = FeatureSchema.load(directory)
    config = DLRMConfig(
        embedding_dim=EMBEDDING_DIM,
        bottom_mlp_units=BOTTOM_UNITS[:-1],
        top_mlp_units=TOP_UNITS[:-1],
    )
    model = build_model(schema, config)
    gb_before = machine.memory_gb()
    start = time.perf_counter()
    tables = quantize_tables(model) if quantize else None
    version = export_model(
        model, schema, directory, directory / "model", quantized=tables
    )
    return {
        "export s": time.perf_counter() - start,
        "GB over the parameters": machine.peak_memory_gb() - gb_before,
        "on disk GB": sum(
            path.stat().st_size for path in version.rglob("*") if path.is_file()
        )
        / 1e9,
    }


def load(directory: Path) -> dict[str, float]:
    """Load the newest version as a server does, and return what that took."""
    import tensorflow as tf

    from tfdlrm.exporting.versions import versions_in

    schema = FeatureSchema.load(directory)
    versions = directory / "model"
    gb_before = machine.memory_gb()
    start = time.perf_counter()
    path = str(versions / str(max(versions_in(versions))))
    loaded = tf.saved_model.load(path)
    costs = {
        "load s": time.perf_counter() - start,
        "loaded GB": machine.memory_gb() - gb_before,
    }
    raw = loaded.signatures["raw"]
    rng = np.random.default_rng(0)
    for num_rows, column in ((1, COLUMNS[-2]), (256, COLUMNS[-1])):
        texts = {
            name: tf.constant([f"{v:x}" for v in rng.integers(2**32, size=num_rows)])
            if name in schema.single_hot
            else tf.constant([str(v) for v in rng.integers(1000, size=num_rows)])
            for name in schema.raw_columns
        }
        times = []
        for _ in range(CALLS):
            start = time.perf_counter()
            raw(**texts)["probability"].numpy()
            times.append(time.perf_counter() - start)
        costs[column] = 1000 * float(np.median(times))
    return costs


def run(benchmark: ExportBenchmark) -> None:
    """Do the task, or all of them and print the table."""
    if benchmark.work_dir is not None:
        if benchmark.task == "vocabularies":
            write_vocabularies(benchmark.work_dir, benchmark.table_scale)
            print(json.dumps({}))
        elif benchmark.task == "export":
            print(json.dumps(export(benchmark.work_dir, benchmark.quantize)))
        else:
            print(json.dumps(load(benchmark.work_dir)))
        return
    rows = []
    num_ids = sum(vocabulary_sizes(benchmark.table_scale))
    print(f"{machine.describe()}; {num_ids:,} ids\n", flush=True)
    with tempfile.TemporaryDirectory() as work:
        _in_a_process("vocabularies", work, benchmark.table_scale)
        for tables in ("float32", "int8"):
            measured: dict[str, str | float]
            measured = {"tables": tables, "vocabularies": f"{num_ids / 1e6:,.1f}M"}
            measured.update(_in_a_process("export", work, quantize=tables == "int8"))
            measured.update(_in_a_process("load", work))
            rows.append([measured[column] for column in COLUMNS])
    print(markdown(COLUMNS, rows))


def _in_a_process(
    task: str, directory: str, table_scale: float = 1.0, quantize: bool = False
) -> dict[str, float]:
    settings = {"task": task, "work_dir": directory, "table_scale": table_scale}
    return dict(answer_of("export", **settings, quantize=quantize))


def main() -> None:
    run(parse(ExportBenchmark, "benchmarks.export"))


if __name__ == "__main__":
    run_command(main)
