"""Errors that are no defects of this project."""

from tfdlrm.base.setting_words import as_setting


class InputError(ValueError):
    """Bad input or configuration, described in one line for the user.

    The message says what came, where (file, row, column), what was expected and
    how to fix it. Commands print it without a traceback and exit with status 2.
    """


class LostWorkerError(Exception):
    """Another worker of the same training is lost, or never started.

    Commands print the message without a traceback and exit with status 1.
    """


def require(holds: bool, name: str, value: object, expected: str) -> None:
    """Refuse a setting that is not as expected.

    Args:
        holds: Whether the setting is as expected.
        name: Its name.
        value: Its value.
        expected: What was expected, in words.

    Raises:
        InputError: Unless `holds`.
    """
    if not holds:
        raise InputError(f"{name} is {as_setting(value)}, expected {expected}")


def require_one(expected: str, **settings: object) -> None:
    """Refuse settings of which not exactly one is given.

    Args:
        expected: What was expected, in words.
        settings: Their values; an empty one is not given.

    Raises:
        InputError: If none or several are given.

    Example:

    >>> try:
    ...     require_one("a data set, or a log", data_dir=None, raw=None)
    ... except InputError as error:
    ...     print(error)
    data_dir and raw: neither is given, expected one: a data set, or a log
    """
    num_given = sum(map(bool, settings.values()))
    if num_given != 1:
        problem = "both are given" if num_given else "neither is given"
        names = " and ".join(settings)
        raise InputError(f"{names}: {problem}, expected one: {expected}")
