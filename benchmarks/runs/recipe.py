"""A recipe trained by the project's own command, in this process."""

import io
from contextlib import redirect_stdout
from dataclasses import dataclass

from tfdlrm.config import TrainConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.training.run_directory import RunDirectory


@dataclass(frozen=True)
class Reached:
    """What a run reached, and when.

    Args:
        validation: AUC and log loss on the validation rows.
        test: The same on the test rows; `None` if there are none.
        best_epoch: Epochs until the weights that are kept.
        best_seconds: Seconds of training until then, validation included.
        seconds: Seconds of training until the end.
    """

    validation: tuple[float, float]
    test: tuple[float, float] | None
    best_epoch: float
    best_seconds: float
    seconds: float

    def __str__(self) -> str:
        """The measures and the time in a line."""
        splits = {"validation": self.validation, "test": self.test}
        measures = "; ".join(
            f"{split} AUC {values[0]:.4f}, log loss {values[1]:.4f}"
            for split, values in splits.items()
            if values is not None
        )
        return (
            f"{measures}; best after {self.best_epoch:g} epochs, "
            f"{self.best_seconds:.0f} of {self.seconds:.0f} s"
        )


def train_recipe(config: TrainConfig) -> Reached:
    """Train as `tfdlrm.train` does, unless the run is finished already.

    Args:
        config: The settings, with a data set and the directory of the run.
    """
    import keras

    from tfdlrm.train import train

    assert config.run_dir is not None
    run = RunDirectory(config.run_dir)
    if not run.report_file.is_file():
        keras.backend.clear_session()
        with redirect_stdout(io.StringIO()):
            train(config)
    return read_reached(run)


def read_reached(run: RunDirectory) -> Reached:
    """Read what a finished run reached."""
    config, summary = run.load_config(), run.load_summary()
    assert config.data_dir is not None
    num_rows = FeatureSchema.load(config.data_dir).num_rows("train")
    curve, measures = run.load_curves(), run.measures or {}
    kept_step = summary["kept_step"]
    splits = {
        split: (values["auc"], values["log_loss"]) for split, values in measures.items()
    }
    return Reached(
        validation=splits["validation"],
        test=splits.get("test"),
        best_epoch=kept_step / -(-num_rows // config.batch_size),
        best_seconds=max(
            point["seconds"] for point in curve if point["step"] <= kept_step
        ),
        seconds=curve[-1]["seconds"],
    )
