"""The best settings of a search, as a file that `tfdlrm.train --config` takes."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tfdlrm.base import storage
from tfdlrm.base.setting_list import settings_of
from tfdlrm.config import TrainConfig
from tfdlrm.config.tuning import TuneConfig
from tfdlrm.metrics.binary import measure_text
from tfdlrm.training.run_settings import flat_settings
from tfdlrm.tuning.outcome import FinishedTrial
from tfdlrm.tuning.trial_settings import (
    SECTIONS,
    as_in_yaml,
    classes_of,
    put_setting,
    trial_settings,
)

BEST_FILE = "best.yaml"


def write_best(config: TuneConfig, best: FinishedTrial, num_trials: int) -> Path:
    """Write the settings of the best trial and return their file.

    They are those that differ from the defaults, and all that were searched.

    Args:
        config: The settings of the command.
        best: The best trial.
        num_trials: Number of finished trials.
    """
    path = config.output / BEST_FILE
    outcome = best.outcome
    measures = (
        f"log loss {measure_text(outcome.log_loss)}, AUC {measure_text(outcome.auc)}"
    )
    head = [
        f"python -m tfdlrm.train --config {shlex.quote(str(path))}",
        "",
        f"The best of {num_trials} trials of python -m tfdlrm.tune by the "
        f"{config.metric} of validation rows:",
        f"trial {best.number}, {measures} at step {outcome.step:,}. No test row was "
        "read.",
    ]
    comment = "".join(f"# {line}".rstrip() + "\n" for line in head)
    settings = chosen_settings(config.training, best.values)
    text = yaml.safe_dump(settings, sort_keys=False, default_flow_style=None)
    storage.replace_text(path, comment + text)
    return path


def chosen_settings(base: TrainConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a trial that are not defaults, or were searched.

    Args:
        base: The settings that all trials share.
        values: The values of the trial.
    """
    whole = trial_settings(base, values)
    del whole["prepare"]  # the data set is prepared
    classes = classes_of(base, values)
    defaults = {
        setting.name: None if setting.is_required else as_in_yaml(setting.default)
        for setting in settings_of(TrainConfig, classes)
    }
    main_names = {section.main_name for section in SECTIONS}
    settings: dict[str, Any] = {}
    for name, value in flat_settings(whole):
        is_default = value == defaults.get(name)
        if not is_default or name in values or name in main_names:
            put_setting(settings, name, value)
    return settings
