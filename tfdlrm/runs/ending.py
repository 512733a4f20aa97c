"""The end of a run: measure, export and report."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tfdlrm.config import OptimizerConfig, TrainConfig
from tfdlrm.config.model_columns import ignored_columns
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.exporting.versions import find_export
from tfdlrm.runs.results import results_of, with_scores
from tfdlrm.training.run_directory import RunDirectory

if TYPE_CHECKING:
    import keras

    from tfdlrm.training.curves import CurvePoint
    from tfdlrm.training.warm_start import WarmStart


def _architecture(config: TrainConfig) -> str:
    """Return the model in words."""
    if config.ensemble == 1:
        return config.model.name
    return f"{config.model.name}, {config.ensemble} members whose logits are averaged"


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
    from tfdlrm.exporting.keras_file import keep_keras
    from tfdlrm.exporting.model_card import ModelCard
    from tfdlrm.exporting.saved_model import export_model
    from tfdlrm.training.curve_picture import CurveMarks
    from tfdlrm.training.progress import Progress
    from tfdlrm.training.report import write_report
    from tfdlrm.training.trained_model import measure, on_one_device, show

    model = on_one_device(model, config, schema)
    metrics, bins, scores = measure(model, data_dir, schema)
    show(metrics, schema, run)
    results = results_of(config, data_dir, schema, points)
    results = with_scores(results, metrics, bins, scores)
    simple_models = ""
    if config.baselines:
        from tfdlrm.runs.simple_models import show_simple_models

        baselines, simple_models = show_simple_models(
            config.model.name, metrics, data_dir, schema, run
        )
        results = replace(results, baselines=baselines)
    results.write(run.results_file)
    checkpoints = CheckpointDirectory(run.checkpoint_directory)
    num_rows = schema.num_rows("train")
    progress = Progress.of(config, num_rows, points, checkpoints.newest_state() or {})
    checkpoint = checkpoints.identity()
    origin = {"checkpoint": checkpoint, "step": progress.step}
    exported = find_export(config.versions_dir, origin) if checkpoint else None
    if exported is None:
        card = ModelCard(
            run.settings, run.measures, origin=origin, training=progress.to_json()
        )
        exported = export_model(
            model,
            schema,
            data_dir,
            config.versions_dir,
            card,
            results=results,
            baselines=run.baselines_file,
            allow_other_columns=config.allow_other_columns,
        )
    else:
        print(f"{exported} has these weights: they were exported before a kill")
    keep_keras(model, run.keras_file, run.home)
    run.save_summary(model.count_params(), exported, progress.to_json())
    report = write_report(
        run.path,
        points,
        metrics,
        bins,
        scores,
        CurveMarks(
            title=f"{config.model.name} on {data_dir.resolve().name}, "
            f"{config.optimizer.name}",
            steps_per_epoch=progress.steps_per_epoch,
            kept_step=progress.kept_step,
        ),
        {
            "data set": f"{data_dir} ({schema.dialect} dialect)",
            "architecture": _architecture(config),
            "parameters": f"{model.count_params():,}",
            "ignored columns": ", ".join(ignored_columns(schema, config.model))
            or "none",
            "optimizer": _optimizer(config.optimizer),
            "training": f"{progress.epochs_in_words} of {num_rows:,} rows, batch size "
            f"{config.batch_size}: {progress.ending_in_words}, "
            f"{points[-1].seconds:.1f} s",
            "weights": progress.weights_in_words,
            **({"beginning": warm_start.description()} if warm_start else {}),
            "model": str(exported),
        },
        warm_start.table() if warm_start else "",
        simple_models,
    )
    return exported, report


def _optimizer(config: OptimizerConfig) -> str:
    """Return the optimizers, and what they do to tables and learning rates, in words.

    Example:

    >>> _optimizer(OptimizerConfig("sgd", 0.1, table_weight_decay=0.5))
    'sgd, learning rate 0.1, table_weight_decay 0.5 of touched rows'
    """
    words = [config.name, f"learning rate {config.learning_rate}"]
    for name in ("table_l2", "table_weight_decay"):
        if value := getattr(config, name):
            words.append(f"{name} {value} of {config.decay_of} rows")
    dense = config.dense
    if dense.name is not None:
        words.append(f"{dense.name} with learning rate {dense.learning_rate}")
        words[-1] += " for dense layers"
    if config.schedule is not None:
        words.append(f"{config.schedule.name} schedule")
    return ", ".join(words)
