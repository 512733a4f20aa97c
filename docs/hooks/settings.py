"""Writes the reference of settings from the dataclasses that hold them.

Each command gets a page, and each setting a heading, which is what the search finds.
"""

import dataclasses
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser
from mkdocs.structure.files import File, Files

from pipelines.prepare import PrepareCommand
from pipelines.random_data import RandomDataCommand
from pipelines.synthetic import SyntheticCommand
from pipelines.trace import TraceCommand
from pipelines.verify import VerifyCommand
from tfdlrm import config
from tfdlrm.client import ClientCommand
from tfdlrm.compare import CompareCommand
from tfdlrm.config import models
from tfdlrm.config.rolling import RollingConfig
from tfdlrm.config.stream import StreamConfig
from tfdlrm.config.tuning import TuneConfig
from tfdlrm.evaluate import EvaluateCommand
from tfdlrm.export import ExportCommand
from tfdlrm.importance import ImportanceCommand
from tfdlrm.plan import PlanCommand
from tfdlrm.predict import PredictCommand
from tfdlrm.serve import ServeCommand

MARK = "<!-- settings -->"

_MODELS = {
    f"tfdlrm.train --model.name {model.name}": model
    for model in vars(models).values()
    if dataclasses.is_dataclass(model) and hasattr(model, "name")
}

PAGES: dict[str, dict[str, Any]] = {
    "train": {
        "tfdlrm.train": config.TrainConfig,
        "tfdlrm.train --optimizer.…": config.OptimizerConfig,
        "tfdlrm.train --optimizer.dense.…": config.DenseOptimizerConfig,
        "tfdlrm.train --optimizer.schedule.name cosine": config.CosineConfig,
        "tfdlrm.train --optimizer.schedule.name piecewise": config.PiecewiseConfig,
        "tfdlrm.train --optimizer.schedule.name plateau": config.PlateauConfig,
        "tfdlrm.train --early_stopping.…": config.EarlyStoppingConfig,
        "tfdlrm.train --checkpoints.…": config.CheckpointConfig,
        "tfdlrm.train --prepare.…": config.PrepareConfig,
    },
    "models": _MODELS,
    "stream_and_rolling": {
        "tfdlrm.train --stream": StreamConfig,
        "tfdlrm.rolling": RollingConfig,
    },
    "prepare": {
        "pipelines.prepare": PrepareCommand,
        "pipelines.verify": VerifyCommand,
        "pipelines.synthetic": SyntheticCommand,
        "pipelines.random_data": RandomDataCommand,
        "pipelines.trace": TraceCommand,
    },
    "measure": {
        "tfdlrm.evaluate": EvaluateCommand,
        "tfdlrm.predict": PredictCommand,
        "tfdlrm.compare": CompareCommand,
        "tfdlrm.tune": TuneConfig,
        "tfdlrm.importance": ImportanceCommand,
        "tfdlrm.plan": PlanCommand,
    },
    "export_and_serve": {
        "tfdlrm.export": ExportCommand,
        "tfdlrm.serve": ServeCommand,
        "tfdlrm.client": ClientCommand,
    },
}

_WORDS = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
    type(None): "null",
}


def on_files(files: Files, config: Any, **kwargs: Any) -> Files:
    """Add the pages of the commands."""
    for page, sections in PAGES.items():
        parts = [_section(name, settings) for name, settings in sections.items()]
        contents = f"# Settings: {_title(page)}\n\n" + "\n\n".join(parts)
        files.append(File.generated(config, f"settings/{page}.md", content=contents))
    return files


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Put the list of commands where a page asks for it."""
    lines = [
        f"- [`{name}`](settings/{page}.md#{_anchor(name)}): "
        f"{_described(settings).short_description}"
        for page, sections in PAGES.items()
        for name, settings in sections.items()
    ]
    return markdown.replace(MARK, "\n".join(lines))


def _title(page: str) -> str:
    return page.replace("_", " ")


def _anchor(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def _described(settings: Any) -> Any:
    return docstring_parser.parse(settings.__doc__ or "")


def _section(name: str, settings: Any) -> str:
    """Return the settings of one dataclass, each under its own heading."""
    described = _described(settings)
    texts = {param.arg_name: param.description or "" for param in described.params}
    hints = get_type_hints(settings)
    parts = [f"## `{name}` {{#{_anchor(name)}}}", described.short_description]
    for field in dataclasses.fields(settings):
        parts += [
            f"### {field.name} {{#{_anchor(name)}-{field.name}}}",
            f"{_type(hints[field.name])}; {_default(field)}\n{{: .setting }}",
            " ".join(texts.get(field.name, "").split()),
        ]
    return "\n\n".join(parts)


def _type(hint: Any) -> str:
    """Return what a setting takes, in words."""
    arguments = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        parts = dict.fromkeys(map(_type, arguments))  # several sections are one
        return " or ".join(parts)
    if get_origin(hint) is Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if get_origin(hint) is tuple:
        if arguments[-1] is Ellipsis:
            return f"list of: {_type(arguments[0])}"
        return f"{len(arguments)} of: {_type(arguments[0])}"
    if dataclasses.is_dataclass(hint):
        return "a section of settings"
    return _WORDS.get(hint, str(hint))


def _default(field: dataclasses.Field) -> str:
    if field.default is not dataclasses.MISSING:
        value = "null" if field.default is None else field.default
        text = list(value) if isinstance(value, tuple) else value
        return f"default `{str(text).lower() if isinstance(text, bool) else text}`"
    is_section = field.default_factory is not dataclasses.MISSING
    return "defaults of its own" if is_section else "required"
