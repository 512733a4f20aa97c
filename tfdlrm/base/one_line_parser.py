"""A parser of arguments whose errors take one line and suggest a fix."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse

from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.renamed_options import rename_keys
from tfdlrm.base.section_choices import SectionChoices
from tfdlrm.base.setting_list import Setting
from tfdlrm.base.setting_words import expected, is_not

_UNKNOWN = re.compile(r"unrecognized arguments: (.*)")
_UNKNOWN_KEY = re.compile(
    r"Group '([^']*)' does not accept option '([^']*)'|Option '([^']*)' is not accepted"
)
_BAD_GROUP = re.compile(r'Parser key "([^"]*)": Unable to load config')
_BAD_VALUE = re.compile(r'Parser key "([^"]*)": .*(?:Got|Given) value: ?(.*)')
_NO_PATH = re.compile(r'Parser key "([^"]*)": Not of type Path: .* not (\w+)')
_NO_VALUE = re.compile(r"argument (--[^:]*): expected (?:one|at least one) argument")
_MISSING = re.compile(r"the following arguments are required: (.*)")
_NESTED = re.compile(r"NestedArg\(key='([^']*)', val=.*\)")
"""Messages of jsonargparse."""

_NOUNS = {
    "dict": "a mapping",
    "list": "a list",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
}

_PATHS = ("raw", "data_dir", "model", "run_dir", "input")
"""Settings that a path without an option is probably meant for."""


class OneLineParser(jsonargparse.ArgumentParser):
    """Raise an `InputError` with the option or key that was probably meant.

    Attributes:
        settings: The settings, by name.
        new_names: New names of options, by their old ones, for files of settings.
        owners: Names of settings of alternatives that were not chosen, such as
            `model.rank`, and the option with which there are such settings.
        choices: The sections that the arguments choose.
    """

    settings: Mapping[str, Setting] = {}
    new_names: Mapping[str, str] = {}
    owners: Mapping[str, str] = {}
    choices = SectionChoices({})

    def parse_string(self, content: str, path: Any = "", **how: Any) -> Any:
        source = str(path) or "--config"
        content = rename_keys(content, self.new_names, source)
        content = self.choices.complete_yaml(content)
        # jsonargparse takes a single key without a value for a text, unless there is
        # more.
        return super().parse_string(f"{content}\n#", path, **how)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        del ex
        text = self._explain(" ".join(message.split()))
        raise InputError(f"{text} (--help lists what there is)")

    def _explain(self, text: str) -> str:
        """Return a message of jsonargparse in words, with what was probably meant."""
        if match := _UNKNOWN.fullmatch(text):
            return text + self._meant(match[1].split())
        if match := _NO_VALUE.fullmatch(text):
            return f"{match[1]} has no value, expected {self._expected(match[1][2:])}"
        if match := _MISSING.fullmatch(text):
            names = [f"--{name.strip().lstrip('-')}" for name in match[1].split(",")]
            verb = "is" if len(names) == 1 else "are"
            return f"{', '.join(names)} {verb} missing, expected a value of each"
        if match := _BAD_GROUP.search(text):
            name = f"{match[1]}.name"
            hint = f"; did you mean --{name}?" if name in self.settings else ""
            return f"{match[1]} holds several settings, each with its own value{hint}"
        if match := _UNKNOWN_KEY.search(text):
            name = ".".join(filter(None, (match[1], match[2] or match[3])))
            return f"{name} is no setting{self._meant_key(match[1], name)}"
        if match := _BAD_VALUE.match(text):
            return self._is_not(match[1], match[2])
        if match := _NO_PATH.match(text):
            if match[2] == "NestedArg":
                return f"{match[1]} has no settings below it: it is a path"
            noun = _NOUNS.get(match[2], "another value")
            return f"{match[1]} is {noun}, expected a path; if it is one, in quotes"
        return text

    def _is_not(self, name: str, value: str) -> str:
        setting = self.settings.get(name)
        if setting is None:
            return f"{name} is {value!r}, expected another value"
        if nested := _NESTED.fullmatch(value):
            return (
                f"{name} has no setting {nested[1]}: {name} itself is "
                f"{expected(setting.hint)}"
            )
        if short := self.choices.short_names.get(name):  # which may be null
            return is_not(short, setting.hint | None, setting.default, value)
        return is_not(name, setting.hint, setting.default, value)

    def _expected(self, name: str) -> str:
        setting = self.settings.get(name)
        if setting is None:
            return "a file of settings, such as settings.yaml"
        return expected(setting.hint, setting.default)

    def _meant(self, words: list[str]) -> str:
        """Suggest what the first of some unknown arguments should have been."""
        for word in words:
            option = word.partition("=")[0]
            if option[:1] == "-" and len(option) > 1:
                return self._meant_option(option)
        word = words[0]
        for name in _PATHS:
            if name in self.settings and (Path(word).exists() or "." in word):
                return f"; did you mean --{name} {word}?"
        return (
            "; it belongs to no option: values of a list are separated by commas, "
            "without blanks"
        )

    def _meant_option(self, option: str) -> str:
        if owner := self.owners.get(option.lstrip("-")):
            return f"; it is a setting with {owner}"
        names = [*self.settings, "config", "print_config", "help"]
        return did_you_mean(option, [f"--{name}" for name in names])

    def _meant_key(self, group: str | None, name: str) -> str:
        if owner := self.owners.get(name):
            return f"; it is a setting with {owner}"
        names = list(self.settings)
        in_group = [key for key in names if not group or key.startswith(f"{group}.")]
        return did_you_mean(name, in_group) or did_you_mean(name, names)
