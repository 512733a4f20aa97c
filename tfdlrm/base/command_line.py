"""From the command line to a frozen dataclass, and from an exception to a status."""

import argparse
import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, is_dataclass
from pathlib import Path, PurePath
from types import UnionType
from typing import Any, NoReturn, TextIO, TypeVar, get_args, get_origin, get_type_hints

import docstring_parser
import yaml

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError, LostWorkerError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.one_line_parser import OneLineParser
from tfdlrm.base.piped_input import refuse_pipe
from tfdlrm.base.plain_text import visible

T = TypeVar("T")


def parse(
    config_class: type[T],
    module: str,
    argv: Sequence[str] | None = None,
    several: str | None = None,
) -> T:
    """Read `config_class` from `--config FILE.yaml` and dotted overrides.

    A list is written `a,b` or `[a,b]`.

    A field that is a union of dataclasses takes the one whose default `name` is
    `--FIELD.name`, and has that one's settings.

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
    parser = OneLineParser(
        prog=f"python -m {module}",
        description=_summary(config_class),
        allow_abbrev=False,  # `gives` looks for whole names
    )
    parser.add_argument("--config", action="config", help="YAML file of settings.")
    skip = set()
    if several:
        skip.add(several)
        description = _descriptions(config_class)[several]
        parser.add_argument(
            f"--{several}", nargs="+", required=True, metavar="FILE", help=description
        )
    argv = sys.argv[1:] if argv is None else argv
    _require_settings(argv)
    chosen = _chosen_alternatives(config_class, argv)
    lists = set(_options(config_class, chosen, _takes_list)) - {f"--{several}"}
    argv = _in_brackets(argv, lists)
    argv = _switched_on(argv, set(_options(config_class, chosen, _is_switch)))
    parser.add_class_arguments(
        config_class, as_group=False, skip={*skip, *chosen.keys()}
    )
    for field, alternative in chosen.items():
        parser.add_class_arguments(
            alternative,
            field,
            help=_alternatives_help(config_class, field, alternative),
        )
    values: Any = parser.instantiate(parser.parse_args(argv))
    values.pop("config", None)
    return config_class(
        **{name: _located(value) for name, value in values.as_dict().items()}
    )


def _located(value: Any) -> Any:
    """`value`, with a remote path as such."""
    if isinstance(value, list | tuple):
        return type(value)(_located(each) for each in value)
    return storage.at(value) if isinstance(value, Path) else value


def _options(
    config_class: type[Any],
    chosen: Mapping[str, type[Any]],
    is_wanted: Callable[[Any], bool],
    prefix: str = "--",
) -> Iterator[str]:
    """The options of `config_class`, and of the dataclasses in it, of some types."""
    for field, hint in get_type_hints(config_class).items():
        kind: Any = chosen.get(field, hint)
        if isinstance(kind, type) and is_dataclass(kind):
            yield from _options(kind, {}, is_wanted, f"{prefix}{field}.")
        elif is_wanted(kind):
            yield f"{prefix}{field}"


def _takes_list(kind: Any) -> bool:
    return tuple in [get_origin(each) for each in (kind, *get_args(kind))]


def _is_switch(kind: Any) -> bool:
    return kind is bool


def _switched_on(argv: Sequence[str], options: set[str]) -> list[str]:
    """`argv` with `true` behind each switch that stands alone."""
    written = []
    for argument, following in zip(argv, [*argv[1:], "--"], strict=False):
        written.append(argument)
        if argument in options and following.startswith("--"):
            written.append("true")
    return written


def _in_brackets(argv: Sequence[str], options: set[str]) -> list[str]:
    """`argv` with lists written `a,b` as the `[a,b]` that YAML reads as one."""
    written, takes_list = [], False
    for argument in argv:
        option, equals, value = argument.partition("=")
        if equals and option in options:
            argument = f"{option}={_bracketed(value)}"
        elif takes_list and not argument.startswith("--"):
            argument = _bracketed(argument)
        takes_list = argument in options
        written.append(argument)
    return written


def _bracketed(value: str) -> str:
    return value if value.startswith("[") or value == "null" else f"[{value}]"


def _chosen_alternatives(
    config_class: type[Any], argv: Sequence[str]
) -> dict[str, type[Any]]:
    """The dataclass to read for each field that is a union of them.

    The arguments are looked through before they are parsed, so that `--help` and what
    is refused are those of the dataclass at hand, not of all together.
    """
    chosen = {}
    for field, alternatives in _alternatives(config_class).items():
        name = _named_in(argv, field) or next(iter(alternatives))
        if name not in alternatives:
            names = ", ".join(alternatives)
            raise InputError(
                f"{field}.name is {name!r}, expected one of {names}"
                f"{did_you_mean(name, alternatives)}"
            )
        chosen[field] = alternatives[name]
    return chosen


def _alternatives(config_class: type[Any]) -> dict[str, dict[str, type[Any]]]:
    """By name, the dataclasses that each field that is a union of some may hold."""
    kinds = get_type_hints(config_class).items()
    unions = {
        field: get_args(kind) for field, kind in kinds if isinstance(kind, UnionType)
    }
    return {
        field: {each.name: each for each in members}
        for field, members in unions.items()
        if all(is_dataclass(each) for each in members)
    }


def _named_in(argv: Sequence[str], field: str) -> str | None:
    """What the arguments, or else the last file among them, call `field`."""
    value, files = _looked_for(argv, f"{field}.name")
    sections = [file.get(field) for file in files]
    names = [each.get("name") for each in sections if isinstance(each, Mapping)]
    found = [value, *reversed(names)]
    return next((str(name) for name in found if name is not None), None)


def gives(argv: Sequence[str], field: str) -> bool:
    """Whether the arguments, or a file of settings among them, give `field`.

    Args:
        argv: The arguments, not parsed yet.
        field: Name of a setting.
    """
    value, files = _looked_for(argv, field)
    return value is not None or any(field in file for file in files)


def _looked_for(
    argv: Sequence[str], option: str
) -> tuple[str | None, list[Mapping[str, Any]]]:
    """The value of an option, and what the files of settings hold."""
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False
    )
    parser.add_argument("--config", action="append", default=[], type=Path)
    parser.add_argument(f"--{option}", dest="value")
    try:
        known, _ = parser.parse_known_args(argv)
        for path in known.config:
            refuse_pipe("config", path)
        files = [yaml.safe_load(path.read_text("utf-8")) for path in known.config]
    except InputError:
        raise
    except (argparse.ArgumentError, OSError, ValueError, yaml.YAMLError):
        return None, []  # parsing will say what is wrong with it
    return known.value, [file for file in files if isinstance(file, Mapping)]


def _require_settings(argv: Sequence[str]) -> None:
    """Refuse a file of settings that is damaged, by its name.

    Raises:
        InputError: If one that is there cannot be read as YAML with settings.
    """
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False
    )
    parser.add_argument("--config", action="append", default=[], type=Path)
    try:
        files = parser.parse_known_args(argv)[0].config
    except argparse.ArgumentError:
        return  # parsing will say what is wrong with it
    for path in files:
        if not path.is_file():
            continue
        try:
            settings = yaml.safe_load(path.read_text("utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path} cannot be read as YAML: {reason}") from None
        if not isinstance(settings, Mapping):
            raise InputError(
                f"{path} holds no settings: expected YAML such as `epochs: 2`"
            )


def to_yaml(config: Any) -> str:
    """The YAML that `--config` reads back as the same dataclass."""
    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, PurePath) else value


def run_command(main: Callable[[], None]) -> NoReturn:
    """Call `main` and leave with the status that every command promises.

    0 when done, 2 with one line on standard error for bad input or configuration, or a
    file that the machine refuses to read or write, 130 when interrupted, 141 when
    nobody reads the pipe that the output goes to, 1 with one line where another machine
    is gone or a benchmark could not measure; anything else is a defect and shows its
    traceback with status 1. Messages that nobody reads are dropped.
    """
    # Before anything imports TensorFlow: its start-up log is not for the user.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path need not be text, nor a terminal have all characters.
        sys.stdout.reconfigure(errors="backslashreplace")
    standard_output: Any = _WhileRead(sys.stdout)
    with redirect_stdout(standard_output):
        _run(main)
    storage.leave(0)


def _run(main: Callable[[], None]) -> None:
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # of another output
        storage.leave(_CLOSED_PIPE)
    except InputError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        storage.leave(2)
    except LostWorkerError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        storage.leave(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        storage.leave(130)
    except SystemExit as stopped:
        if isinstance(stopped.code, str):
            print(stopped.code, file=sys.stderr)
            storage.leave(1)
        storage.leave(stopped.code or 0)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _REFUSALS:
            place = error.filename or "a file"
            if error.filename is None:  # perhaps it was standard output
                _forget_standard_output()
            message = f"{place}: {error.strerror}; mend that"
            print(f"error: {visible(message)}", file=sys.stderr)
            storage.leave(2)
        if not storage.spoils_the_exit():
            raise
        traceback.print_exc()
        storage.leave(1)


class _WhileRead:
    """Standard output that drops messages once nobody reads it.

    Training, say, goes on, and saves what it has when it is asked to stop.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with _dropping():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with _dropping():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _dropping() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        _forget_standard_output()


def _forget_standard_output() -> None:
    """Drop what standard output has not taken, so that the exit does not try again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


_CLOSED_PIPE = 128 + signal.SIGPIPE
"""What a shell says of a program that such a pipe ends."""

_REFUSALS = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EISDIR,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
"""What the machine says where it is not for this project to know better."""


def _descriptions(config_class: type[Any]) -> dict[str, str]:
    documented = docstring_parser.parse(config_class.__doc__ or "").params
    return {each.arg_name: each.description or "" for each in documented}


def _alternatives_help(config_class: type[Any], field: str, shown: type[Any]) -> str:
    names = ", ".join(_alternatives(config_class)[field])
    return f"{_summary(shown)} For others, put before --help --{field}.name: {names}"


def _summary(config_class: type[Any]) -> str:
    return (config_class.__doc__ or "").partition("\n    Args:")[0].strip()
