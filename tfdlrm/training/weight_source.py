"""The weights that a run can begin with: those of another run, or of a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tfdlrm.checkpoints.carry import CarriedVariables
from tfdlrm.checkpoints.roles import Role
from tfdlrm.config.models import ModelConfig
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.schema import FeatureSchema


class Source(Protocol):
    """Weights that a run can begin with."""

    @property
    def path(self) -> Path:
        """What the user named."""

    @property
    def meaning(self) -> Meaning:
        """The meaning of the ids and labels that it was trained with."""

    @property
    def model(self) -> ModelConfig | None:
        """The settings of the model; `None` if they are unknown."""

    @property
    def architecture(self) -> str | None:
        """Name of the model; `None` if it is unknown."""

    @property
    def ensemble(self) -> int | None:
        """Number of members; `None` if it is unknown."""

    @property
    def optimizer(self) -> str | None:
        """The optimizer in words; `None` if there is no state of one."""

    @property
    def remark(self) -> str | None:
        """What else to know of the weights, in one line."""

    def variables(self, schema: FeatureSchema) -> Mapping[str, tuple[Role | None, Any]]:
        """Return role and shape of each variable, by its name."""

    def read(self, variables: CarriedVariables) -> None:
        """Read the values of the variables, piece by piece."""
