"""The space of a search: which settings of training have which values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdlrm.base.arguments import Arguments
from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.config import TrainConfig
from tfdlrm.tuning.dimensions import Dimension, read_dimension
from tfdlrm.tuning.settings_in_play import SettingsInPlay

if TYPE_CHECKING:
    from optuna.trial import Trial

_NOT_SEARCHED = {
    "data_dir": "all trials have the same rows",
    "raw": "all trials have the same rows",
    "prepare": "all trials have the same rows",
    "run_dir": "trials have directories of their own",
    "export_dir": "trials export nothing",
    "init_from": "all trials begin with the same weights",
    "checkpoints": "it changes no model",
    "profile_steps": "it changes no model",
    "weight_histograms": "it changes no model",
    "baselines": "it changes no model",
    "allow_one_class": "it changes no model",
    "allow_other_columns": "it changes no model",
    "evaluations_per_epoch": "the validation curves of trials are compared by points",
}


@dataclass(frozen=True)
class Space:
    """The settings to search, by their dotted names.

    Args:
        dimensions: The dimensions, those that choose others first.
        settings: The settings that there are, and with which choices.
    """

    dimensions: dict[str, Dimension]
    settings: SettingsInPlay

    @classmethod
    def read(cls, path: Path, base: TrainConfig) -> "Space":
        """Read the YAML file of a space.

        Args:
            path: The file.
            base: The settings that all trials share.

        Raises:
            InputError: If it is no space for these settings; the message names the
                file and the setting.
        """
        (contents,) = Arguments.read(["--config", str(path)]).settings
        try:
            return cls._of(contents, base)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    @classmethod
    def _of(cls, contents: Mapping[str, Any], base: TrainConfig) -> "Space":
        settings = SettingsInPlay.of(base)
        values = dict(_flat(contents, settings))
        if not values:
            raise InputError("there are no settings, expected one or more to search")
        # First, since the other settings depend on them.
        switches = settings.switches
        names = sorted(values, key=lambda name: name not in switches)
        dimensions: dict[str, Dimension] = {}
        for name in names:
            _require_searched(name)
            dimension = _dimension_of(name, values[name], settings)
            if name in switches:
                settings = settings.switched(name, dimension.examples)
            dimensions[name] = dimension
        return cls(dimensions, settings)

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """Return the values of a trial, by names; settings that it lacks are absent."""
        values: dict[str, Any] = {}
        for name, dimension in self.dimensions.items():
            if self.settings.has(name, values):
                values[name] = dimension.suggest(name, trial)
        return values

    @property
    def is_conditional(self) -> bool:
        """Whether there are settings that only some trials have."""
        return any(name in self.settings.switches for name in self.dimensions)

    def to_json(self) -> dict[str, Any]:
        """Return the space as its file could be written."""
        return {name: item.to_json() for name, item in self.dimensions.items()}


def _flat(
    contents: Mapping[str, Any], settings: SettingsInPlay, prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield dotted names and what the space says about them."""
    for key, value in contents.items():
        name = f"{prefix}{key}"
        is_range = isinstance(value, Mapping) and _is_range(value)
        if isinstance(value, Mapping) and settings.is_section(name) and not is_range:
            yield from _flat(value, settings, f"{name}.")
        else:
            yield settings.full_name(name), value


def _is_range(value: Mapping[str, Any]) -> bool:
    """Whether a mapping is a range, not settings of a section."""
    return "low" in value or "high" in value


def _require_searched(name: str) -> None:
    reason = _NOT_SEARCHED.get(name) or _NOT_SEARCHED.get(name.partition(".")[0])
    if reason:
        raise InputError(
            f"{name} is not searched: {reason}; expected settings of the model and of "
            "its training"
        )


def _dimension_of(name: str, value: Any, settings: SettingsInPlay) -> Dimension:
    if owner := settings.owner_of(name):
        raise InputError(f"{name} is no setting here; it is one with {owner}")
    hint = settings.hints.get(name)
    if hint is not None:
        return read_dimension(name, hint, value)
    if settings.is_section(name):
        raise InputError(
            f"{name} holds several settings, expected one such as "
            f"{settings.first_of(name)}"
        )
    names = [known for known in settings.hints if not _is_refused(known)]
    raise InputError(f"{name} is no setting of tfdlrm.train{did_you_mean(name, names)}")


def _is_refused(name: str) -> bool:
    return name in _NOT_SEARCHED or name.partition(".")[0] in _NOT_SEARCHED
