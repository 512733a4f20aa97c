"""Arguments as a user spells them, rewritten as jsonargparse reads them."""

import csv
import json
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


def bracket_lists(
    argv: Sequence[str], options: set[str], text_options: set[str]
) -> list[str]:
    """Return `argv` with each list `a,b` as `[a,b]`, which YAML reads as one.

    Args:
        argv: The arguments.
        options: Options that take lists.
        text_options: Those of them that take lists of text, which stays text even if
            it is `7` or `yes`.

    Example:

    >>> bracket_lists(["--days=1,2", "--keep", "user,7"], {"--days"}, {"--keep"})
    ['--days=[1,2]', '--keep', '["user","7"]']
    """
    rewritten, last = [], ""
    for argument in argv:
        option, equals, value = argument.partition("=")
        if equals and option in options | text_options:
            argument = f"{option}={_bracket(value, option in text_options)}"
        elif last in options | text_options and not argument.startswith("--"):
            argument = _bracket(argument, last in text_options)
        last = argument
        rewritten.append(argument)
    return rewritten


def _bracket(value: str, is_text: bool) -> str:
    if value.startswith("[") or value == "null":
        return value
    if not is_text or not value:
        return f"[{value}]"
    try:
        (texts,) = csv.reader([value], skipinitialspace=True)
    except csv.Error:  # a line end in a name
        texts = value.split(",")
    texts = [text.strip() for text in texts]
    return json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
