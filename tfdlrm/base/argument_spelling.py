"""Arguments as a user spells them, rewritten as jsonargparse reads them."""

from collections.abc import Sequence

from tfdlrm.base.errors import InputError


def refuse_empty_paths(argv: Sequence[str], options: set[str]) -> None:
    """Refuse an empty path, which would be the directory that the command runs in.

    Raises:
        InputError: If one of `options` has such a value.
    """
    option = ""
    for argument in argv:
        is_empty = not argument
        if argument.startswith("--"):
            option, equals, value = argument.partition("=")
            is_empty = bool(equals) and not value
        if is_empty and option in options:
            raise InputError(
                f"{option} is empty, expected a path; is a variable of the shell "
                "without a value? (. is the present directory)"
            )


def complete_switches(argv: Sequence[str], options: set[str]) -> list[str]:
    """Return `argv` with `true` after each switch that has no value."""
    rewritten = []
    for argument, following in zip(argv, [*argv[1:], "--"], strict=False):
        rewritten.append(argument)
        if argument in options and following.startswith("--"):
            rewritten.append("true")
    return rewritten


def bracket_lists(argv: Sequence[str], options: set[str]) -> list[str]:
    """Return `argv` with each list `a,b` as `[a,b]`, which YAML reads as one."""
    rewritten, takes_list = [], False
    for argument in argv:
        option, equals, value = argument.partition("=")
        if equals and option in options:
            argument = f"{option}={_bracket(value)}"
        elif takes_list and not argument.startswith("--"):
            argument = _bracket(argument)
        takes_list = argument in options
        rewritten.append(argument)
    return rewritten


def _bracket(value: str) -> str:
    return value if value.startswith("[") or value == "null" else f"[{value}]"
