"""What the simplest models reach on the rows of a run."""

from pathlib import Path
from typing import Any

from tfdlrm.baselines.fitted import Baselines, fit_baselines
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
    baselines = Baselines.load(run.baselines_file)
    if baselines is None:  # not left by a run that was killed at its end
        baselines = fit_baselines(data_dir, schema)
        baselines.save(run.baselines_file)
    measures = measure_baselines(baselines, data_dir, schema)
    text = describe(name, metrics, measures)
    print(f"{text}\n")
    return as_json(measures), text
