"""The values of a column that contain a text, for the choices of the page's form."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs

import grpc

from tfdlrm.base.errors import InputError
from tfdlrm.data.column_files import vocabulary_path
from tfdlrm.data.exported_model import EXTRA_DIRECTORY
from tfdlrm.data.vocabulary_search import (
    MOST_CHARACTERS,
    MOST_VALUES,
    search_vocabulary,
)
from tfdlrm.serving.errors import ServingError, refuse
from tfdlrm.serving.models import Models

VALUES_PATH = "/column_values"

PARAMETERS = {
    "model": "Name of the model.",
    "version": "Number of the version; the newest if it is left out.",
    "column": "Name of a categorical column.",
    "text": "Text that values must contain; none for the most frequent values.",
    "most": f"Number of values to return at most, up to {MOST_VALUES}.",
}

_MOST_QUERY = 4096
"""Characters of a query string: names and texts are escaped there."""


def parameters_of(query: bytes) -> dict[str, str]:
    """Return the parameters of a request's query.

    Raises:
        ServingError: If it is too long, no UTF-8, or has a parameter twice.
    """
    if len(query) > _MOST_QUERY:
        refuse(f"the query has {len(query)} characters, expected <= {_MOST_QUERY}")
    try:
        values = parse_qs(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=len(PARAMETERS),
        )
    except ValueError as error:
        refuse(f"the query cannot be read: {error}")
    twice = [name for name, texts in values.items() if len(texts) > 1]
    if twice:
        refuse(f"the query has {twice[0][:40]} more than once")
    return {name: texts[0] for name, texts in values.items()}


def column_values(models: Models, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return values of a column with the number of times that they occurred.

    Args:
        models: The models that are served.
        parameters: Values of `PARAMETERS`.

    Raises:
        ServingError: If a parameter is not as expected, or nothing is there.
    """
    unknown = parameters.keys() - PARAMETERS.keys()
    if unknown:
        name = sorted(unknown)[0][:40]
        refuse(f"unknown parameter {name}, expected {', '.join(PARAMETERS)}")
    column, text = parameters.get("column", ""), parameters.get("text", "")
    if len(text) > MOST_CHARACTERS:
        refuse(f"text has {len(text)} characters, expected <= {MOST_CHARACTERS}")
    most = _number(parameters, "most", MOST_VALUES)
    version = None
    if parameters.get("version"):
        version = _number(parameters, "version", 2**63 - 1)
    model = models.model(parameters.get("model", ""))
    with model.use(version, "") as servable:
        directory = servable.path / EXTRA_DIRECTORY
        if not column or not vocabulary_path(directory, column).is_file():
            raise ServingError(
                grpc.StatusCode.NOT_FOUND,
                f"{servable.name} version {servable.version} has no vocabulary of a "
                f"column {column[:100]!r}",
            )
        try:
            matches = search_vocabulary(directory, column, text, most)
        except InputError as error:
            raise ServingError(grpc.StatusCode.DATA_LOSS, str(error)) from None
    return {"values": [asdict(match) for match in matches]}


def _number(parameters: Mapping[str, str], name: str, most: int) -> int:
    text = parameters.get(name, str(most))
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        refuse(f"{name} is {text[:40]!r}, expected a number up to {most}")
    return int(text)
