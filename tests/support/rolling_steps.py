"""The steps of a rolling run without training: models are texts of what they saw."""

import hashlib
import json
import subprocess
from pathlib import Path

import yaml

from pipelines.logs.inputs import Inputs
from tfdlrm.data.schema import FeatureSchema


class KilledError(BaseException):
    """Raised in the place of a kill."""


class FakeSteps:
    """Does the steps of a rolling run in this process, and notes them.

    Args:
        kill_at: Number of the step at which to die; `None` to live on.
        is_done: Whether the step was done by then.
    """

    def __init__(self, kill_at=None, is_done=True):
        self.names = []
        self._kill_at, self._is_done = kill_at, is_done

    def __call__(self, module, job, held=()):
        if len(self.names) == self._kill_at and not self._is_done:
            raise KilledError
        settings = yaml.safe_load(job.read_text())
        step = {
            "pipelines.prepare": prepare,
            "tfdlrm.train": train,
            "tfdlrm.daily.scoring": score,
        }[module]
        self.names.append((job.parent.name, job.stem))
        step(settings)
        if len(self.names) - 1 == self._kill_at:
            raise KilledError
        return subprocess.CompletedProcess([module], 0, "", "")


def prepare(settings):
    """Write a schema that says what it was made of."""
    (raw,) = map(Path, settings["raw"])
    output = Path(settings["output"])
    if output.exists():
        return
    output.mkdir(parents=True)
    files = [
        {"name": raw.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in Inputs.of([raw])
    ]
    source = {"files": files, "settings": settings}
    FeatureSchema(("I1",), (), source=source).save(output)


def train(settings):
    """Export a version that says which days it saw, and finish the run."""
    data = FeatureSchema.load(settings["data_dir"]).source
    earlier = settings.get("init_from")
    seen = (
        seen_by(json.loads((Path(earlier) / "summary.json").read_text())["model"])
        if (earlier)
        else []
    )
    run, versions = Path(settings["run_dir"]), Path(settings["export_dir"])
    number = 1 + max((int(path.name) for path in versions.glob("[0-9]*")), default=0)
    version = versions / str(number)
    version.mkdir(parents=True)
    days = [*seen, *(file["name"] for file in data["files"])]
    (version / "saved_model.pb").write_text(json.dumps(days))
    run.mkdir(parents=True)
    (run / "summary.json").write_text(json.dumps({"model": str(version)}))
    (run / "report.md").touch()


def score(settings):
    """Write which days each model saw."""
    measures = {
        name: {
            "rows": 10,
            "auc": 0.5 + len(seen_by(model)) / 100,
            "seen": seen_by(model),
        }
        for name, model in zip(settings["names"], settings["models"], strict=True)
    }
    Path(settings["output_file"]).write_text(json.dumps(measures))


def seen_by(model):
    """Return the days that a model saw."""
    return json.loads((Path(model) / "saved_model.pb").read_text())
