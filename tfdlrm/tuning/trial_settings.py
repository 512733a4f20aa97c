"""The settings of one trial: those that all share, with the values of the search."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tfdlrm.base.command_line import parse, to_yaml
from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.setting_list import alternatives, settings_of
from tfdlrm.config import TrainConfig


@dataclass(frozen=True)
class SettingsInPlay:
    """The settings of training that trials may have.

    Args:
        members: For each field that is one of several dataclasses, such as `model`,
            those that trials may choose, by name.
    """

    members: Mapping[str, Mapping[str, type[Any]]]

    @classmethod
    def of(cls, base: TrainConfig) -> "SettingsInPlay":
        """Return the settings where the space chooses nothing."""
        names = alternatives(TrainConfig)
        return cls(
            {field: {_name(base, field): _class(base, field)} for field in names}
        )

    @property
    def switches(self) -> list[str]:
        """The settings that choose which others there are, such as `model.name`."""
        return [f"{field}.name" for field in self.members]

    @property
    def hints(self) -> dict[str, Any]:
        """The types of all settings that some trial may have."""
        hints = {}
        for field, members in self.members.items():
            for member in members.values():
                chosen = {**self._first_members(), field: member}
                for setting in settings_of(TrainConfig, chosen):
                    hints[setting.name] = setting.hint
        return hints

    def switched(self, switch: str, names: Iterable[Any]) -> "SettingsInPlay":
        """Return the settings where trials choose among `names` by a switch.

        Raises:
            InputError: If there is no such choice.
        """
        field = switch.partition(".")[0]
        members = alternatives(TrainConfig)[field]
        for name in names:
            if name not in members:
                raise InputError(
                    f"{switch} has the value {name!r}, expected one of "
                    f"{', '.join(members)}{did_you_mean(str(name), members)}"
                )
        chosen = {name: members[name] for name in names}
        return SettingsInPlay({**self.members, field: chosen})

    def has(self, name: str, values: Mapping[str, Any]) -> bool:
        """Return whether a trial has a setting.

        Args:
            name: The setting.
            values: Values of the trial's switches that the space has.
        """
        field, _, rest = name.partition(".")
        if field not in self.members or rest == "name":
            return True
        members = self.members[field]
        choice = values.get(f"{field}.name", next(iter(members)))
        return rest in {setting.name for setting in settings_of(members[choice], {})}

    def is_section(self, name: str) -> bool:
        """Return whether a name is that of several settings."""
        return self.first_of(name) is not None

    def first_of(self, section: str) -> str | None:
        """Return the first setting of a section; `None` if it is none."""
        start = f"{section}."
        return next((name for name in self.hints if name.startswith(start)), None)

    def owner_of(self, name: str) -> str | None:
        """Return, for a setting that no trial has, the choices with which there is."""
        field, _, rest = name.partition(".")
        owners = [
            choice
            for choice, member in alternatives(TrainConfig).get(field, {}).items()
            if rest in {setting.name for setting in settings_of(member, {})}
        ]
        return f"{field}.name {' or '.join(owners)}" if owners else None

    def _first_members(self) -> dict[str, type[Any]]:
        return {
            field: next(iter(group.values())) for field, group in self.members.items()
        }


def trial_settings(base: TrainConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a trial, as a file of settings holds them.

    Args:
        base: The settings that all trials share. Where a trial chooses another model,
            those of its settings that the other one has too are kept, unless they are
            defaults.
        values: The values of the trial, by dotted names.
    """
    settings: dict[str, Any] = yaml.safe_load(to_yaml(base))
    for field in alternatives(TrainConfig):
        choice = values.get(f"{field}.name", _name(base, field))
        if choice != _name(base, field):
            member = alternatives(TrainConfig)[field][choice]
            names = {setting.name for setting in fields(member)} - {"name"}
            changed = changes(settings[field], _class(base, field))
            settings[field] = {
                name: value for name, value in changed.items() if name in names
            }
    for name, value in values.items():
        *sections, last = name.split(".")
        section = settings
        for key in sections:
            if not isinstance(section.get(key), dict):
                section[key] = {}  # null until now
            section = section[key]
        section[last] = value
    return settings


def alternatives_of(settings: Mapping[str, Any]) -> dict[str, type[Any]]:
    """Return the dataclasses that settings choose, by the fields of their names."""
    return {
        field: members[settings[field]["name"]]
        for field, members in alternatives(TrainConfig).items()
    }


def changes(settings: Mapping[str, Any], config_class: type[Any]) -> dict[str, Any]:
    """Return the settings that are not the defaults of a dataclass."""
    defaults = {}
    for setting in settings_of(config_class, {}):
        if not setting.is_required:
            defaults[setting.name] = _plain(setting.default)
    return {
        name: value
        for name, value in settings.items()
        if name not in defaults or value != defaults[name]
    }


def read_trial(settings: Mapping[str, Any]) -> TrainConfig:
    """Return the settings as `tfdlrm.train --config` reads them.

    Raises:
        InputError: If it refuses them.
    """
    with TemporaryDirectory(prefix="tfdlrm-") as folder:
        file = Path(folder) / "trial.yaml"
        file.write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
        return parse(TrainConfig, "tfdlrm.train", ["--config", str(file)])


def _name(base: TrainConfig, field: str) -> str:
    return str(getattr(base, field).name)


def _class(base: TrainConfig, field: str) -> type[Any]:
    return type(getattr(base, field))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
