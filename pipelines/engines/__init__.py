"""The engines, which turn raw files into a data set: on this machine or on Spark."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.ids.earlier import Earlier
from pipelines.stages.building import Building
from pipelines.stages.prepared import Prepared
from tfdlrm.config import PrepareConfig


def run(
    raw: Sequence[Path],
    building: Building,
    config: PrepareConfig,
    earlier: Earlier | None = None,
) -> Prepared:
    """Turn raw files into the shards and vocabularies of a data set.

    Args:
        raw: Raw files with labels, in order of time.
        building: The directories to write to; the caller writes `schema.json`.
        config: How rows are split, counted and shuffled, and by which engine.
        earlier: What the data set extends.

    Returns:
        The schema of the data set, and what the summary reports.

    Raises:
        InputError: If a file, the split or the engine cannot be used.
        InputChangedError: If a file has changed since an earlier run read it.
    """
    from pipelines.engines import local, spark

    engine = spark if config.engine == "spark" else local
    return engine.run(raw, building, config, earlier)
