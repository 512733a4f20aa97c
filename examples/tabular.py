"""A table with numbers and categories, in plain Keras: `python examples/tabular.py`.

The made-up table says who repays a loan: income and debt count, and so does which job
is held in which town. A DLRM finds the second; logistic regression cannot.
"""

import keras
import numpy as np

from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.metrics.binary import auc
from tfdlrm.optimizers import Adagrad

NUM_ROWS, NUM_JOBS, NUM_TOWNS = 40_000, 30, 20


def make_table(rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The columns, and whether each loan was repaid."""
    numbers = rng.normal(size=(NUM_ROWS, 2)).astype("float32")
    categories = rng.integers(0, [NUM_JOBS, NUM_TOWNS], (NUM_ROWS, 2))
    together = rng.normal(size=(NUM_JOBS, NUM_TOWNS))
    logits = numbers @ [1.0, -1.0] + 2 * together[tuple(categories.T)]
    repaid = rng.random(NUM_ROWS) < 1 / (1 + np.exp(-logits))
    return {"numbers": numbers, "categories": categories}, repaid.astype("float32")


def build_model() -> keras.Model:
    """The numbers as one vector, the categories as one each, and their products."""
    numbers = keras.Input((2,), name="numbers")
    categories = keras.Input((2,), dtype="int64", name="categories")
    bottom = MLP([16, 8])(numbers)
    vectors = EmbeddingCollection([NUM_JOBS, NUM_TOWNS], embedding_dim=8)(categories)
    stacked = keras.layers.Concatenate(axis=1)(
        [keras.layers.Reshape((1, 8))(bottom), vectors]
    )
    flat = keras.layers.Flatten()(vectors)
    together = keras.layers.Concatenate()([bottom, flat, DotInteraction()(stacked)])
    inputs = {"numbers": numbers, "categories": categories}
    return keras.Model(inputs, MLP([64, 32, 1])(together))


def main() -> None:
    keras.utils.set_random_seed(0)
    columns, repaid = make_table(np.random.default_rng(0))
    train, test = slice(0, -8_000), slice(-8_000, None)
    model = build_model()
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(Adagrad(0.05), loss)
    rows = {name: column[train] for name, column in columns.items()}
    model.fit(rows, repaid[train], batch_size=128, epochs=5, verbose=0)
    held_out = {name: column[test] for name, column in columns.items()}
    logits = model.predict(held_out, batch_size=8_000, verbose=0)[:, 0]
    print(f"AUC {auc(repaid[test], logits):.3f}")


if __name__ == "__main__":
    main()
