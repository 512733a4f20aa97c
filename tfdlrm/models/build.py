"""Build a model from its settings."""

from typing import Any

import keras

from tfdlrm.config.models import (
    DCNConfig,
    DCNV2Config,
    DeepFMConfig,
    DLRMConfig,
    FMConfig,
    LogisticRegressionConfig,
    MFConfig,
    MLPConfig,
    ModelConfig,
)
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.models.dcn import DCN
from tfdlrm.models.dlrm import DLRM
from tfdlrm.models.embedding_mlp import EmbeddingMLP
from tfdlrm.models.fm import FM
from tfdlrm.models.logistic_regression import LogisticRegression
from tfdlrm.models.mf import MatrixFactorization

_MODELS: dict[type, Any] = {
    DLRMConfig: DLRM,
    DCNConfig: DCN,
    DCNV2Config: DCN,
    FMConfig: FM,
    DeepFMConfig: FM,
    MFConfig: MatrixFactorization,
    LogisticRegressionConfig: LogisticRegression,
    MLPConfig: EmbeddingMLP,
}


def build_model(schema: FeatureSchema, config: ModelConfig) -> keras.Model:
    """Return a model with these settings, built for a data set and ready to train.

    Args:
        schema: Schema of the data set.
        config: The model and its architecture.

    Raises:
        InputError: If the settings name columns that the data set does not have.
    """
    return _MODELS[type(config)].from_schema(schema, config)
