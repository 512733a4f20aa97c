"""Old names of options, which go on working with a line on standard error."""

import sys
from collections.abc import Mapping, Sequence

import yaml

from tfdlrm.base.errors import InputError


def rename_arguments(argv: Sequence[str], new_names: Mapping[str, str]) -> list[str]:
    """Return `argv` with the new names of its options.

    Args:
        argv: The arguments.
        new_names: The new name of each old one, without `--`.

    Raises:
        InputError: If an option is given under both names.

    Example:

    >>> rename_arguments(["--raw", "clicks.csv", "--seed=1"], {"input": "raw"})
    ['--raw', 'clicks.csv', '--seed=1']
    """
    names = [argument.partition("=")[0].removeprefix("--") for argument in argv]
    is_option = [argument.startswith("--") for argument in argv]
    old_names = _old_names(
        [name for name, is_name in zip(names, is_option, strict=True) if is_name],
        new_names,
        "--",
    )
    return [
        argument.replace(name, new_names[name], 1)
        if is_name and name in old_names
        else argument
        for argument, name, is_name in zip(argv, names, is_option, strict=True)
    ]


def rename_keys(text: str, new_names: Mapping[str, str], source: str) -> str:
    """Return YAML with the new names of its top-level keys, otherwise unchanged.

    Args:
        text: The YAML; what is no mapping is returned as it is.
        new_names: The new name of each old one.
        source: Name of the file, for messages.

    Raises:
        InputError: If a key is given under both names.

    Example:

    >>> rename_keys("seed: 1", {"input": "raw"}, "settings.yaml")
    'seed: 1'
    """
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError:  # the parser reports it
        return text
    if not isinstance(root, yaml.MappingNode):
        return text
    keys = [key for key, _ in root.value if isinstance(key, yaml.ScalarNode)]
    old_names = _old_names([key.value for key in keys], new_names, f"{source}: ")
    for key in reversed(keys):
        if key.value in old_names:
            start, end = key.start_mark.index, key.end_mark.index
            text = text[:start] + new_names[key.value] + text[end:]
    return text


def _old_names(
    names: Sequence[str], new_names: Mapping[str, str], prefix: str
) -> set[str]:
    """Return which of `names` are old, after a line on standard error about each."""
    old_names = dict.fromkeys(name for name in names if name in new_names)
    for name in old_names:
        dashes = "--" if prefix == "--" else ""
        new_name = dashes + new_names[name]
        if new_names[name] in names:
            raise InputError(
                f"{prefix}{name} is the old name of {new_name}, and both are given: "
                f"give {new_name} only"
            )
        print(
            f"note: {prefix}{name} is now called {new_name}; the old name still works",
            file=sys.stderr,
        )
    return set(old_names)
