"""What a run begins with: its data set, and the weights of another run or model."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from tfdlrm.base.errors import InputError
from tfdlrm.config import PrepareConfig, TrainConfig
from tfdlrm.config.preparing import settings_of
from tfdlrm.config.training import data_set_name
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.training.run_directory import RunDirectory

if TYPE_CHECKING:
    from tfdlrm.training.warm_start import WarmStart
    from tfdlrm.training.weight_source import Source

SYNTHETIC_FILE = Path("data/synthetic.tsv")
SYNTHETIC_ROWS = 400_000


def data_set_of(config: TrainConfig) -> tuple[Path, Path | None, FeatureSchema]:
    """Return the data set, prepared if necessary, and its raw file if known."""
    if config.data_dir is not None and config.raw is None:
        schema = FeatureSchema.load(config.data_dir)
        _report_unused(config, schema)
        return config.data_dir, None, schema

    from pipelines import synthetic
    from pipelines.prepare import prepare

    raw = config.raw
    if raw is None:
        raw = SYNTHETIC_FILE
        if not raw.is_file():
            print(f"No data given: making {SYNTHETIC_ROWS:,} synthetic rows in {raw}")
            synthetic.write_raw(raw, SYNTHETIC_ROWS, seed=0)
    data_dir = config.data_dir or Path("data") / data_set_name(raw)
    return data_dir, raw, prepare([raw], data_dir, config.prepare)


def _report_unused(config: TrainConfig, schema: FeatureSchema) -> None:
    """Print the settings of preparing that are given and not used."""
    used, defaults = settings_of(schema), PrepareConfig()
    unused = [
        f"prepare.{setting.name} {value}"
        for setting in fields(PrepareConfig)
        if (value := getattr(config.prepare, setting.name))
        not in (getattr(defaults, setting.name), used.get(setting.name))
    ]
    if unused:
        print(f"{config.data_dir} is prepared: not used are {', '.join(unused)}")


def versions_dir_of(config: TrainConfig) -> Path:
    """Return where the run exports to; a run that is resumed stays with its choice."""
    if config.export_dir is None and config.run_dir is not None:
        return RunDirectory(config.run_dir).versions_dir or config.versions_dir
    return config.versions_dir


def warm_start_of(
    config: TrainConfig, data_dir: Path, schema: FeatureSchema
) -> "WarmStart | None":
    """Return what the run begins with, checked unless it has begun; `None` for nothing.

    Raises:
        InputError: If the run cannot begin with it.
    """
    if config.init_from is None:
        return None
    from tfdlrm.training.warm_start import WarmStart

    warm_start = WarmStart(config.init_from, open_source, data_dir, schema, config)
    checkpoints = config.run_dir and RunDirectory(config.run_dir).checkpoint_directory
    if checkpoints is None or not any(checkpoints.glob("step-*")):
        warm_start.check()
    return warm_start


def open_source(path: Path) -> "Source":
    """Open the run or the exported model at a path.

    Raises:
        InputError: If there is neither, or it cannot be used.
    """
    from tfdlrm.exporting.exported_weights import find_model
    from tfdlrm.training.trained_run import find_run

    source = find_run(path) or find_model(path)
    if source is None:
        raise InputError(
            f"init_from {path} holds no weights: expected the directory of a run, of "
            "one of its checkpoints, or of an exported model such as "
            "saved_models/dlrm/1"
        )
    return source
