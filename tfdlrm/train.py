"""`python -m tfdlrm.train`: from rows to an exported model."""

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfdlrm.base.callable_module import make_callable
from tfdlrm.base.command_line import gives, parse, run_command
from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.config.help_subjects import TRAIN

if TYPE_CHECKING:
    import keras


def train(
    config: TrainConfig, callbacks: "Sequence[keras.callbacks.Callback]" = ()
) -> Path | None:
    """Train, evaluate, report and export.

    Args:
        config: The settings of the run.
        callbacks: Your own Keras callbacks, called as by one `fit` over all epochs,
            with the validation values `val_loss`, `val_accuracy` and `val_auc` at the
            end of an epoch. A resumed run calls them for the steps that remain.

    Returns:
        The version directory of the exported SavedModel; `None` for a worker that is
        not the chief, which exports it.

    Raises:
        InputError: If the configuration or the data cannot be used.
        LostWorkerError: If another worker is lost.
    """
    from tfdlrm.runs.training_run import run_training  # not for --help

    if not isinstance(config, TrainConfig):
        raise InputError(f"config is {config!r}, expected tfdlrm.TrainConfig(…)")
    start = time.perf_counter()
    run = run_training(config, callbacks)
    if run is None:
        return None
    print(f"Report: {run.report}")
    print(f"Model:  {run.model}")
    print(f"Done in {time.perf_counter() - start:.0f} s. Score raw rows with it:\n")
    print(
        f"  python -m tfdlrm.predict --model {shlex.quote(str(run.model))} "
        f"--raw {shlex.quote(str(run.raw))} --output_file predictions.csv"
    )
    return run.model


def main() -> None:
    if gives(sys.argv[1:], "stream"):
        from tfdlrm.config.stream import StreamConfig
        from tfdlrm.streaming.following import learn

        learn(parse(StreamConfig, "tfdlrm.train"))
    else:
        train(parse(TrainConfig, "tfdlrm.train", subjects=TRAIN))


make_callable(__name__)

if __name__ == "__main__":
    run_command(main)
