"""Settings of training from plain values, such as those that a file has."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tfdlrm.base.command_line import parse
from tfdlrm.config.training import TrainConfig


def train_config_of(settings: Mapping[str, Any]) -> TrainConfig:
    """Return settings as `tfdlrm.train --config` reads them.

    Args:
        settings: The settings by name, those of sections as mappings.

    Raises:
        InputError: If a setting is unknown or cannot have its value.

    Example:

    >>> train_config_of({"model": {"name": "mlp"}, "early_stopping": 3}).model.units
    (512, 256)
    """
    with TemporaryDirectory(prefix="tfdlrm-") as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
        return parse(TrainConfig, "tfdlrm.train", ["--config", str(file)])
