"""A recipe trained by the project's own command, in this process."""

import io
from contextlib import redirect_stdout
from dataclasses import dataclass

from tfdlrm.base.errors import InputError
from tfdlrm.config import TrainConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.training.run_directory import RunDirectory


@dataclass(frozen=True)
class Reached:
    """What a run reached, and when.

    Args:
        validation: AUC and log loss on the validation rows.
        test: The same on the test rows; `None` if there are none.
        epochs: Epochs until the weights that are kept.
        curve: Seconds of training, validation included, and AUC on the validation rows,
            of each point of the learning curve.
    """

    validation: tuple[float, float]
    test: tuple[float, float] | None
    epochs: float
    curve: tuple[tuple[float, float], ...]

    @property
    def seconds(self) -> float:
        """Seconds of training until its end."""
        return self.curve[-1][0]

    def seconds_to(self, auc: float) -> float | None:
        """Return the seconds until the validation rows first had such an AUC.

        Returns:
            `None` if they never had.

        Example:

        >>> curve = ((10.0, 0.9), (20.0, 0.97), (30.0, 0.98))
        >>> Reached((0.98, 0.16), None, 3, curve).seconds_to(0.96)
        20.0
        """
        return next((time for time, value in self.curve if value >= auc), None)

    def __str__(self) -> str:
        splits = {"validation": self.validation, "test": self.test}
        measures = "; ".join(
            f"{split} AUC {values[0]:.4f}, log loss {values[1]:.4f}"
            for split, values in splits.items()
            if values is not None
        )
        return f"{measures}; {self.epochs:g} epochs, {self.seconds:.0f} s"


def train_recipe(config: TrainConfig) -> Reached:
    """Train as `tfdlrm.train` does, unless the run is finished already.

    Args:
        config: The settings, with a data set and the directory of the run.

    Raises:
        InputError: If the run is finished, with other settings.
    """
    import keras

    from tfdlrm.train import train

    assert config.run_dir is not None
    run = RunDirectory(config.run_dir)
    if run.report_file.is_file():
        _require_same_settings(run, config)
    else:
        keras.backend.clear_session()
        with redirect_stdout(io.StringIO()):
            train(config)
    return read_reached(run)


def _require_same_settings(run: RunDirectory, config: TrainConfig) -> None:
    used = run.load_config()
    for name in ("model", "optimizer", "batch_size", "epochs", "early_stopping"):
        if getattr(used, name) != getattr(config, name):
            raise InputError(
                f"{run.home} is a finished run with another {name} than the recipe of "
                "now: give another --work_dir"
            )


def read_reached(run: RunDirectory) -> Reached:
    """Read what a finished run reached."""
    config, summary = run.load_config(), run.load_summary()
    assert config.data_dir is not None
    num_rows = FeatureSchema.load(config.data_dir).num_rows("train")
    splits = {
        split: (values["auc"], values["log_loss"])
        for split, values in (run.measures or {}).items()
    }
    return Reached(
        validation=splits["validation"],
        test=splits.get("test"),
        epochs=summary["kept_step"] / -(-num_rows // config.batch_size),
        curve=tuple(
            (point["seconds"], point["auc"])
            for point in run.load_curves()
            if point["split"] == "validation"
        ),
    )
