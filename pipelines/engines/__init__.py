"""The engines: what turns raw files into a data set, and where."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.stages.building import Building
from pipelines.stages.prepared import Prepared
from tfdlrm.config import PrepareConfig


def run(raw: Sequence[Path], place: Building, config: PrepareConfig) -> Prepared:
    """Turn raw files into the shards and vocabularies of a data set.

    Args:
        raw: Raw files with labels, in order of time.
        place: Where to write; `schema.json` is left to the caller.
        config: How rows are split, counted and shuffled, and by which engine.

    Returns:
        The schema of the data set and what is worth telling about it.

    Raises:
        InputError: If a file, the split or the engine cannot be used.
        InputChangedError: If what an earlier run has read is not there now.
    """
    from pipelines.engines import local, spark

    engine = spark if config.engine == "spark" else local
    return engine.run(raw, place, config)
