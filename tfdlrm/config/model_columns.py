"""The columns of a data set that a model uses."""

from tfdlrm.base.errors import InputError
from tfdlrm.config.models import MFConfig, ModelConfig
from tfdlrm.data.schema import FeatureSchema


def ignored_columns(schema: FeatureSchema, config: ModelConfig) -> list[str]:
    """Return the columns of a data set that the model does not use.

    Raises:
        InputError: If the settings name columns that the data set does not have.
    """
    if not isinstance(config, MFConfig):
        return []
    used_positions = factorized_columns(schema, config)
    return [
        *schema.dense_features,
        *(
            feature.name
            for position, feature in enumerate(schema.categorical_features)
            if position not in used_positions
        ),
    ]


def factorized_columns(schema: FeatureSchema, config: MFConfig) -> tuple[int, int]:
    """Return the positions of the user's and the item's column.

    Raises:
        InputError: If the data set has no such categorical column.
    """
    names = [feature.name for feature in schema.categorical_features]
    for role, name in (("user", config.user), ("item", config.item)):
        if name not in names:
            raise InputError(
                f"{role} is {name!r}, expected a categorical column of the data set: "
                f"{', '.join(names) or 'it has none'}"
            )
    return names.index(config.user), names.index(config.item)
