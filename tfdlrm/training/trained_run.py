"""A run, one of its checkpoints or its stream, from which another run begins."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.carry import CarriedVariables
from tfdlrm.checkpoints.directory import CheckpointDirectory
from tfdlrm.checkpoints.roles import Role, roles_of
from tfdlrm.checkpoints.step import read_checkpoint, state_of
from tfdlrm.checkpoints.variables import SavedVariables
from tfdlrm.config import TrainConfig
from tfdlrm.config.models import ModelConfig
from tfdlrm.data.meaning import Meaning, read_meaning
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.training.best_weights import check_best_weights, read_best_weights
from tfdlrm.training.run_directory import RunDirectory
from tfdlrm.training.run_settings import CONFIG_FILE, COPY_FILE
from tfdlrm.training.skeleton import skeleton_of

_CHECKPOINTS = "checkpoints"


@dataclass
class TrainedRun:
    """Weights, optimizer state and settings of a run.

    Args:
        path: What the user named.
        config: The settings of the run.
        state: The state of the newest checkpoint, or of the one that was named.
        checkpoints: The directory of checkpoints.
        checkpoint: The one to read; `None` means the newest that is not damaged.
        best: The run whose best weights are read; `None` for those of a checkpoint.
    """

    path: Path
    config: TrainConfig
    state: dict[str, Any]
    checkpoints: Path
    checkpoint: Path | None = None
    best: RunDirectory | None = None
    _skeleton: Any = field(default=None, repr=False)

    @property
    def model(self) -> ModelConfig:
        """The settings of the model."""
        return self.config.model

    @property
    def architecture(self) -> str:
        """Name of the model."""
        return self.config.model.name

    @property
    def ensemble(self) -> int:
        """Number of members."""
        return self.config.ensemble

    @property
    def optimizer(self) -> str:
        """The optimizer in words."""
        return self.config.optimizer.words

    @property
    def meaning(self) -> Meaning:
        """The meaning of the ids and labels that it was trained with.

        Raises:
            InputError: If it is not known.
        """
        if "meaning" in self.state:
            return read_meaning(self.state["meaning"])
        data_dir = self.config.data_dir
        if data_dir is not None and (storage.at(data_dir) / "schema.json").is_file():
            schema = FeatureSchema.load(data_dir)
            if schema.fingerprint == self.state.get("data_set"):
                return Meaning.of(with_contents(schema, data_dir))
        raise InputError(
            f"init_from {self.path} was written by an earlier release and does not say "
            f"what its ids mean: put its data set back where it was, {data_dir}"
        )

    @property
    def remark(self) -> str | None:
        """What else to know of the weights, in one line."""
        if self.best is None:
            return None
        return (
            f"{self.path} has early stopping: its best weights are carried over, and "
            "the optimizer's state of their step"
        )

    def variables(self, schema: FeatureSchema) -> dict[str, tuple[Role | None, Any]]:
        """Return role and shape of each variable, by its name.

        The shapes of tables are not those of the run.

        Args:
            schema: The columns.
        """
        self._skeleton = skeleton_of(schema, self.config)
        variables = SavedVariables(self._skeleton)
        roles = {
            name: role
            for role, name in roles_of(self._skeleton, variables).items()
            # Keras' file of the best weights has no seeds.
            if self.best is None or role.group != "seed"
        }
        return {
            name: (roles.get(name), shape) for name, shape in variables.shapes.items()
        }

    def read(self, variables: CarriedVariables) -> None:
        """Read the weights and the optimizer's state, after `variables` was called.

        Raises:
            InputError: If they cannot be read.
        """
        if self.best is not None:
            read_best_weights(self._skeleton, self.best, variables)
        elif self.checkpoint is not None:
            read_checkpoint(self.checkpoint, variables)
        else:
            self.state = CheckpointDirectory(self.checkpoints).read(variables)


def find_run(path: Path) -> TrainedRun | None:
    """Return the run at a path; `None` if nothing of a run is there.

    Args:
        path: Directory of a run, of its stream, or of one of their checkpoints.

    Raises:
        InputError: If it is a run that holds no readable checkpoint, or whose settings
            are damaged.
    """
    folder = storage.at(path).resolve()
    is_checkpoint = re.fullmatch(r"step-\d+", folder.name) is not None
    if is_checkpoint:
        checkpoints = folder.parent
    elif folder.name == _CHECKPOINTS:
        checkpoints = folder
    else:
        checkpoints = folder / _CHECKPOINTS
    home = next(filter(_is_run, (checkpoints.parent, checkpoints.parent.parent)), None)
    if home is None or not (folder if is_checkpoint else checkpoints).is_dir():
        return None
    run = RunDirectory(home)
    config = run.load_config()
    if is_checkpoint:
        state = state_of(folder)
    else:
        state = CheckpointDirectory(checkpoints).newest_state()
    if state is None:
        problem = "is damaged" if is_checkpoint else "holds no checkpoint to begin from"
        raise InputError(
            f"init_from {path} {problem}: give a run that has one, or an exported model"
        )
    best = None
    if folder == home and _keeps_best(run, config, state):
        check_best_weights(run)
        best = run
    checkpoint = folder if is_checkpoint else None
    return TrainedRun(path, config, state, checkpoints, checkpoint, best)


def _is_run(folder: Path) -> bool:
    return (folder / CONFIG_FILE).is_file() or (folder / COPY_FILE).is_file()


def _keeps_best(
    run: RunDirectory, config: TrainConfig, state: Mapping[str, Any]
) -> bool:
    splits = [point["split"] for point in state.get("points", [])]
    return "validation" in splits and (
        run.best_weights_file.is_file() or config.early_stopping is not None
    )
