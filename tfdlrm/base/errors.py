"""Errors that are no defects of this project."""


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
        raise InputError(f"{name} is {value}, expected {expected}")
