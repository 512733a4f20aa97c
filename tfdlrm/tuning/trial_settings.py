"""The settings of one trial: those that all share, with the values of the search."""

from collections.abc import Mapping
from typing import Any

import yaml

from tfdlrm.base.command_line import to_yaml
from tfdlrm.base.setting_list import Section, settings_of, variable_sections
from tfdlrm.config import TrainConfig

SECTIONS = tuple(variable_sections(TrainConfig))
"""The sections of settings that hold one of several dataclasses, or perhaps none."""


def class_of(section: Section, value: Any) -> type[Any] | None:
    """Return the dataclass of a section by its main setting; `None` if it is absent."""
    if value is None:
        return None
    return section.members[value] if section.has_choice else section.first


def base_class_of(section: Section, base: TrainConfig) -> type[Any] | None:
    """Return the dataclass that a section has without a choice of the trial."""
    value: Any = base
    for name in section.name.split("."):
        value = getattr(value, name)
    return None if value is None else type(value)


def classes_of(
    base: TrainConfig, values: Mapping[str, Any]
) -> dict[str, type[Any] | None]:
    """Return the dataclass of each section in a trial, by the section's name."""
    return {
        section.name: (
            class_of(section, values[section.main_name])
            if section.main_name in values
            else base_class_of(section, base)
        )
        for section in SECTIONS
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
    classes = classes_of(base, values)
    for section in SECTIONS:
        chosen, old = classes[section.name], base_class_of(section, base)
        if chosen is None:
            put_setting(settings, section.name, None)
        elif chosen is not old:
            kept = {} if old is None else _kept(settings, section, old, chosen)
            put_setting(settings, section.name, kept)
    for name, value in values.items():
        is_absent = any(
            classes[section.name] is None and name == section.main_name
            for section in SECTIONS
        )
        if not is_absent:
            put_setting(settings, name, value)
    return settings


def _kept(
    settings: Mapping[str, Any], section: Section, old: type[Any], new: type[Any]
) -> dict[str, Any]:
    """Return what another dataclass keeps of a section: what it has and is given."""
    values: Any = settings
    for name in section.name.split("."):
        values = values[name]
    names = {setting.name for setting in settings_of(new, {})} - {section.main}
    defaults = {setting.name: setting.default for setting in settings_of(old, {})}
    return {
        name: value
        for name, value in values.items()
        if name in names and value != as_in_yaml(defaults[name])
    }


def as_in_yaml(value: Any) -> Any:
    """Return a default as YAML has it."""
    return list(value) if isinstance(value, tuple) else value


def put_setting(settings: dict[str, Any], name: str, value: Any) -> None:
    """Set a setting by its dotted name."""
    *sections, last = name.split(".")
    for section in sections:
        if not isinstance(settings.get(section), dict):
            settings[section] = {}
        settings = settings[section]
    settings[last] = value
