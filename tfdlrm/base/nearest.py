"""Suggestions for a misspelt name."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

_ALSO_CALLED = {
    "input": ("raw",),
    "log": ("raw",),
    "csv": ("raw",),
    "file": ("raw",),
    "lr": ("learning_rate",),
    "max_epochs": ("epochs",),
    "batch": ("batch_size",),
    "patience": ("early_stopping",),
    "log_dir": ("run_dir",),
    "checkpoint_dir": ("run_dir",),
    "output": ("output_file", "export_dir"),
    "output_dir": ("output", "output_file", "export_dir"),
    "output_path": ("output", "output_file", "export_dir"),
    "out": ("output", "output_file", "export_dir"),
    "model_dir": ("model", "export_dir", "run_dir"),
    "mixed_precision": ("precision",),
    "embedding_size": ("embedding_dim",),
    "fp16": ("mixed_float16",),
    "float16": ("mixed_float16",),
    "bf16": ("mixed_bfloat16",),
    "fp32": ("float32",),
    "gpu": ("mirrored",),
    "gpus": ("mirrored", "num_devices"),
    "adam": ("lazy_adam",),
}
"""What others call things, and our names, of which the first that there is counts."""


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
    last one. Names in the same group are compared by their last parts only.

    Example:

    >>> nearest("prepare.x", ["prepare.extend", "prepare.seed"])
    >>> nearest("lr", ["optimizer.learning_rate", "seed"])
    'optimizer.learning_rate'
    """
    word = _plain(name)
    names = {_plain(candidate): candidate for candidate in candidates}
    group, _, last = word.rpartition(".")
    in_group = {
        key.rpartition(".")[2]: names[key]
        for key in names
        if group and key.rpartition(".")[0] == group
    }
    by_last = {key.rpartition(".")[2]: names[key] for key in reversed(names)}
    whole = {} if in_group else names
    if match := _also_called(last, by_last):
        return match
    for part, choices in (
        (last, in_group),
        (word, whole),
        (word, by_last),
        (last, by_last),
    ):
        if match := _close(part, choices):
            return match
    return None


def _close(word: str, choices: Mapping[str, str]) -> str | None:
    """Return the choice whose key is near, or the only one that has the word."""
    cutoff = 0.7 if len(word) > 3 else 0.6  # one letter of three may differ
    for match in get_close_matches(word, choices, n=1, cutoff=cutoff):
        return choices[match]
    completions = [key for key in choices if key.startswith(word)]
    parts = [key for key in choices if len(word) > 3 and word in key]
    for keys in (completions, parts):
        if len(keys) == 1:
            return choices[keys[0]]
    return None


def _also_called(word: str, choices: Mapping[str, str]) -> str | None:
    names = [name for name in _ALSO_CALLED.get(word, ()) if name in choices]
    return choices[names[0]] if names else None


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_").lower()
