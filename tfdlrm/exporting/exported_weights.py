"""The weights of an exported model, from which a run begins."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfdlrm.base import local_copies, storage
from tfdlrm.base.errors import InputError
from tfdlrm.checkpoints.carry import CarriedVariables
from tfdlrm.checkpoints.roles import Role
from tfdlrm.config import TrainConfig
from tfdlrm.config.models import ModelConfig
from tfdlrm.config.plain_settings import train_config_of
from tfdlrm.data.meaning import Meaning
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.data.vocabulary_contents import with_contents
from tfdlrm.exporting.manifest import check_version, unchecked
from tfdlrm.exporting.tensor_bundle import StoredTensor, stored_tensors
from tfdlrm.exporting.versions import CARD_FILE, EXTRA_DIRECTORY, newest_whole

_WEIGHT = re.compile(r"weights/(\d+)/\.ATTRIBUTES/VARIABLE_VALUE")
"""Names of the weights in a SavedModel that `export_model` wrote."""

_QUANTIZED = "quantized/"


@dataclass(frozen=True)
class ExportedModel:
    """The weights of a version, without state of an optimizer.

    Args:
        path: Directory of the version.
        schema: Columns and transforms that it was trained with.
        model: The settings of the model; `None` if its card has none.
        architecture: Name of the model; `None` if it has no card.
        ensemble: Number of members; `None` if its card has no settings.
    """

    path: Path
    schema: FeatureSchema
    model: ModelConfig | None
    architecture: str | None
    ensemble: int | None
    optimizer: None = None
    remark: None = None

    @property
    def meaning(self) -> Meaning:
        """The meaning of the ids and labels that it was trained with."""
        return Meaning.of(with_contents(self.schema, self.path / EXTRA_DIRECTORY))

    def variables(self, schema: FeatureSchema) -> Mapping[str, tuple[Role | None, Any]]:
        """Return role and shape of each weight, by its name."""
        return {
            name: (Role("weight", int(match[1])), list(tensor.shape))
            for name, tensor in self._tensors().items()
            if (match := _WEIGHT.fullmatch(name))
        }

    def read(self, variables: CarriedVariables) -> None:
        """Read the weights, piece by piece.

        Raises:
            InputError: If a table has another number of rows than its columns have ids,
                or a file is damaged.
        """
        for name, tensor in self._tensors().items():
            if name not in variables.names:
                continue
            expected = list(variables.shapes[name])
            if list(tensor.shape) != expected:
                raise InputError(
                    f"init_from {self.path} has another architecture: a table has "
                    f"shape {list(tensor.shape)} there, expected {expected}; give the "
                    "same settings of the model"
                )
            for piece in tensor.pieces():
                variables.assign(piece)

    def _tensors(self) -> dict[str, StoredTensor]:
        folder = local_copies.local_copy(self.path / tf.saved_model.VARIABLES_DIRECTORY)
        return stored_tensors(folder / tf.saved_model.VARIABLES_FILENAME)

    def require_exact(self) -> None:
        """Refuse tables of 8 bits a number.

        Raises:
            InputError: If there are some.
        """
        if any(name.startswith(_QUANTIZED) for name in self._tensors()):
            raise InputError(
                f"init_from {self.path} has tables of 8 bits a number, from which the "
                "trained weights cannot be had: give the run, or a version that was "
                "exported without --quantize int8"
            )


def find_model(path: Path) -> ExportedModel | None:
    """Return the exported model at a path; `None` if there is none.

    Args:
        path: Directory of a version, or the directory of versions for the newest.

    Raises:
        InputError: If a file of it is damaged, or its tables have 8 bits a number.
    """
    version = newest_whole(storage.at(path))
    if version is None:
        return None
    if not check_version(version):
        print(unchecked(version), file=sys.stderr)
    schema = FeatureSchema.load(version / EXTRA_DIRECTORY)
    card = read_card(version)
    settings, architecture = _settings_in(card), card.get("architecture")
    if settings is None:
        model = ExportedModel(version, schema, None, architecture, None)
    else:
        model = ExportedModel(
            version, schema, settings.model, architecture, settings.ensemble
        )
    model.require_exact()
    return model


def settings_of(version: Path) -> TrainConfig | None:
    """Return `model` and `ensemble` of a version; `None` if its card has neither."""
    return _settings_in(read_card(version))


def _settings_in(card: dict[str, Any]) -> TrainConfig | None:
    config = card.get("config") or {}
    if config.get("model") is None:
        return None
    names = ("model", "ensemble")
    return train_config_of({name: config[name] for name in names if name in config})


def read_card(version: Path) -> dict[str, Any]:
    """Return the card of a version; it is empty if there is none.

    Raises:
        InputError: If it cannot be read.
    """
    path = version / EXTRA_DIRECTORY / CARD_FILE
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): export the model again"
        ) from None
