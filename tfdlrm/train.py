"""`python -m tfdlrm.train`: from rows to an exported model."""

import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdlrm.base.command_line import gives, parse, run_command
from tfdlrm.base.device_names import announce
from tfdlrm.base.errors import InputError
from tfdlrm.base.plain_text import visible
from tfdlrm.config import PrepareConfig, TrainConfig
from tfdlrm.config.cluster import Cluster
from tfdlrm.config.model_columns import ignored_columns
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.exporting.versions import find_export, next_version
from tfdlrm.planning.advice import memory_here, require_memory
from tfdlrm.training.run_directory import RunDirectory

if TYPE_CHECKING:
    import keras

    from tfdlrm.training.curves import CurvePoint
    from tfdlrm.training.warm_start import WarmStart
    from tfdlrm.training.weight_source import Source

SYNTHETIC_FILE = Path("data/synthetic.tsv")
SYNTHETIC_ROWS = 400_000


def train(config: TrainConfig) -> Path | None:
    """Train, evaluate, report and export.

    Args:
        config: The settings of the run.

    Returns:
        The version directory of the exported SavedModel; `None` for a worker that is
        not the chief, which exports it.

    Raises:
        InputError: If the configuration or the data cannot be used.
        LostWorkerError: If another worker is lost.
    """
    start = time.perf_counter()
    if config.run_dir is not None:
        RunDirectory(config.run_dir).require_unfinished()
    next_version(config.versions_dir)  # now, not after hours of training
    data_dir, raw, schema = _data_set(config)
    schema = with_contents(schema, data_dir)
    config = replace(config, data_dir=data_dir, raw=None)
    if not schema.num_rows("train"):
        raise InputError(f"{data_dir} has no train rows: prepare it with some")
    if schema.has_one_class("train") and not config.allow_one_class:
        reason = schema.describe_one_class("train")
        raise InputError(f"{data_dir}: {reason} --allow_one_class trains all the same")
    if config.early_stopping and not schema.num_rows("validation"):
        raise InputError(
            f"early_stopping is {config.early_stopping}, but {data_dir} has no "
            "validation rows: prepare it with some, or leave early_stopping out"
        )
    schema.check_shards(data_dir)
    memory = memory_here(config.strategy)
    announce(config.strategy)
    require_memory(schema, config, memory, data_dir)

    ignored = ignored_columns(schema, config.model)
    if ignored:
        names = ", ".join(map(visible, ignored))
        print(f"{config.model.name} ignores the columns {names}")

    warm_start = _warm_start(config, data_dir, schema)
    is_chief = config.strategy != "multi_worker" or Cluster.from_environment().is_chief
    hold = RunDirectory.opened if is_chief else RunDirectory.of_another_worker
    with hold(config) as run:
        model, points = _fit(config, data_dir, schema, run, warm_start)
        if is_chief:
            try:
                exported, report = _finish(
                    config, data_dir, schema, run, model, points, warm_start
                )
            except OSError as error:
                raise InputError(
                    f"what was trained cannot be written ({error}): make room, and "
                    f"give the same command with --run_dir {run.home}; the training is "
                    "in its last checkpoint"
                ) from error
        _wait_for_all(model)  # the chief needs all workers until the end
    if not is_chief:
        return None
    print(f"Report: {run.home / report.name}")
    print(f"Model:  {exported}")
    print(f"Done in {time.perf_counter() - start:.0f} s. Score raw rows with it:\n")
    print(
        f"  python -m tfdlrm.predict --model {shlex.quote(str(exported))} "
        f"--raw {shlex.quote(str(raw or 'RAW.tsv'))} --output_file predictions.csv"
    )
    return exported


def _warm_start(
    config: TrainConfig, data_dir: Path, schema: FeatureSchema
) -> "WarmStart | None":
    """Return what the run begins with, checked unless it has begun; `None` for nothing.

    Raises:
        InputError: If the run cannot begin with it.
    """
    if config.init_from is None:
        return None
    from tfdlrm.training.warm_start import WarmStart

    warm_start = WarmStart(config.init_from, _open_source, data_dir, schema, config)
    checkpoints = config.run_dir and RunDirectory(config.run_dir).checkpoint_directory
    if checkpoints is None or not any(checkpoints.glob("step-*")):
        warm_start.check()
    return warm_start


def _open_source(path: Path) -> "Source":
    """Open the run or the exported model at a path.

    Raises:
        InputError: If there is neither, or it cannot be used.
    """
    from tfdlrm.exporting.exported_weights import find_model
    from tfdlrm.training.trained_run import find_run

    source = find_run(path) or find_model(path)
    if source is None:
        raise InputError(
            f"init_from {path} holds no weights: expected the directory of a run, of "
            "one of its checkpoints, or of an exported model such as "
            "saved_models/dlrm/1"
        )
    return source


def _fit(
    config: TrainConfig,
    data_dir: Path,
    schema: FeatureSchema,
    run: RunDirectory,
    warm_start: "WarmStart | None",
) -> tuple["keras.Model", list["CurvePoint"]]:
    """Train in `run` and return the model and its learning curves."""
    from tfdlrm.data.reading import damage_named, read_split
    from tfdlrm.models import build_model
    from tfdlrm.training.curves import curve_rows
    from tfdlrm.training.distribution import (
        distributed,
        losing_workers,
        strategy,
        tables_placed,
    )
    from tfdlrm.training.fit import compile_model, fit, make_reproducible, set_precision

    devices = strategy(config.strategy)
    make_reproducible(config.seed)
    set_precision(config)
    with devices.scope(), tables_placed(devices, config.tables):
        model = build_model(schema, config.model)
        compile_model(model, config.optimizer, config.steps_per_execution)
    num_rows = schema.num_rows("train")
    print(f"Training {model.count_params():,} parameters on {num_rows:,} rows")

    def read(epoch: int, batch: int) -> Any:
        order = config.seed, epoch
        return distributed(
            devices,
            lambda share: read_split(
                data_dir, schema, "train", config.batch_size, order, batch, share
            ),
        )

    with losing_workers(devices), damage_named(data_dir, schema):
        points = fit(
            model,
            read,
            -(-num_rows // config.batch_size),
            curve_rows(data_dir, schema),
            config,
            run,
            schema.fingerprint,
            Meaning.of(schema),
            None if warm_start is None else warm_start.begin,
        )
    return model, points


def _wait_for_all(model: "keras.Model") -> None:
    from tfdlrm.training.distribution import losing_workers, of_all_workers

    with losing_workers(model.distribute_strategy):
        of_all_workers(model.distribute_strategy, 0)


def _finish(
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
    from tfdlrm.training.report import write_report
    from tfdlrm.training.trained_model import measure, on_one_device, show

    model = on_one_device(model, config, schema)
    metrics, bins = measure(model, data_dir, schema)
    show(metrics, schema, run)
    checkpoint = CheckpointDirectory(run.checkpoint_directory).identity()
    origin = {"checkpoint": checkpoint, "step": points[-1].step}
    exported = find_export(config.versions_dir, origin) if checkpoint else None
    if exported is None:
        card = ModelCard(run.settings, run.measures, origin=origin)
        exported = export_model(model, schema, data_dir, config.versions_dir, card)
    else:
        print(f"{exported} has these weights: they were exported before a kill")
    run.save_summary(model.count_params(), exported)
    report = write_report(
        run.path,
        points,
        metrics,
        bins,
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


def _data_set(config: TrainConfig) -> tuple[Path, Path | None, FeatureSchema]:
    """Return the data set, prepared if necessary, and its raw file if known."""
    if config.data_dir is not None and config.raw is None:
        if config.prepare != PrepareConfig():
            print(f"{config.data_dir} is prepared: no setting of prepare is used")
        return config.data_dir, None, FeatureSchema.load(config.data_dir)

    from pipelines import synthetic
    from pipelines.prepare import prepare

    raw = config.raw
    if raw is None:
        raw = SYNTHETIC_FILE
        if not raw.is_file():
            print(f"No data given: making {SYNTHETIC_ROWS:,} synthetic rows in {raw}")
            synthetic.write_raw(raw, SYNTHETIC_ROWS, seed=0)
    data_dir = config.data_dir or Path("data") / raw.name.partition(".")[0]
    return data_dir, raw, prepare([raw], data_dir, config.prepare)


def main() -> None:
    if gives(sys.argv[1:], "stream"):
        from tfdlrm.config.stream import StreamConfig
        from tfdlrm.streaming.following import learn

        learn(parse(StreamConfig, "tfdlrm.train"))
    else:
        train(parse(TrainConfig, "tfdlrm.train"))


if __name__ == "__main__":
    run_command(main)
