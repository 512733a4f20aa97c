"""Suggestions for a misspelt name."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return `; did you mean …?` with the nearest candidate, or nothing.

    Example:

    >>> did_you_mean("epoch", ["epochs", "seed"])
    '; did you mean epochs?'
    >>> did_you_mean("--learning-rat", ["--optimizer.learning_rate", "--seed"])
    '; did you mean --optimizer.learning_rate?'
    >>> did_you_mean("xyzzy", ["epochs"])
    ''
    """
    match = nearest(name, candidates)
    return "" if match is None else f"; did you mean {match}?"


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that is nearest to a name, or `None` if none is near.

    Dots separate the parts of a name; a name without its first parts is found by its
    last one.
    """
    names = {_plain(candidate): candidate for candidate in candidates}
    by_last = {key.rpartition(".")[2]: names[key] for key in reversed(names)}
    for word, choices in (
        (_plain(name), names),
        (_plain(name), by_last),
        (_plain(name).rpartition(".")[2], by_last),
    ):
        completions = [key for key in choices if key.startswith(word)]
        cutoff = 0.7 if len(word) > 3 else 0.6  # one letter of three may differ
        close = get_close_matches(word, choices, n=1, cutoff=cutoff)
        for match in close or (completions if len(completions) == 1 else []):
            return choices[match]
    return None


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_").lower()
