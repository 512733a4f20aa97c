"""The name that was probably meant by one that there is not."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` with the nearest known name, or nothing.

    Dots separate the parts of a name; one that is given without its first parts is
    found by the last.

    Example:

    >>> did_you_mean("epoch", ["epochs", "seed"])
    '; did you mean epochs?'
    >>> did_you_mean("--learning-rat", ["--optimizer.learning_rate", "--seed"])
    '; did you mean --optimizer.learning_rate?'
    >>> did_you_mean("xyzzy", ["epochs"])
    ''
    """
    names = {_plain(each): each for each in known}
    by_last = {key.rpartition(".")[2]: each for key, each in reversed(names.items())}
    for word, choices in (
        (_plain(name), names),
        (_plain(name), by_last),
        (_plain(name).rpartition(".")[2], by_last),
    ):
        begun = [key for key in choices if key.startswith(word)]
        cutoff = 0.7 if len(word) > 3 else 0.6  # one letter of three may be another
        close = get_close_matches(word, choices, n=1, cutoff=cutoff)
        for match in close or (begun if len(begun) == 1 else []):
            return f"; did you mean {choices[match]}?"
    return ""


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_").lower()
