"""`python -m tfdlrm.compare`: models and optimizers on one data set, in one report."""

import json
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from tfdlrm.base import directories, storage
from tfdlrm.base.child_process import error_line, run_in_process
from tfdlrm.base.command_line import parse, run_command, to_yaml
from tfdlrm.base.errors import InputError, require
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.setting_list import alternatives
from tfdlrm.comparison.runs import FinishedRun, read_run
from tfdlrm.config import CheckpointConfig, OptimizerConfig, OptimizerName, TrainConfig
from tfdlrm.data.meaning import Meaning, read_meaning
from tfdlrm.data.meaning_differences import differences, summarize
from tfdlrm.data.one_class import require_both_labels
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents

if TYPE_CHECKING:
    from tfdlrm.metrics.binary import BinaryMetrics

_FILES = (".yaml", ".yml")
_MODELS = tuple(alternatives(TrainConfig)["model"])


@dataclass(frozen=True)
class CompareCommand:
    """Train several models on the same rows in the same order, and compare them.

    Each model with each optimizer is first trained once at every learning rate. The
    rate with the lowest log loss on the validation rows is chosen, and the other seeds
    are trained with it. Test rows decide nothing. If the command is stopped, the same
    command resumes it.

    Args:
        data_dir: Data set directory written by `pipelines.prepare`.
        models: Names of models, or YAML files of `tfdlrm.train` that have a `model`.
        optimizers: Optimizers to train each model with.
        learning_rates: The learning rates to choose from.
        seeds: Seeds of initial weights and order of rows; two or more show the spread.
        batch_size: Rows in one training step.
        epochs: Passes over the training rows.
        evaluations_per_epoch: Points of the curves in an epoch.
        output: Directory of the report and of the runs.
    """

    data_dir: Path
    models: tuple[str, ...] = ("dlrm", "dcn")
    optimizers: tuple[OptimizerName, ...] = ("sgd", "adagrad")
    learning_rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1)
    seeds: tuple[int, ...] = (0,)
    batch_size: int = 256
    epochs: int = 1
    evaluations_per_epoch: int = 20
    output: Path = Path("runs/compare")

    def __post_init__(self) -> None:
        storage.require_local("output", self.output)
        for name in ("models", "optimizers", "learning_rates", "seeds"):
            values = getattr(self, name)
            require(len(values) > 0, name, values, "one or more")
            require(len(set(values)) == len(values), name, values, "each once")
        names = {_name(model) for model in self.models}
        expected = "names, and files, of which no two have the same name"
        require(len(names) == len(self.models), "models", self.models, expected)
        for model in self.models:
            is_known = model.endswith(_FILES) or model in _MODELS
            hint = did_you_mean(model, _MODELS)
            expected = f"files or names among {', '.join(_MODELS)}{hint}"
            require(is_known, "models", model, expected)
        for model in self.models:  # building the settings checks them
            for rate, seed in product(self.learning_rates, self.seeds):
                self.train_config(model, self.optimizers[0], rate, seed)

    def train_config(
        self, model: str, optimizer: OptimizerName, learning_rate: float, seed: int
    ) -> TrainConfig:
        """Return the settings of one run.

        Raises:
            InputError: If there is no such model.
        """
        is_file = model.endswith(_FILES)
        argv = ["--config", model] if is_file else ["--model.name", model]
        name = f"{_name(model)}-{optimizer}-{learning_rate}-{seed}"
        run_dir = self.output / "runs" / name
        return TrainConfig(
            data_dir=self.data_dir,
            model=parse(TrainConfig, "tfdlrm.train", argv).model,
            optimizer=OptimizerConfig(optimizer, learning_rate),
            batch_size=self.batch_size,
            epochs=self.epochs,
            seed=seed,
            evaluations_per_epoch=self.evaluations_per_epoch,
            checkpoints=CheckpointConfig(keep=1),
            baselines=False,  # once for all runs
            run_dir=run_dir,
            export_dir=run_dir / "export",
        )


def _name(model: str) -> str:
    """Return the name of a model in the report and the runs."""
    return Path(model).stem


def compare(command: CompareCommand) -> Path:
    """Train all runs that are not finished, and write the report.

    Returns:
        Path of `report.html`.

    Raises:
        InputError: If a model, the data set or a run cannot be used.
    """
    schema = with_contents(FeatureSchema.load(command.data_dir), command.data_dir)
    _check_splits(command, schema)
    _keep_to_one_data_set(command.output, schema)
    _keep_report(command)
    contenders = [
        _runs_of(command, schema, model, optimizer)
        for model in command.models
        for optimizer in command.optimizers
    ]

    from tfdlrm.comparison.report import write_comparison
    from tfdlrm.comparison.scoring import with_scores

    baselines = _baselines(command, schema, contenders[0][0].split)
    how = (
        f"{schema.num_rows('train'):,} training rows of {command.data_dir} "
        f"({schema.dialect} dialect), {command.epochs} epoch(s), batch size "
        f"{command.batch_size}, the same order of rows for all. {_choice(command)}"
        f"{_reachable(schema)}"
    )
    labels = None
    if len(command.seeds) > 1 and len(contenders) > 1:
        print("Scoring the rows to compare on", flush=True)
        labels, contenders = with_scores(command.data_dir, contenders, command.output)
    return write_comparison(
        command.output, contenders, len(command.seeds), how, baselines, labels
    )


def _baselines(
    command: CompareCommand, schema: FeatureSchema, split: str
) -> "dict[str, BinaryMetrics]":
    """Return the measures of simple models on the rows of a split."""
    from tfdlrm.baselines.fitted import kept_baselines
    from tfdlrm.baselines.measures import measure_baselines

    path = command.output / "baselines.npz"
    baselines = kept_baselines(path, command.data_dir, schema)
    return measure_baselines(baselines, command.data_dir, schema, [split])[split]


def _choice(command: CompareCommand) -> str:
    rates = [f"{rate:g}" for rate in command.learning_rates]
    if len(rates) == 1:
        return f"Learning rate: {rates[0]}."
    return (
        f"Learning rate: the best of {len(rates)} ({', '.join(rates)}) by validation "
        "log loss with the first seed, the same number for each."
    )


def _reachable(schema: FeatureSchema) -> str:
    if not schema.reachable:
        return ""
    measures = [
        f"AUC {values['auc']:.4f}, log loss {values['log_loss']:.4f} on {split} rows"
        for split, values in schema.reachable.items()
        if split in schema.held_out_splits
    ]
    return f" The model that drew the labels reaches {'; '.join(measures)}."


def _check_splits(command: CompareCommand, schema: FeatureSchema) -> None:
    if not schema.num_rows("train"):
        raise InputError(f"{command.data_dir} has no train rows: prepare it with some")
    require_both_labels(command.data_dir, schema)
    if not schema.held_out_splits:
        raise InputError(
            f"{command.data_dir} holds out no rows to measure models on: prepare it "
            "with some"
        )
    if not schema.num_rows("validation") and len(command.learning_rates) > 1:
        raise InputError(
            f"{command.data_dir} has no validation rows to choose a learning rate by: "
            "prepare it with some, or give one learning rate"
        )


def _keep_to_one_data_set(output: Path, schema: FeatureSchema) -> None:
    """Refuse an output directory whose runs learned from other rows."""
    fingerprint, meaning = output / "data_set.txt", output / "meaning.json"
    if not fingerprint.exists():
        for name in ("schema.json", "config.yaml", "saved_model.pb"):
            if (output / name).exists():
                raise InputError(
                    f"output {output} has a {name}: it is a data set, a run or a "
                    "model, expected a new directory or one of a comparison"
                )
        directories.make_directory("output", output)
        storage.replace_json(meaning, Meaning.of(schema).to_json())
        storage.replace_text(fingerprint, schema.fingerprint)
        return
    reasons: list[str] = []
    if meaning.exists():  # earlier releases did not write it
        old_meaning = read_meaning(meaning.read_bytes())
        reasons = differences(old_meaning, Meaning.of(schema))
    if not reasons and fingerprint.read_text(encoding="utf-8") != schema.fingerprint:
        reasons = ["its shards have other checksums"]
    if reasons:
        raise InputError(
            f"{output} compares runs on another data set: {summarize(reasons)}; give "
            "another --output"
        )


def _keep_report(command: CompareCommand) -> None:
    """Refuse to replace a report that compares models which are not compared now."""
    path = command.output / "report.json"
    try:
        contenders = json.loads(path.read_bytes())
        names = [contender["name"] for contender in contenders]
    except (OSError, ValueError, TypeError, KeyError):
        return  # there is none, or it is damaged
    compared = {
        f"{_name(model)}, {optimizer}"
        for model, optimizer in product(command.models, command.optimizers)
    }
    missing = [name for name in names if name not in compared]
    if missing:
        raise InputError(
            f"{path} also compares {'; '.join(missing)}: add these to --models and "
            "--optimizers, since their runs are not trained again, or give another "
            "--output"
        )


def _runs_of(
    command: CompareCommand,
    schema: FeatureSchema,
    model: str,
    optimizer: OptimizerName,
) -> list[FinishedRun]:
    """Return one run a seed of a model and optimizer, at the chosen learning rate."""
    first_seed, *other_seeds = command.seeds
    runs = [
        _run(command.train_config(model, optimizer, rate, first_seed), schema)
        for rate in command.learning_rates
    ]
    finished_runs = [run for run in runs if run is not None]
    if not finished_runs:
        raise InputError(
            f"{model} with {optimizer} reached no finite loss at any of the learning "
            f"rates {list(command.learning_rates)}: give lower --learning_rates"
        )
    best_run = min(finished_runs, key=lambda run: run.choice)
    rate = best_run.config.optimizer.learning_rate
    runs = [
        _run(command.train_config(model, optimizer, rate, seed), schema)
        for seed in other_seeds
    ]
    return [best_run, *(run for run in runs if run is not None)]


def _run(config: TrainConfig, schema: FeatureSchema) -> FinishedRun | None:
    """Return a run, trained or resumed if it is unfinished; `None` if it diverged."""
    assert config.run_dir is not None
    name = config.run_dir.name
    job = config.run_dir.with_name(f"{name}.yaml")
    diverged = config.run_dir.with_name(f"{name}.diverged")
    if not diverged.exists() and not (config.run_dir / "report.md").exists():
        print(f"{name}: training", flush=True)
        _train(config, job, diverged)
    if diverged.exists():
        _require_same(job.read_text(encoding="utf-8") == to_yaml(config), config)
        print(f"{name}: {diverged.read_text(encoding='utf-8').strip()}")
        return None
    run = read_run(config.run_dir, schema)
    # Its settings of preparing are those of the data set, and runs of earlier releases
    # had no baselines to leave out.
    settings = replace(run.config, prepare=config.prepare, baselines=False)
    _require_same(settings == config, config)
    print(f"{name}: {run.in_a_line()}", flush=True)
    return run


def _require_same(is_same: bool, config: TrainConfig) -> None:
    if not is_same:
        raise InputError(
            f"{config.run_dir} is a finished run with other settings: give another "
            "--output"
        )


def _train(config: TrainConfig, job: Path, diverged: Path) -> None:
    """Train in a separate process; write to `diverged` if the loss is not finite."""
    job.parent.mkdir(parents=True, exist_ok=True)
    storage.replace_text(job, to_yaml(config))
    process = run_in_process("tfdlrm.train", job)
    storage.replace_text(job.with_suffix(".log"), process.stdout)
    message = error_line(process)
    if message is None:
        return
    if not message.startswith("the loss became"):
        raise InputError(message)
    storage.replace_text(diverged, f"{message}\n")


def main() -> None:
    report = compare(parse(CompareCommand, "tfdlrm.compare"))
    print(f"\nReport: {report}")


if __name__ == "__main__":
    run_command(main)
