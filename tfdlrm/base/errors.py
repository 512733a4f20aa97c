"""What goes wrong without being a defect of ours."""


class InputError(ValueError):
    """Bad input or configuration, described in one line for the person who gave it.

    The message says what came, where (file, row, column), what was expected and
    how to mend it. Commands print it without a traceback and exit with status 2.
    """


class LostWorkerError(Exception):
    """Another worker of the same training is gone, or did not come.

    Commands print the message without a traceback and exit with status 1.
    """


def require(holds: bool, name: str, value: object, expected: str) -> None:
    """Refuse a setting.

    Args:
        holds: Whether the setting is as expected.
        name: Its name.
        value: What came.
        expected: What was expected, in words.

    Raises:
        InputError: Unless `holds`.
    """
    if not holds:
        raise InputError(f"{name} is {value}, expected {expected}")
