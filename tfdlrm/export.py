"""`python -m tfdlrm.export`: a SavedModel, ONNX, LiteRT or Keras file from a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfdlrm.base import storage
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.devices import use_device
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.schema import SPLITS, FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.exporting.other_columns import require_same_columns
from tfdlrm.exporting.versions import next_version
from tfdlrm.training.run_directory import RunDirectory

if TYPE_CHECKING:
    import keras

    from tfdlrm.exporting.quantization import QuantizedTable
    from tfdlrm.exporting.quantization_effect import Effect
    from tfdlrm.layers._fused_tables import FusedTables

ROWS_TO_COMPARE = 2048
"""Number of rows on which an ONNX or LiteRT file must compute as the model does."""


@dataclass(frozen=True)
class ExportCommand:
    """Write the next version of a model, for TF Serving, ONNX Runtime, LiteRT or Keras.

    It uses no GPU, so that a model may be larger than a GPU's memory.

    Args:
        run_dir: Directory of a run of `tfdlrm.train`; if the run is unfinished, its
            newest checkpoint is exported.
        export_dir: Directory of the model's versions; null means the directory that
            training exported to, for ONNX with `_onnx` added to its name, for LiteRT
            with `_litert`, for Keras with `_keras`.
        format: `saved_model` for TF Serving; `onnx` for an ONNX file and `litert` for a
            file model.tflite, which ONNX Runtime or LiteRT must compute as the model
            does on rows of the data set; `keras` for a file model.keras, which
            `keras.saving.load_model` loads.
        quantize: `int8` writes embedding tables with 8 bits a number and one scale a
            row, and reports what that costs on held-out rows; `none` writes them
            unchanged.
        keep: Number of versions that stay, the newest; null keeps all.
        deployment: Directory for the files that start TF Serving with the model:
            models.config, batching_parameters.txt, monitoring.config, compose.yaml.
        graph: Directory for the graph of the model, such as model_graph, which
            `tensorboard --logdir model_graph` draws.
        allow_other_columns: Whether to export although the newest version in export_dir
            has other columns, so that its clients could not use this model.
    """

    run_dir: Path
    export_dir: Path | None = None
    format: Literal["saved_model", "onnx", "litert", "keras"] = "saved_model"
    quantize: Literal["none", "int8"] = "none"
    keep: int | None = None
    deployment: Path | None = None
    graph: Path | None = None
    allow_other_columns: bool = False

    def __post_init__(self) -> None:
        if self.keep is not None and self.keep < 1:
            raise InputError(f"keep is {self.keep}, expected >= 1")
        for name in ("deployment", "graph"):
            storage.require_local(name, getattr(self, name) or Path())
        if self.format == "litert" and self.deployment is not None:
            raise InputError(
                "format is litert, which deployment does not go with: export as "
                "saved_model, or start tfdlrm.serve with --prefer_tflite_model"
            )
        is_plain = self.format in ("onnx", "keras")
        if is_plain and (self.quantize != "none" or self.deployment is not None):
            raise InputError(
                f"format is {self.format}, which neither quantize nor deployment goes "
                "with: export as saved_model"
            )


def export(command: ExportCommand) -> Path:
    """Export the run's weights and return the new version's directory.

    Raises:
        InputError: If the run or the data set that it was trained on is not there.
    """
    run = RunDirectory(command.run_dir)
    config = run.load_config()
    if config.data_dir is None:
        raise InputError(f"{run.config_file} has no data_dir: add the one of the run")
    schema = with_contents(FeatureSchema.load(config.data_dir), config.data_dir)
    export_dir = _export_dir(command, run.versions_dir or config.versions_dir)
    next_version(export_dir)  # refuses a full directory before any work
    _require_no_saved_models(command, export_dir)
    require_same_columns(
        export_dir,
        schema,
        config.data_dir,
        command.allow_other_columns,
        command.format,
    )

    import keras

    from tfdlrm.checkpoints.directory import CheckpointDirectory
    from tfdlrm.exporting.deployment import check_deployment, write_deployment
    from tfdlrm.exporting.versions import prune
    from tfdlrm.models.ensemble import build_ensemble
    from tfdlrm.optimizers._late_decay import settle
    from tfdlrm.runs.results import progress_of
    from tfdlrm.training.best_weights import load_kept_weights
    from tfdlrm.training.compiling import compile_model

    if command.deployment is not None:
        check_deployment(command.deployment, export_dir)
    if command.format == "onnx":
        from tfdlrm.exporting.onnx import require_onnx

        require_onnx()
    if command.graph is not None:
        from tfdlrm.exporting.model_graph import check_graph_directory, write_graph

        check_graph_directory(command.graph)

    if command.format in ("saved_model", "keras"):
        # The model serves in the precision in which it was measured. ONNX Runtime has
        # no bfloat16 on CPUs.
        keras.config.set_dtype_policy(config.precision)
    model = build_ensemble(schema, config.model, config.ensemble)
    if config.optimizer.decays_late:
        compile_model(model, config.optimizer)
    checkpoints = CheckpointDirectory(run.checkpoint_directory)
    state = checkpoints.load_weights(model, schema.fingerprint, Meaning.of(schema))
    load_kept_weights(model, run, config.early_stopping is not None, state)
    settle(model)
    progress = progress_of(run, config, schema, state)
    print(f"Exporting {run.home}: the weights {progress.weights_in_words}")
    if command.graph is not None:
        write_graph(model, schema, command.graph)
        print(f"Graph: tensorboard --logdir {command.graph}")
    if command.format == "saved_model":
        version = _export_saved_model(
            command,
            model,
            schema,
            config,
            export_dir,
            run,
            state["step"],
            progress.to_json(),
            _measures(run, checkpoints.newest_step() == state["step"]),
        )
        if command.deployment is not None:
            write_deployment(command.deployment, export_dir)
    else:
        version = _export_file(command, model, schema, config.data_dir, export_dir)
    if command.keep is not None:
        prune(export_dir, command.keep)
    return version


def _export_dir(command: ExportCommand, versions_dir: Path) -> Path:
    """Return the directory of versions; a deployment must be able to mount it."""
    export_dir = storage.at(command.export_dir or versions_dir)
    if command.export_dir is None and command.format != "saved_model":
        export_dir = export_dir.with_name(f"{export_dir.name}_{command.format}")
    if command.deployment is not None and storage.is_remote(export_dir):
        raise InputError(
            f"export_dir is {export_dir}, but a deployment mounts the directory: "
            "export to a local one"
        )
    return export_dir


def _require_no_saved_models(command: ExportCommand, export_dir: Path) -> None:
    if command.format != "saved_model" and any(
        export_dir.glob("[0-9]*/saved_model.pb")
    ):
        name = {"onnx": "an ONNX", "litert": "a LiteRT", "keras": "a Keras"}[
            command.format
        ]
        raise InputError(
            f"{export_dir} holds SavedModels: TF Serving cannot use {name} file among "
            "them; give another export_dir"
        )


def _export_saved_model(
    command: ExportCommand,
    model: "keras.Model",
    schema: FeatureSchema,
    config: TrainConfig,
    export_dir: Path,
    run: RunDirectory,
    step: int,
    training: dict[str, Any],
    measures: dict[str, Any] | None,
) -> Path:
    from tfdlrm.exporting.model_card import ModelCard
    from tfdlrm.exporting.saved_model import export_model
    from tfdlrm.metrics.splits import measures_by_split
    from tfdlrm.runs.results import results_of_weights, with_scores

    data_dir = config.data_dir
    assert data_dir is not None
    results = results_of_weights(run, config, data_dir, schema, step, measures)
    quantized, card = None, ModelCard(run.settings, measures, training=training)
    if command.quantize == "int8":
        quantized, effect = _quantize(model, schema, data_dir)
        results = with_scores(results, effect.metrics, effect.bins, effect.scores)
        measures = measures_by_split(effect.metrics, schema.dialect)
        card = ModelCard(run.settings, measures, "int8", training=training)
    return export_model(
        model,
        schema,
        data_dir,
        export_dir,
        card,
        quantized,
        results,
        run.baselines_file,
        command.allow_other_columns,
    )


def _quantize(
    model: "keras.Model", schema: FeatureSchema, data_dir: Path
) -> "tuple[dict[FusedTables, QuantizedTable], Effect]":
    """Quantize the tables of a model, and report what that costs."""
    from tfdlrm.exporting.quantization import quantize_tables
    from tfdlrm.exporting.quantization_effect import as_table, measure

    quantized = quantize_tables(model)
    baseline = measure(model, schema, data_dir)
    effect = measure(model, schema, data_dir, quantized)
    print(as_table({"float32": baseline, "int8": effect}))
    return quantized, effect


def _measures(run: RunDirectory, is_newest: bool) -> dict[str, Any] | None:
    """Return the measures for the card, unless those weights are lost."""
    if is_newest or run.measures is None:
        return run.measures
    print(
        f"the newest checkpoint of {run.home} is damaged: the measures of the run are "
        "not those of the weights exported, and the model's card has none"
    )
    return None


def _export_file(
    command: ExportCommand,
    model: "keras.Model",
    schema: FeatureSchema,
    data_dir: Path,
    export_dir: Path,
) -> Path:
    from tfdlrm.data.reading import damage_named, read_split
    from tfdlrm.exporting.keras_file import FILE_NAME, write_keras
    from tfdlrm.exporting.litert import write_litert
    from tfdlrm.exporting.onnx import write_onnx
    from tfdlrm.exporting.saved_model import copy_extras
    from tfdlrm.exporting.signatures import serving_function
    from tfdlrm.exporting.versions import new_version

    split = next(split for split in reversed(SPLITS) if schema.num_rows(split))
    with damage_named(data_dir, schema):
        features, _ = next(iter(read_split(data_dir, schema, split, ROWS_TO_COMPARE)))
    with new_version(export_dir) as (target, directory):
        allows_other = command.allow_other_columns
        require_same_columns(export_dir, schema, data_dir, allows_other, command.format)
        directory.mkdir(parents=True)
        if command.format == "keras":
            write_keras(model, directory / FILE_NAME)
        elif command.format == "onnx":
            write_onnx(model, serving_function(model, schema), features, directory)
        else:
            is_quantized = command.quantize == "int8"
            tables = _quantize(model, schema, data_dir)[0] if is_quantized else {}
            write_litert(model, schema, features, directory, tables)
        copy_extras(schema, data_dir, directory)
    return target


def main() -> None:
    command = parse(ExportCommand, "tfdlrm.export", renamed={"plot": "graph"})
    use_device("cpu")
    try:
        version = export(command)
    except OSError as error:
        raise InputError(
            f"{command.run_dir} cannot be exported ({error}): fix that, and run the "
            "same command again"
        ) from error
    print(f"Model: {version}")


if __name__ == "__main__":
    run_command(main)
