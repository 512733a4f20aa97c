"""Rank films for a person, in plain Keras: `python examples/movielens_ranking.py`.

The ratings are made up like MovieLens': one to five stars that a person's and a film's
taste and popularity explain. The model is trained on stars, and its error on others is
told beside the order that it puts one person's films in.
"""

import keras
import numpy as np

from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.optimizers import LazyAdam

NUM_USERS, NUM_FILMS, NUM_GENRES, NUM_RATINGS = 600, 400, 8, 40_000


def make_ratings(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of (user, film, genre), and their stars."""
    genres = rng.integers(NUM_GENRES, size=NUM_FILMS)
    taste = rng.normal(size=(NUM_USERS, NUM_GENRES))
    quality = rng.normal(size=NUM_FILMS)
    users = rng.integers(NUM_USERS, size=NUM_RATINGS)
    films = rng.integers(NUM_FILMS, size=NUM_RATINGS)
    liking = taste[users, genres[films]] + quality[films]
    noise = rng.normal(scale=0.3, size=NUM_RATINGS)
    stars = np.clip(np.round(3 + liking + noise), 1, 5)
    return np.stack([users, films, genres[films]], axis=1), stars.astype("float32")


def build_model() -> keras.Model:
    """Products of user, film and genre, and a linear part of each."""
    ids = keras.Input((3,), dtype="int64")
    sizes = [NUM_USERS, NUM_FILMS, NUM_GENRES]
    vectors = EmbeddingCollection(sizes, embedding_dim=16)(ids)
    linear = keras.layers.Flatten()(EmbeddingCollection(sizes, embedding_dim=1)(ids))
    features = keras.layers.Concatenate()([DotInteraction()(vectors), linear])
    return keras.Model(ids, MLP([32, 1])(features))


def main() -> None:
    keras.utils.set_random_seed(0)
    ids, stars = make_ratings(np.random.default_rng(0))
    train, test = slice(0, -4_000), slice(-4_000, None)
    model = build_model()
    model.compile(LazyAdam(0.01), "mse")
    model.fit(ids[train], stars[train] - 3, batch_size=256, epochs=4, verbose=0)
    predicted = model.predict(ids[test], batch_size=4_000, verbose=0)[:, 0] + 3
    error = np.sqrt(np.mean((predicted - stars[test]) ** 2))
    print(f"error {error:.2f} stars; of the mean rating {stars[test].std():.2f}")
    pairs = ids[test][ids[test][:, 0] == ids[test][0, 0]]
    scores = model.predict(pairs, verbose=0)[:, 0]
    print(f"user {pairs[0, 0]}: films {pairs[np.argsort(-scores), 1].tolist()}")


if __name__ == "__main__":
    main()
