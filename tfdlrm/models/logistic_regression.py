"""Logistic regression, the baseline of click models."""

from typing import Any

import keras

from tfdlrm.config.models import LogisticRegressionConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.layers import LinearTerms
from tfdlrm.models.click_model import ClickModel


@keras.saving.register_keras_serializable("tfdlrm")
class LogisticRegression(ClickModel):
    """Click logits as a sum of one weight for each id and dense feature, and a bias.

    Args:
        linear: Layer from dense features and ids to `(batch, 1)`; `LinearTerms`.

    Call arguments: see `DLRM`.

    Example:

    >>> model = LogisticRegression(LinearTerms(vocabulary_sizes=[100, 20]))
    """

    PARTS = ("linear",)

    def __init__(self, linear: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.linear = linear

    @classmethod
    def from_schema(
        cls, schema: FeatureSchema, config: LogisticRegressionConfig | None = None
    ) -> "LogisticRegression":
        """Return a model for the columns of a data set, built and ready to train.

        Args:
            schema: Schema of the data set.
            config: Settings, which hold the name only.
        """
        config = config or LogisticRegressionConfig()
        model = cls(
            LinearTerms(schema.vocabulary_sizes, name="linear"), name=config.name
        )
        model.build_for(schema)
        return model

    def build_parts(self, dense_shape: Any, ids_shape: Any) -> None:
        if not self.linear.built:
            self.linear.build(dense_shape, ids_shape)

    def logits(self, dense: Any, ids: Any, training: bool | None) -> Any:
        return self.linear(dense, ids)
