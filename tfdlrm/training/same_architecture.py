"""Compare the settings of a run with those of the weights that it begins with."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from tfdlrm.base.errors import InputError
from tfdlrm.base.plain_text import visible
from tfdlrm.base.setting_words import as_setting
from tfdlrm.config import TrainConfig
from tfdlrm.config.models import ModelConfig
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.training.skeleton import shares_rows
from tfdlrm.training.weight_source import Source

_MAY_DIFFER = ("initial_bound", "embedding_l2", "dropout", "collision_threshold")
"""Settings of a model that change no shape of a weight."""


def require_same(
    source: Source,
    path: Path,
    config: TrainConfig,
    schema: FeatureSchema,
    num_ids: Mapping[str, int],
) -> None:
    """Refuse weights of another architecture, or the state of another optimizer.

    Args:
        source: The weights.
        path: The source, as the user named it.
        config: Settings of the new run.
        schema: Schema of its data set.
        num_ids: Number of ids that each column which the model uses had in the source.

    Raises:
        InputError: If they differ.
    """
    difference = _difference_of_models(source, config)
    if difference:
        raise InputError(
            f"init_from {path} has another architecture: {difference}; give the same "
            "settings of the model, or train from the start"
        )
    if source.optimizer not in (None, config.optimizer.words):
        raise InputError(
            f"init_from {path} has the state of another optimizer: it is "
            f"{source.optimizer} there, {config.optimizer.words} here; give the same, "
            "or the exported model, which has no state"
        )
    if source.model is None:
        print(
            f"{source.path} does not have the settings of its model: only the shapes "
            "of its weights are compared"
        )
        return
    columns = [
        column for column in schema.categorical_features if column.name in num_ids
    ]
    _check_thresholds(source.model, path, config.model, columns, num_ids)


def _check_thresholds(
    there: ModelConfig,
    path: Path,
    here: ModelConfig,
    columns: list[CategoricalFeature],
    num_ids: Mapping[str, int],
) -> None:
    """Refuse a column whose ids share rows in one of the models only."""
    shared = {
        column.name: shares_rows(there, num_ids[column.name]) for column in columns
    }
    for column in columns:
        if shares_rows(here, column.vocabulary_size) != shared[column.name]:
            alone = [c.vocabulary_size for c in columns if not shared[c.name]]
            together = [c.vocabulary_size for c in columns if shared[c.name]]
            threshold = max(alone, default=-1) + 1
            fix = f"give --model.collision_threshold {threshold}"
            if together and threshold > min(together):
                fix = (
                    "no threshold keeps all tables as they are, so train from the start"
                )
            raise InputError(
                f"init_from {path}: column {visible(column.name)} had "
                f"{num_ids[column.name]:,} ids there and has "
                f"{column.vocabulary_size:,} here, between which collision_threshold "
                f"changes how its table is stored: {fix}"
            )


def _difference_of_models(source: Source, config: TrainConfig) -> str | None:
    """Return the first setting of the model that differs and is not one that may."""
    there, here = source.model, config.model
    if source.ensemble not in (None, config.ensemble):
        return f"ensemble is {source.ensemble} there, {config.ensemble} here"
    if source.architecture not in (None, here.name):
        return f"model.name is {source.architecture} there, {here.name} here"
    if there is None:
        return None
    for field in fields(here):
        value_there, value_here = getattr(there, field.name), getattr(here, field.name)
        if field.name not in _MAY_DIFFER and value_there != value_here:
            words_there, words_here = as_setting(value_there), as_setting(value_here)
            return f"model.{field.name} is {words_there} there, {words_here} here"
    return None
