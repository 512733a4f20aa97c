"""Rows as the events of a click stream."""

import json

from pipelines.logs import criteo


def as_json(lines):
    """Return Criteo's rows as JSON objects with numbers and without empty fields."""
    names = criteo.column_names(labelled=True)
    numbers = {criteo.LABEL, *criteo.DENSE_FEATURES}
    return [
        json.dumps(
            {
                name: int(value) if name in numbers else value
                for name, value in zip(names, line.split("\t"), strict=True)
                if value
            }
        ).encode()
        for line in lines
    ]
