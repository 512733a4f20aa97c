"""The settings that trials may have, some of which only with certain others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.setting_list import Section, settings_of
from tfdlrm.base.setting_words import may_be_null, quoted
from tfdlrm.config import TrainConfig
from tfdlrm.tuning.trial_settings import SECTIONS, base_class_of, class_of


@dataclass(frozen=True)
class SettingsInPlay:
    """The settings of training that trials may have.

    Args:
        base: The settings that all trials share.
        classes: For each section that holds one of several dataclasses or perhaps none,
            such as `model`, those that trials may choose; `None` where it is absent.
    """

    base: TrainConfig
    classes: Mapping[str, tuple[type[Any] | None, ...]]

    @classmethod
    def of(cls, base: TrainConfig) -> "SettingsInPlay":
        """Return the settings where the space chooses nothing."""
        return cls(base, {s.name: (base_class_of(s, base),) for s in SECTIONS})

    @property
    def switches(self) -> list[str]:
        """The settings that decide which others there are, such as `model.name`."""
        return [section.main_name for section in SECTIONS] + [
            name
            for name, hint in self.hints.items()
            if name.endswith(".name") and may_be_null(hint)
        ]

    @property
    def hints(self) -> dict[str, Any]:
        """The types of all settings that some trial may have."""
        first = {name: classes[0] for name, classes in self.classes.items()}
        hints: dict[str, Any] = {}
        for name, classes in self.classes.items():
            for chosen in classes:
                for setting in settings_of(TrainConfig, {**first, name: chosen}):
                    hints.setdefault(setting.name, setting.hint)
        return hints

    def switched(self, name: str, values: Iterable[Any]) -> "SettingsInPlay":
        """Return the settings where trials have some values of a switch.

        Raises:
            InputError: If a value is no choice.
        """
        section = next((s for s in SECTIONS if s.main_name == name), None)
        if section is None:
            return self
        for value in values:
            _require_choice(section, value)
        classes = dict.fromkeys(class_of(section, value) for value in values)
        return SettingsInPlay(self.base, {**self.classes, section.name: tuple(classes)})

    def has(self, name: str, values: Mapping[str, Any]) -> bool:
        """Return whether a trial has a setting.

        Args:
            name: The setting.
            values: Values of the trial's switches that the space has.
        """
        section = _section_of(name)
        if section is not None and name != section.main_name:
            chosen = self.classes[section.name][0]
            if section.main_name in values:
                chosen = class_of(section, values[section.main_name])
            if not _belongs(name, section, chosen):
                return False
        switch = f"{name.rpartition('.')[0]}.name"
        if switch == name or section is not None or switch not in self.hints:
            return True
        return values.get(switch, self._value_in_base(switch)) is not None

    def full_name(self, name: str) -> str:
        """Return the name of a setting, also where that of its section stands for it.

        Example:

        >>> SettingsInPlay.of(TrainConfig()).full_name("early_stopping")
        'early_stopping.patience'
        """
        for section in SECTIONS:
            if section.may_be_null and name == section.name:
                return section.main_name
        return name

    def is_section(self, name: str) -> bool:
        """Return whether a name is that of several settings."""
        return self.first_of(name) is not None

    def first_of(self, name: str) -> str | None:
        """Return the first setting of a section; `None` if it is none."""
        start = f"{name}."
        return next((hint for hint in self.hints if hint.startswith(start)), None)

    def owner_of(self, name: str) -> str | None:
        """Return what it takes for a setting that no trial has; `None` if nothing."""
        section = _section_of(name)
        if section is None or name == section.main_name:
            return None
        if any(_belongs(name, section, item) for item in self.classes[section.name]):
            return None
        owners = [
            choice
            for choice, member in section.members.items()
            if _belongs(name, section, member)
        ]
        choices = f" {' or '.join(owners)}" if section.has_choice else ""
        return f"{section.main_name}{choices}" if owners else None

    def _value_in_base(self, name: str) -> Any:
        value: Any = self.base
        for part in name.split("."):
            value = getattr(value, part)
        return value


def _section_of(name: str) -> Section | None:
    """Return the section that a setting is in, if it may hold something else."""
    return next((s for s in SECTIONS if name.startswith(f"{s.name}.")), None)


def _belongs(name: str, section: Section, chosen: type[Any] | None) -> bool:
    """Return whether a setting is one of a dataclass of its section."""
    rest = name.removeprefix(f"{section.name}.")
    return chosen is not None and any(
        setting.name == rest for setting in settings_of(chosen, {})
    )


def _require_choice(section: Section, value: Any) -> None:
    if value is None and section.may_be_null:
        return
    is_choice = isinstance(value, str) and value in section.members
    if section.has_choice and not is_choice:
        raise InputError(
            f"{section.main_name} has the value {quoted(value)}, expected one of "
            f"{', '.join(section.members)}{did_you_mean(str(value), section.members)}"
        )
