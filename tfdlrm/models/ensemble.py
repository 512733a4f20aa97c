"""An ensemble: models of one architecture, trained side by side."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfdlrm.config.models import ModelConfig
from tfdlrm.data.schema import FeatureSchema
from tfdlrm.models.build import build_model
from tfdlrm.models.click_inputs import DENSE, IDS
from tfdlrm.models.click_model import ClickModel


@keras.saving.register_keras_serializable("tfdlrm")
class Ensemble(ClickModel):
    """The mean logit of several models, each of which learns as if it were alone.

    In training every member gets the loss of its own logits, so that no member sees
    what the others predict. A batch may have rows of its own for each member, side by
    side: all columns of the first member's rows, then those of the second's, as
    `tfdlrm.data.side_by_side` makes them. Members that learn from the same rows in the
    same order become alike, and their mean is little better than one of them.

    Args:
        members: The models, built for the same columns.

    Call arguments:
        inputs: As for a member; or, with the rows of each member side by side, dense
            features `(batch, members * n)` and ids `(batch, members * features)`.
        training: Whether dropout is on, and each member's logits are returned.

    Returns:
        Float32 logits: the mean `(batch, 1)`; in training, or with own rows, those of
        each member `(batch, members)`.

    Reference:
        [Lakshminarayanan et al., 2017](https://arxiv.org/abs/1612.01474), "Simple and
        scalable predictive uncertainty estimation using deep ensembles".
    """

    PARTS = ("members",)

    def __init__(self, members: Sequence[keras.Model], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if len(members) < 2:
            raise ValueError(f"Got {len(members)} members: expected two or more.")
        self.members = list(members)
        self._widths = (0, 0)

    def build_for(self, schema: FeatureSchema) -> None:
        for member in self.members:
            member.build_for(schema)
        super().build_for(schema)

    def build_parts(self, dense_shape: Any, ids_shape: Any) -> None:
        self._widths = (dense_shape[1], ids_shape[1])
        for member in self.members:
            if not member.built:
                member.build({DENSE: dense_shape, IDS: ids_shape})

    def order_ids(self, ids: dict[str, Any]) -> list[Any]:
        columns: list[Any] = []
        for member in self.members:
            columns = member.order_ids(ids)
        return columns

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        if not self._has_own_rows(inputs):
            return super().call(inputs, training)
        num_dense, num_ids = self._widths
        logits = [
            member.logits(
                inputs[DENSE][:, number * num_dense : (number + 1) * num_dense],
                _columns(inputs[IDS], number * num_ids, num_ids),
                training,
            )
            for number, member in enumerate(self.members)
        ]
        return ops.cast(ops.concatenate(logits, axis=1), "float32")

    def logits(self, dense: Any, ids: Any, training: bool | None) -> Any:
        logits = [member.logits(dense, ids, training) for member in self.members]
        together = ops.concatenate([ops.cast(z, "float32") for z in logits], axis=1)
        return together if training else ops.mean(together, axis=1, keepdims=True)

    def _has_own_rows(self, inputs: dict[str, Any]) -> bool:
        """Return whether the rows of each member are side by side."""
        dense, ids = inputs[DENSE], inputs[IDS]
        num_dense, num_ids = self._widths
        if isinstance(ids, dict | list | tuple):
            return False
        is_wide = ids.shape[1] == num_ids * len(self.members) if num_ids else True
        return bool(is_wide and dense.shape[1] == num_dense * len(self.members))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the mean loss of the members, with the gradient of their sum.

        Args:
            x: Not used.
            y: Labels `(batch, 1)`, or those of each member's rows `(batch, members)`.
            y_pred: Logits of the same form, or of each member.
            sample_weight: Weights of rows.
            training: Whether this is a training step.
        """
        number = y_pred.shape[1]
        if number == 1:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        labels = _for_each(y, number)
        losses = [
            self._compile_loss(
                labels[:, i : i + 1], y_pred[:, i : i + 1], sample_weight
            )
            for i in range(number)
        ]
        penalties = [self._aggregate_additional_loss(loss) for loss in self.losses]
        total = sum([*losses[1:], *penalties], losses[0])
        return total - ops.stop_gradient(total) * ((number - 1) / number)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> Any:
        """Update the metrics, in training with the rows of every member.

        Args:
            x: Features.
            y: Labels, as in `compute_loss`.
            y_pred: Logits.
            sample_weight: Weights of rows.
        """
        labels = _for_each(y, y_pred.shape[1])
        return super().compute_metrics(x, labels, y_pred, sample_weight)


def build_ensemble(
    schema: FeatureSchema, config: ModelConfig, size: int, seed: int | None = None
) -> keras.Model:
    """Return one model, or an ensemble of several that differ in their first weights.

    Args:
        schema: Schema of the data set.
        config: Settings of every member.
        size: Number of members; 1 means the model itself.
        seed: Seed of the run; each member begins as a model alone does after
            `make_reproducible` with its seed of `member_seeds`. `None` leaves the
            random numbers as they come.

    Raises:
        InputError: If the settings name columns that the data set does not have.
    """
    if size == 1:
        return build_model(schema, config)
    members = []
    for number, member_seed in enumerate(member_seeds(seed or 0, size), 1):
        if seed is not None:
            keras.utils.set_random_seed(member_seed)
        with keras.name_scope(f"member_{number}"):
            members.append(build_model(schema, config))
    ensemble = Ensemble(members, name=members[0].name)
    ensemble.build_for(schema)
    return ensemble


def member_seeds(seed: int, size: int) -> list[int]:
    """Return the seed of each member; no two seeds of a run share one.

    Example:

    >>> member_seeds(0, 3), member_seeds(1, 3), member_seeds(7, 1)
    ([0, 1, 2], [3, 4, 5], [7])
    """
    return [seed * size + number for number in range(size)]


def _columns(ids: Any, start: int, number: int) -> Any:
    """Return some columns of ids `(batch, features)`, or of bags of them."""
    if not hasattr(ids, "uniform_row_length"):
        return ids[:, start : start + number]
    import tensorflow as tf

    num_rows = ids.nrows()
    first = start + ids.shape[1] * tf.range(num_rows)
    positions = first[:, None] + tf.range(number, dtype=first.dtype)
    bags = tf.gather(ids.values, tf.reshape(positions, [-1]))
    return tf.RaggedTensor.from_uniform_row_length(
        bags, number, num_rows, validate=False
    )


def _for_each(labels: Any, number: int) -> Any:
    """Return labels `(batch, number)`: those of each member, or one for all."""
    if len(labels.shape) == 2 and labels.shape[1] == number:
        return labels
    return ops.repeat(ops.reshape(labels, (-1, 1)), number, axis=1)
