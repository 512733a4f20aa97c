"""The runs of a comparison: trained in processes, resumed, or read if finished."""

from dataclasses import replace
from pathlib import Path

from tfdlrm.base import storage
from tfdlrm.base.child_process import error_line, run_in_process
from tfdlrm.base.command_line import to_yaml
from tfdlrm.base.errors import InputError
from tfdlrm.comparison.contenders import Contender
from tfdlrm.comparison.runs import FinishedRun, read_run
from tfdlrm.comparison.settings import CompareCommand
from tfdlrm.config import TrainConfig
from tfdlrm.data.schema import FeatureSchema


def runs_of(
    command: CompareCommand, schema: FeatureSchema, contender: Contender
) -> list[FinishedRun]:
    """Return one run a seed of a contender, at the learning rate that is chosen.

    Args:
        command: The settings of the comparison.
        schema: Schema of the data set.
        contender: A model with its optimizer.

    Raises:
        InputError: If all candidates diverge, or a run has other settings.
    """
    runs = [_run(config, schema) for config in contender.candidates]
    finished_runs = [run for run in runs if run is not None]
    if not finished_runs:
        rates = [config.optimizer.learning_rate for config in contender.candidates]
        fix = "--learning_rates"
        if contender.has_own_settings:
            fix = "optimizer.learning_rate in its file"
        raise InputError(
            f"{contender.name} with {contender.candidates[0].optimizer.name} reached "
            f"no finite loss at any of the learning rates {rates}: give lower {fix}"
        )
    best_run = min(finished_runs, key=lambda run: run.choice)
    rate = best_run.config.optimizer.learning_rate
    best = next(
        config
        for config in contender.candidates
        if config.optimizer.learning_rate == rate
    )
    runs = [
        _run(command.with_seed(contender, best, seed), schema)
        for seed in command.seeds[1:]
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
