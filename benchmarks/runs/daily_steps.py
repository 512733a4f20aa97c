"""The steps of a rolling run in this process, which has loaded TensorFlow already."""

import io
import json
import subprocess
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from pipelines.prepare import PrepareCommand, prepare
from tfdlrm.base.command_line import parse
from tfdlrm.config import RollingConfig, TrainConfig
from tfdlrm.daily.scoring import ScoreDay, score_day
from tfdlrm.train import train


@dataclass(frozen=True)
class Retrained:
    """A model that was trained on all days up to one.

    Args:
        seconds: Time of preparing and training.
        measures: Its measures on the next day.
    """

    seconds: float
    measures: dict[str, Any]


def run_here(
    module: str, job: Path, held: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    """Do what `tfdlrm.base.child_process.run_in_process` does, without a process."""
    arguments = ["--config", str(job)]
    output = io.StringIO()
    with redirect_stdout(output):
        if module == "pipelines.prepare":
            command = parse(PrepareCommand, module, arguments, several="raw")
            prepare(command.raw or (), command.output, command)
        elif module == "tfdlrm.train":
            keras.backend.clear_session()
            train(parse(TrainConfig, module, arguments))
        else:
            score_day(parse(ScoreDay, module, arguments))
    return subprocess.CompletedProcess([module], 0, output.getvalue(), "")


def retrain(
    config: RollingConfig, logs: Sequence[Path], next_day: Path, folder: Path
) -> Retrained:
    """Train on several days from nothing, and measure the day after them.

    Args:
        config: The settings of the rolling run.
        logs: The days.
        next_day: The day after them.
        folder: A new directory.
    """
    start = time.perf_counter()
    with redirect_stdout(io.StringIO()):
        prepare(logs, folder / "data", config.preparing())
        keras.backend.clear_session()
        settings = config.training(folder / "data", folder / "run", folder / "model")
        train(settings)
        seconds = time.perf_counter() - start
        scores = folder / "scores.json"
        score_day(ScoreDay(("all",), (folder / "model",), scores, raw=next_day))
    return Retrained(seconds, json.loads(scores.read_bytes())["all"])
