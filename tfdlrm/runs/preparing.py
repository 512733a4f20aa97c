"""A data set from raw logs, as `pipelines.prepare` makes it."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tfdlrm.base import storage
from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean
from tfdlrm.base.plain_text import shorten
from tfdlrm.config import PrepareConfig
from tfdlrm.data.schema import FeatureSchema

Logs = Path | str | Sequence[Path | str]


def prepare(
    raw: Logs = (),
    output: Path | str | None = None,
    config: PrepareConfig | None = None,
    *,
    train: Logs = (),
    validation: Logs = (),
    test: Logs = (),
    **settings: Any,
) -> FeatureSchema:
    """Make a data set directory from raw logs, or use the one that is there.

    A data set that was made from the same files with the same settings is used again.

    Args:
        raw: A log or several in order of time, or folders of logs: Criteo's, or files
            that `columns` describes.
        output: The data set directory to make.
        config: The settings; `None` means the defaults.
        train: In place of `raw`, the logs of the training rows, for splits that are
            used as they are.
        validation: With `train`, the logs of the validation rows.
        test: With `train`, the logs of the test rows.
        settings: Settings of `PrepareConfig` by name, which override `config`, such as
            `columns="columns.yaml"` or `min_frequency=3`.

    Returns:
        The schema of the data set.

    Raises:
        InputError: If the files or settings cannot be used, `output` holds something
            else, or the disk refuses.
    """
    from pipelines.prepare import prepare as make_data_set

    names = [setting.name for setting in fields(PrepareConfig)]
    for name in settings:
        if name not in names:
            raise InputError(
                f"{name} is no setting of preparing{did_you_mean(name, names)}"
            )
    if output is None:
        raise InputError("output is missing, expected the data set directory to make")
    if config is None:
        config = PrepareConfig.not_filled_in()
    return make_data_set(
        _paths("raw", raw),
        storage.at(output),
        replace(config, **settings),
        {
            "train": _paths("train", train),
            "validation": _paths("validation", validation),
            "test": _paths("test", test),
        },
    )


def _paths(name: str, logs: Logs) -> list[Path]:
    """Return the paths of one or several logs.

    Raises:
        InputError: If they are something else.
    """
    paths = [logs] if isinstance(logs, Path | str) else logs
    if not isinstance(paths, Sequence) or not all(
        isinstance(path, Path | str) for path in paths
    ):
        raise InputError(
            f"{name} is {shorten(repr(logs), 40)}, expected the path of a log or "
            "several; write a DataFrame as a file first, or train on it with "
            "tfdlrm.DLRMClassifier"
        )
    return [storage.at(path) for path in paths]
