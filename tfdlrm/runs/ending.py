"""The end of a run: measure, export and report."""

from pathlib import Path
from typing import TYPE_CHECKING

from tfdlrm.config import TrainConfig
from tfdlrm.config.model_columns import ignored_columns
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.versions import find_export
from tfdlrm.runs.results import results_of, with_scores
from tfdlrm.training.run_directory import RunDirectory

if TYPE_CHECKING:
    import keras

    from tfdlrm.training.curves import CurvePoint
    from tfdlrm.training.warm_start import WarmStart


def finish(
    config: TrainConfig,
    data_dir: Path,
    schema: FeatureSchema,
    run: RunDirectory,
    model: "keras.Model",
    points: list["CurvePoint"],
    warm_start: "WarmStart | None",
) -> tuple[Path, Path]:
    """Measure, export and report; return the version's directory and the report."""
    from tfdlrm.checkpoints.directory import CheckpointDirectory
    from tfdlrm.exporting.model_card import ModelCard
    from tfdlrm.exporting.saved_model import export_model
    from tfdlrm.training.curve_picture import CurveMarks
    from tfdlrm.training.early_stopping import kept_step
    from tfdlrm.training.report import write_report
    from tfdlrm.training.trained_model import measure, on_one_device, show

    model = on_one_device(model, config, schema)
    metrics, bins, scores = measure(model, data_dir, schema)
    show(metrics, schema, run)
    results = results_of(config, data_dir, schema, points)
    results = with_scores(results, metrics, bins, scores)
    results.write(run.results_file)
    checkpoint = CheckpointDirectory(run.checkpoint_directory).identity()
    origin = {"checkpoint": checkpoint, "step": points[-1].step}
    exported = find_export(config.versions_dir, origin) if checkpoint else None
    if exported is None:
        card = ModelCard(run.settings, run.measures, origin=origin)
        exported = export_model(
            model, schema, data_dir, config.versions_dir, card, results=results
        )
    else:
        print(f"{exported} has these weights: they were exported before a kill")
    run.save_summary(model.count_params(), exported)
    report = write_report(
        run.path,
        points,
        metrics,
        bins,
        scores,
        CurveMarks(
            title=f"{config.model.name} on {data_dir.name}, {config.optimizer.name}",
            steps_per_epoch=-(-schema.num_rows("train") // config.batch_size),
            kept_step=kept_step(points, config.early_stopping),
        ),
        {
            "data set": f"{data_dir} ({schema.dialect} dialect)",
            "architecture": config.model.name,
            "parameters": f"{model.count_params():,}",
            "ignored columns": ", ".join(ignored_columns(schema, config.model))
            or "none",
            "optimizer": f"{config.optimizer.name}, learning rate "
            f"{config.optimizer.learning_rate}",
            "training": f"{config.epochs} epoch(s) of "
            f"{schema.num_rows('train'):,} rows, batch size {config.batch_size}, "
            f"{points[-1].seconds:.1f} s",
            **({"beginning": warm_start.description()} if warm_start else {}),
            "model": str(exported),
        },
        warm_start.table() if warm_start else "",
    )
    return exported, report
