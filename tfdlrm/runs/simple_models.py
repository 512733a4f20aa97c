"""What the simplest models reach on the rows of a run."""

from pathlib import Path
from typing import Any

from tfdlrm.baselines.fitted import kept_baselines
from tfdlrm.baselines.measures import as_json, describe, measure_baselines
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.metrics.binary import BinaryMetrics
from tfdlrm.training.run_directory import RunDirectory


def show_simple_models(
    name: str,
    metrics: dict[str, BinaryMetrics],
    data_dir: Path,
    schema: FeatureSchema,
    run: RunDirectory,
) -> tuple[dict[str, Any], str]:
    """Fit the baselines, print their measures, and write them into the run.

    Args:
        name: Name of the trained model.
        metrics: Its measures by split.
        data_dir: Directory of the data set.
        schema: Schema of the data set.
        run: The run.

    Returns:
        The measures in types of JSON, and as Markdown, with advice if the model is no
        better.
    """
    if not metrics:
        return {}, ""
    # A run that was killed at its end may have left them.
    baselines = kept_baselines(run.baselines_file, data_dir, schema)
    measures = measure_baselines(baselines, data_dir, schema)
    text = describe(name, metrics, measures)
    print(f"{text}\n")
    return as_json(measures), text
