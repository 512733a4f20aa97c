"""The commands of this project: their modules, and what each of them does."""

from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean

COMMANDS = {
    "doctor": "what is installed, and what will work",
    "prepare": "turn raw click logs into a data set",
    "verify": "check every byte of a data set",
    "train": "train a model, evaluate it and export it",
    "plan": "memory, disk and time that a run will take",
    "evaluate": "measure a model on a data set or a log",
    "tune": "search for the best settings of training",
    "compare": "compare models on the same rows",
    "rolling": "score each day by a model, then learn it",
    "predict": "score raw rows with an exported model",
    "importance": "how much a model relies on each column",
    "export": "write a run as SavedModel, ONNX or LiteRT",
    "serve": "serve models over TF Serving's protocols",
    "client": "score raw rows by a server",
    "collect": "logged requests with their labels, as a log",
    "walkthrough": "one row through a DLRM, number by number",
    "synthetic": "make up rows in Criteo's format",
    "random_data": "make up random rows as Parquet",
    "trace": "profile and replay traces of ids",
}
"""What each command does, in the order in which one meets them."""

_PIPELINES = ("prepare", "random_data", "synthetic", "trace", "verify")


def module_of(command: str) -> str:
    """Return the module of a command, such as `pipelines.prepare` of `prepare`.

    Raises:
        InputError: If there is no such command.
    """
    name = command.removeprefix("pipelines.").removeprefix("tfdlrm.").replace("-", "_")
    if name not in COMMANDS:
        raise InputError(
            f"tfdlrm has no command {command!r}{did_you_mean(name, COMMANDS)} "
            "(--help lists all)"
        )
    package = "pipelines" if name in _PIPELINES else "tfdlrm"
    return f"{package}.{name}"


def as_table() -> str:
    """Return the lines that list all commands."""
    modules = {name: f"python -m {module_of(name)}" for name in COMMANDS}
    width = max(map(len, modules.values()))
    lines = [f"  {modules[name]:{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m tfdlrm COMMAND [options]",
            "       python -m tfdlrm [--version | --help]",
            "",
            f"  {'command':{width}}  what it does",
            f"  {'-' * width}  {'-' * 12}",
            *lines,
            "",
            "Each command lists its options with --help. `tfdlrm train` and",
            "`python -m tfdlrm train` are `python -m tfdlrm.train`.",
            "",
        ]
    )
