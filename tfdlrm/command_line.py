"""From the command line to a frozen dataclass, and from an exception to a status."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import docstring_parser
import jsonargparse
import yaml

from tfdlrm.errors import InputError

T = TypeVar("T")


class _Parser(jsonargparse.ArgumentParser):
    """Says what is wrong with the arguments in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        del ex
        raise InputError(f"{' '.join(message.split())} (--help lists what there is)")


def parse(
    config_class: type[T],
    module: str,
    argv: Sequence[str] | None = None,
    several: str | None = None,
) -> T:
    """Read `config_class` from `--config FILE.yaml` and dotted overrides.

    Args:
        config_class: Frozen dataclass whose docstring describes the command and, under
            `Args:`, its fields.
        module: What follows `python -m`, for the help text.
        argv: Arguments; those of the process when `None`.
        several: Name of a required field that takes several values in a row.

    Returns:
        An instance of `config_class`.

    Raises:
        InputError: On an unknown key, a wrong type or a value out of range.
    """
    parser = _Parser(prog=f"python -m {module}", description=_summary(config_class))
    parser.add_argument("--config", action="config", help="YAML file of settings.")
    skip = set()
    if several:
        skip.add(several)
        description = _descriptions(config_class)[several]
        parser.add_argument(
            f"--{several}", nargs="+", required=True, metavar="FILE", help=description
        )
    parser.add_class_arguments(config_class, as_group=False, skip=skip)
    values: Any = parser.instantiate(parser.parse_args(argv))
    values.pop("config", None)
    return config_class(**values.as_dict())


def to_yaml(config: Any) -> str:
    """The YAML that `--config` reads back as the same dataclass."""
    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def run_command(main: Callable[[], None]) -> NoReturn:
    """Call `main` and leave with the status that every command promises.

    0 when done, 2 with one line on standard error for bad input or configuration, 130
    when interrupted; anything else is a defect and shows its traceback with status 1.
    """
    # Before anything imports TensorFlow: its start-up log is not for the user.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def _descriptions(config_class: type[Any]) -> dict[str, str]:
    documented = docstring_parser.parse(config_class.__doc__ or "").params
    return {each.arg_name: each.description or "" for each in documented}


def _summary(config_class: type[Any]) -> str:
    return (config_class.__doc__ or "").partition("\n    Args:")[0].strip()
