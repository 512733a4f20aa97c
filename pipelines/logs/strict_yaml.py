"""Strict reading of YAML: unknown keys, and values of another type, are refused.

Messages begin with the file and the key, such as `dense[0].name`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Self

import yaml

from tfdlrm.base.arguments import yaml_problem
from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.setting_words import quoted

_TEXT_TAG = "tag:yaml.org,2002:str"


class StrictYaml:
    """The contents of a YAML file, and checks of its parts.

    Args:
        path: The file.
        expected: What the file should be, for messages.

    Attributes:
        contents: What the file holds.

    Raises:
        InputError: If the file cannot be read, is not YAML, or has a key twice.
    """

    def __init__(self, path: Path, expected: str) -> None:
        self._path: Path | str = path
        try:
            self.contents = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(
                f"{path} cannot be read: {reason}; expected {expected}"
            ) from None
        except (yaml.YAMLError, ValueError) as error:
            # A ValueError is a number too long, a bad date, or bytes that are no text.
            raise InputError(f"{path} is not YAML: {yaml_problem(error)}") from None

    @classmethod
    def of_contents(cls, contents: Any, title: str) -> Self:
        """Return the checks of what a YAML file could hold, without a file.

        Args:
            contents: Dictionaries, lists and values.
            title: What it is, for messages.
        """
        yaml_of_contents = cls.__new__(cls)
        yaml_of_contents._path, yaml_of_contents.contents = title, contents
        return yaml_of_contents

    def mapping(
        self,
        value: Any,
        key: str,
        allowed: tuple[str, ...],
        required: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Return a mapping with all `required` keys and none but `allowed` ones."""
        expected = f"a mapping of {', '.join(allowed)}"
        if not isinstance(value, dict):
            self.refuse(key, f"is {quoted(value)}", expected)
        for name in value:
            if name not in allowed:
                hint = did_you_mean(str(name), allowed)
                self.refuse(_join(key, str(name)), "is unknown", expected + hint)
        for name in required:
            if value.get(name) is None:
                self.refuse(_join(key, name), "is missing", expected)
        return value

    def items(self, mapping: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
        """Return the items of the list at `key`, each with its own key; [] if none."""
        values = mapping.get(key)
        if values is None:
            return []
        if not isinstance(values, list):
            self.refuse(key, f"is {values!r}", "a list")
        return [(f"{key}[{index}]", value) for index, value in enumerate(values)]

    def choice(self, value: Any, key: str, choices: tuple[str, ...]) -> Any:
        """Return a value that is one of `choices`."""
        if value not in choices:
            hint = did_you_mean(str(value), choices)
            self.refuse(
                key, f"is {quoted(value)}", f"one of {', '.join(choices)}{hint}"
            )
        return value

    def text(self, value: Any, key: str) -> str:
        """Return a value that is a text, and not empty."""
        if not isinstance(value, str) or not value:
            self.refuse(key, f"is {quoted(value)}", "text; put it in quotes")
        return value

    def refuse(self, key: str, problem: str, expected: str) -> NoReturn:
        """Raise the error of a key: what came, and what was expected."""
        prefix = f"{self._path}: {key}" if key else f"{self._path}"
        raise InputError(f"{prefix} {problem}, expected {expected}")


class _UniqueKeys(yaml.SafeLoader):
    """Refuses two equal keys, of which YAML would silently take the last.

    The values of `missing` stay as they are written: `null` and `-1` are texts.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                line = node.value[position][0].start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: the key {key!r} is there twice")
            if key == "missing":
                _keep_as_written(node.value[position][1])
        return super().construct_mapping(node, deep)


def _keep_as_written(node: Any) -> None:
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    for item in items:
        if isinstance(item, yaml.ScalarNode):
            item.tag = _TEXT_TAG


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
