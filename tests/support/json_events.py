"""Rows as the events of a click stream."""

import json

from pipelines.logs import criteo


def as_json(lines):
    """Criteo's rows as JSON objects, numbers as numbers; empty fields are left out."""
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
