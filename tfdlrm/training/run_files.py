"""The files in the directory of a training run."""

from dataclasses import dataclass
from pathlib import Path

from tfdlrm.base import storage
from tfdlrm.training.run_settings import CONFIG_FILE

REPORT_FILE = "report.md"


@dataclass(frozen=True)
class RunFiles:
    """Files of one run.

    Args:
        path: The directory.
        remote: The directory itself, if `path` is a local copy to work in; only the
            remote one has checkpoints.
        restored_from: The directory of the chief, whose checkpoints the run resumes,
            in the process of another worker.
        worker: Name of that worker.
    """

    path: Path
    remote: Path | None = None
    restored_from: Path | None = None
    worker: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", storage.at(self.path))

    @property
    def home(self) -> Path:
        """The directory as the user named it."""
        return self.remote or self.path

    @property
    def config_file(self) -> Path:
        """The complete configuration, which `--config` takes."""
        return self.path / CONFIG_FILE

    @property
    def metrics_file(self) -> Path:
        """The learning curves, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def events_directory(self) -> Path:
        """The learning curves for TensorBoard."""
        return self.path / "events"

    @property
    def weight_events_directory(self) -> Path:
        """The histograms of weights for TensorBoard."""
        return self.events_directory / "weights"

    @property
    def own_directory(self) -> Path:
        """The directory of the files that each worker writes for itself."""
        return self.restored_from / self.worker if self.restored_from else self.path

    @property
    def profile_directory(self) -> Path:
        """The profile of TensorFlow, for TensorBoard."""
        return self.own_directory / "profile"

    @property
    def checkpoint_directory(self) -> Path:
        """The checkpoints, from which a stopped run is resumed or exported."""
        return (self.restored_from or self.home) / "checkpoints"

    @property
    def best_weights_file(self) -> Path:
        """The weights that early stopping keeps; without it the file does not exist."""
        return self.path / "best.weights.h5"

    @property
    def keras_file(self) -> Path:
        """The trained model for Keras, with the optimizer's state."""
        return self.path / "model.keras"

    @property
    def report_file(self) -> Path:
        """The report, which is written last."""
        return self.path / REPORT_FILE

    @property
    def summary_file(self) -> Path:
        """The results in numbers."""
        return self.path / "summary.json"

    @property
    def measures_file(self) -> Path:
        """The measures of each held-out split."""
        return self.path / "metrics.json"

    @property
    def results_file(self) -> Path:
        """The results with curves and quantiles of scores, for exported versions."""
        return self.path / "results.json"

    @property
    def baselines_file(self) -> Path:
        """The baselines of the data set, for exported versions."""
        return self.path / "baselines.npz"
