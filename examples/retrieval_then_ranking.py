"""Retrieval before ranking: `python examples/retrieval_then_ranking.py`.

Of many items, a two-tower model of TensorFlow Recommenders, on Keras 2, hands the
nearest ones of a user to a DLRM, on Keras 3, which puts them in order: it may look at
user and item together, and at the moment's context, where two towers cannot. Users,
items and what they click are made up.
"""

import os

# TensorFlow Recommenders needs it, before TensorFlow is imported.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import keras
import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras

from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.models import DLRM
from tfdlrm.optimizers import LazyAdam

NUM_USERS, NUM_ITEMS, NUM_EVENTS, NUM_CANDIDATES = 500, 2_000, 60_000, 50


class World:
    """Who clicks what: by taste, and by price, which counts at some hours only."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.users = rng.normal(size=(NUM_USERS, 4))
        self.items = rng.normal(size=(NUM_ITEMS, 4))
        self.prices = rng.normal(size=NUM_ITEMS).astype("float32")

    def logits(self, users: np.ndarray, items: np.ndarray, hours: np.ndarray):
        taste = np.sum(self.users[users] * self.items[items], axis=1)
        return 1.5 * taste - 3 * hours * self.prices[items] - 2

    def context(self, items: np.ndarray, hours: np.ndarray) -> np.ndarray:
        return np.stack([self.prices[items], hours], axis=1).astype("float32")

    def events(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        users = self.rng.integers(NUM_USERS, size=NUM_EVENTS)
        items = self.rng.integers(NUM_ITEMS, size=NUM_EVENTS)
        hours = self.rng.choice([-1.0, 0.0, 1.0], NUM_EVENTS)
        rate = 1 / (1 + np.exp(-self.logits(users, items, hours)))
        return users, items, hours, self.rng.random(NUM_EVENTS) < rate


class TwoTowers(tfrs.Model):
    """An embedding of users and one of items, close to each other after clicks."""

    def __init__(self) -> None:
        super().__init__()
        self.user_tower = tf_keras.layers.Embedding(NUM_USERS, 16)
        self.item_tower = tf_keras.layers.Embedding(NUM_ITEMS, 16)
        items = tf.data.Dataset.range(NUM_ITEMS).batch(512).map(self.item_tower)
        self.task = tfrs.tasks.Retrieval(metrics=tfrs.metrics.FactorizedTopK(items))

    def compute_loss(self, inputs: dict[str, tf.Tensor], training: bool = False):
        user, item = self.user_tower(inputs["user"]), self.item_tower(inputs["item"])
        return self.task(user, item, compute_metrics=not training)


def train_retrieval(users: np.ndarray, items: np.ndarray) -> TwoTowers:
    """Two towers from the pairs that were clicked."""
    model = TwoTowers()
    model.compile(tf_keras.optimizers.legacy.Adagrad(0.5))
    clicks = tf.data.Dataset.from_tensor_slices({"user": users, "item": items})
    model.fit(clicks.shuffle(100_000, seed=0).batch(512), epochs=5, verbose=0)
    top_k = model.evaluate(clicks.batch(4096), return_dict=True, verbose=0)
    share = top_k["factorized_top_k/top_100_categorical_accuracy"]
    print(f"retrieval: {share:.0%} of clicked items among a user's nearest 100")
    return model


def train_ranking(context: np.ndarray, ids: np.ndarray, clicks: np.ndarray) -> DLRM:
    """A DLRM from all events, clicked or not."""
    model = DLRM(
        EmbeddingCollection([NUM_USERS, NUM_ITEMS], embedding_dim=16),
        MLP([32, 16], final_activation="relu"),
        DotInteraction(),
        MLP([64, 1]),
    )
    model.compile(LazyAdam(0.005), keras.losses.BinaryCrossentropy(from_logits=True))
    inputs = {"dense_features": context, "categorical_features": ids}
    model.fit(inputs, clicks.astype("float32"), batch_size=256, epochs=4, verbose=0)
    return model


def main() -> None:
    keras.utils.set_random_seed(0)
    world = World(np.random.default_rng(0))
    users, items, hours, clicks = world.events()
    towers = train_retrieval(users[clicks], items[clicks])
    ids = np.stack([users, items], axis=1)
    ranking = train_ranking(world.context(items, hours), ids, clicks)

    index = tfrs.layers.factorized_top_k.BruteForce(towers.user_tower, NUM_CANDIDATES)
    index.index(towers.item_tower.embeddings)
    asking = np.arange(NUM_USERS)
    hour = world.rng.choice([-1.0, 1.0], NUM_USERS)
    _, candidates = index(tf.constant(asking))  # (users, candidates), nearest first
    candidates = candidates.numpy()
    pairs = np.stack([np.repeat(asking, NUM_CANDIDATES), candidates.ravel()], axis=1)
    hours_of_pairs = np.repeat(hour, NUM_CANDIDATES)
    scores = ranking.predict(
        {
            "dense_features": world.context(pairs[:, 1], hours_of_pairs),
            "categorical_features": pairs,
        },
        batch_size=8192,
        verbose=0,
    ).reshape(candidates.shape)
    ranked = np.take_along_axis(candidates, np.argsort(-scores, axis=1), axis=1)
    anything = world.rng.integers(NUM_ITEMS, size=candidates.shape)
    for name, films in (
        ("any ten items", anything),
        ("the ten nearest", candidates),
        ("the ten best of the 50 nearest, by DLRM", ranked),
    ):
        ten = films[:, :10].ravel()
        logits = world.logits(np.repeat(asking, 10), ten, np.repeat(hour, 10))
        print(f"{name}: clicked {np.mean(1 / (1 + np.exp(-logits))):.0%} of the time")


if __name__ == "__main__":
    main()
