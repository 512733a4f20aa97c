"""Small models of every kind, and rows for them."""

import numpy as np

from tfdlrm.config.models import (
    DCNConfig,
    DCNV2Config,
    DeepFMConfig,
    DLRMConfig,
    FMConfig,
    LogisticRegressionConfig,
    MFConfig,
    MLPConfig,
)
from tfdlrm.data.schema import CategoricalFeature, FeatureSchema
from tfdlrm.models import build_model

SMALL_DLRM = DLRMConfig(embedding_dim=4, bottom_mlp_units=(8,), top_mlp_units=(8,))

CONFIGS = {
    "dlrm with buckets": DLRMConfig(
        embedding_dim=4,
        bottom_mlp_units=(8,),
        top_mlp_units=(5,),
        dense_bucket_width=0.5,
    ),
    "dcn": DCNConfig(embedding_dim=4, num_cross_layers=2, deep_units=(8, 5)),
    "dcn_v2": DCNV2Config(embedding_dim=4, num_cross_layers=2, deep_units=(8, 5)),
    "dcn_v2 of low rank": DCNV2Config(
        embedding_dim=4, num_cross_layers=2, rank=3, deep_units=(8,)
    ),
    "fm": FMConfig(embedding_dim=4),
    "deepfm": DeepFMConfig(embedding_dim=4, deep_units=(8,)),
    "mf": MFConfig("C1", "C3", embedding_dim=4),
    "logistic_regression": LogisticRegressionConfig(),
    "mlp": MLPConfig(embedding_dim=4, units=(8, 5), dropout=0.5),
}


def schema(num_dense=3, vocabulary_sizes=(5, 9, 4)):
    return FeatureSchema(
        dense_features=tuple(f"I{i + 1}" for i in range(num_dense)),
        categorical_features=tuple(
            CategoricalFeature(f"C{i + 1}", size)
            for i, size in enumerate(vocabulary_sizes)
        ),
    )


def inputs(batch=6, num_dense=3, num_categorical=3):
    rng = np.random.default_rng(0)
    return {
        "dense_features": rng.normal(size=(batch, num_dense)).astype("float32"),
        "categorical_features": rng.integers(0, 4, (batch, num_categorical)),
    }


def random_model(config, **columns):
    """Return a model none of whose weights is 0."""
    model = build_model(schema(**columns), config)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def exact(tensor):
    return np.asarray(tensor, "float64")
