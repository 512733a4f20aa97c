"""Writes the reference of settings from the dataclasses that hold them."""

import dataclasses
import re
from typing import Any, get_type_hints

import docstring_parser

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
from tfdlrm.evaluate import EvaluateCommand
from tfdlrm.export import ExportCommand
from tfdlrm.importance import ImportanceCommand
from tfdlrm.plan import PlanCommand
from tfdlrm.predict import PredictCommand
from tfdlrm.serve import ServeCommand

MARK = "<!-- settings -->"

SECTIONS = {
    "tfdlrm.train": config.TrainConfig,
    "tfdlrm.train --prepare.…": config.PrepareConfig,
    "tfdlrm.train --optimizer.…": config.OptimizerConfig,
    "tfdlrm.train --checkpoints.…": config.CheckpointConfig,
    **{
        f"tfdlrm.train --model.name {each.name}": each
        for each in vars(models).values()
        if dataclasses.is_dataclass(each) and hasattr(each, "name")
    },
    "tfdlrm.train --stream": StreamConfig,
    "pipelines.prepare": PrepareCommand,
    "tfdlrm.evaluate": EvaluateCommand,
    "tfdlrm.predict": PredictCommand,
    "tfdlrm.export": ExportCommand,
    "tfdlrm.plan": PlanCommand,
    "tfdlrm.compare": CompareCommand,
    "tfdlrm.importance": ImportanceCommand,
    "tfdlrm.rolling": RollingConfig,
    "tfdlrm.serve": ServeCommand,
    "tfdlrm.client": ClientCommand,
    "pipelines.verify": VerifyCommand,
    "pipelines.synthetic": SyntheticCommand,
    "pipelines.random_data": RandomDataCommand,
    "pipelines.trace": TraceCommand,
}


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Put the tables where a page asks for them."""
    tables = "\n\n".join(
        f"## {head}\n\n{_table(kind)}" for head, kind in SECTIONS.items()
    )
    return markdown.replace(MARK, tables)


def _table(kind: type[Any]) -> str:
    described = docstring_parser.parse(kind.__doc__ or "")
    texts = {each.arg_name: each.description or "" for each in described.params}
    hints = get_type_hints(kind)
    rows = []
    for field in dataclasses.fields(kind):
        text = " ".join(texts.get(field.name, "").split()).replace("|", "\\|")
        kind_of_field = _name(hints[field.name])
        cells = f"`{field.name}`", f"`{kind_of_field}`", _default(field), text
        rows.append(f"| {' | '.join(cells)} |")
    head = "| setting | type | default | meaning |\n| --- | --- | --- | --- |"
    return f"{described.short_description}\n\n{head}\n" + "\n".join(rows)


def _name(hint: Any) -> str:
    name = hint.__name__ if isinstance(hint, type) else str(hint)
    name = re.sub(r"\b(typing|pathlib|tfdlrm\.config\.\w+)\.", "", name)
    return name.replace(" | ", " or ")


def _default(field: dataclasses.Field) -> str:
    if field.default is not dataclasses.MISSING:
        value = "null" if field.default is None else field.default
        return f"`{list(value) if isinstance(value, tuple) else value}`"
    is_section = field.default_factory is not dataclasses.MISSING
    return "its own" if is_section else "required"
