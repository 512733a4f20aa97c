"""One training step on one row of a tiny DLRM, with all of its numbers."""

from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.layers.bags import index_columns
from tfdlrm.models import DLRM
from tfdlrm.optimizers import SGD

VOCABULARIES = {"country": ("fr", "us", "de", "jp"), "product": ("book", "toy", "game")}
EMBEDDING_DIM = 3
BOTTOM_UNITS = [4, EMBEDDING_DIM]
TOP_UNITS = [4, 1]


@dataclass(frozen=True)
class Row:
    """One row of a click log.

    Args:
        counts: Continuous features.
        values: The value of each of `VOCABULARIES`.
        label: 1 for a click, 0 for none.
    """

    counts: tuple[float, ...] = (3.0, 0.0, 20.0)
    values: tuple[str, ...] = ("de", "book")
    label: float = 1.0


@dataclass
class OneStep:
    """The numbers of one training step, in order, as NumPy arrays without a batch axis.

    Args:
        row: The row.
        learning_rate: The learning rate of the step, which is plain SGD.

    Attributes:
        dense: `log(count + 1)`, `(dense,)`.
        ids: The id of each categorical value, `(features,)`.
        columns: The same ids as indices and offsets.
        tables: Each feature's table before the step, `(vocabulary size, dim)`.
        bottom, top: For each layer of the two MLPs: its `kernel`, its `bias`, the
            `sums` `inputs @ kernel + bias`, and the `outputs` after the activation.
        vectors: The bottom vector and the embeddings, `(1 + features, dim)`.
        products: All dot products of these, `(1 + features, 1 + features)`.
        pairs: The strict lower triangle of that, row by row, `(pairs,)`.
        logit, probability, loss: The outputs before the step.
        logit_gradient: The derivative of the loss by the logit.
        pair_gradients: Its derivatives by `pairs`.
        row_gradient: Its derivatives by the table row of the first categorical feature.
        row_before, row_after: That row before and after the step.
        loss_after: The loss of the same row after the step.
    """

    row: Row = field(default_factory=Row)
    learning_rate: float = 0.5

    def __post_init__(self) -> None:
        keras.utils.set_random_seed(12)  # so that no vector is all zeros
        self.columns = index_columns(
            [[value] for value in self.row.values], [*VOCABULARIES.values()]
        )
        model = DLRM(
            EmbeddingCollection(self.columns.vocabulary_sizes, EMBEDDING_DIM),
            MLP(BOTTOM_UNITS, final_activation="relu"),
            DotInteraction(),
            MLP(TOP_UNITS),
        )
        self.dense = np.log1p(np.array(self.row.counts, "float32"))
        self.ids = np.concatenate(self.columns.indices)
        inputs = {
            "dense_features": self.dense[None],
            "categorical_features": self.ids[None],
        }
        model(inputs)  # creates the weights
        self.tables = self._tables(model)
        self._forward(model, inputs)
        self._step(model, inputs)

    def _tables(self, model: DLRM) -> list[np.ndarray]:
        (fused,) = model.embeddings.tables  # both tables, one below the other
        return np.split(fused.numpy(), np.cumsum(self.columns.vocabulary_sizes)[:-1])

    def _forward(self, model: DLRM, inputs: dict[str, np.ndarray]) -> None:
        self.bottom = _layers(model.bottom_mlp, self.dense)
        embeddings = model.embeddings(inputs["categorical_features"])[0].numpy()
        self.vectors = np.vstack([self.bottom[-1]["outputs"], embeddings])
        self.products = self.vectors @ self.vectors.T
        self.pairs = model.interaction(self.vectors[None])[0].numpy()
        top_inputs = np.concatenate([self.vectors[0], self.pairs])
        self.top = _layers(model.top_mlp, top_inputs)

    def _step(self, model: DLRM, inputs: dict[str, np.ndarray]) -> None:
        """Do the training step with the model itself."""
        label = tf.constant([[self.row.label]])

        def loss_of(logits: tf.Tensor) -> tf.Tensor:
            return tf.nn.sigmoid_cross_entropy_with_logits(label, logits)[0, 0]

        pairs = tf.constant(self.pairs[None])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(pairs)
            logits = model(inputs)
            loss = loss_of(logits)
            top_inputs = tf.concat([self.vectors[:1], pairs], axis=1)
            loss_of_pairs = loss_of(model.top_mlp(top_inputs))
        self.logit = logits.numpy()[0, 0]
        self.probability = tf.sigmoid(logits).numpy()[0, 0]
        self.loss = loss.numpy()
        self.logit_gradient = tape.gradient(loss, logits).numpy()[0, 0]
        self.pair_gradients = tape.gradient(loss_of_pairs, pairs).numpy()[0]
        variables = [variable.value for variable in model.trainable_variables]
        gradients = tape.gradient(loss, variables)
        (table_gradient,) = [
            gradient for gradient in gradients if isinstance(gradient, tf.IndexedSlices)
        ]
        self.row_gradient = table_gradient.values.numpy()[0]
        SGD(self.learning_rate).apply(gradients, model.trainable_variables)
        row = self.ids[0]
        self.row_before = self.tables[0][row]
        self.row_after = self._tables(model)[0][row]
        self.loss_after = loss_of(model(inputs)).numpy()


def _layers(mlp: MLP, inputs: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Return the weights and the outputs of each layer for one row."""
    layers = []
    for layer in mlp.dense_layers:
        kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
        outputs = layer(inputs[None])[0].numpy()
        sums = inputs @ kernel + bias
        layers.append(
            {"kernel": kernel, "bias": bias, "sums": sums, "outputs": outputs}
        )
        inputs = outputs
    return layers
