"""A made-up log of films that were offered, and of those that were watched."""

import csv
from pathlib import Path

import numpy as np

DESCRIPTION = """
label: {name: watched, positive: "yes"}
dense: [minutes, {name: age, transform: none}]
categorical: [user, film, device, {name: genres, separator: "|"}]
"""

GENRES = ("Animation", "Comedy", "Crime", "Documentary", "Drama", "Musical", "War")
DEVICES = ("phone", "television", "tablet", "laptop")
_FIRST = ("The Silent", "A Distant", "Midnight", "The Last", "Paper", "Winter")
_SECOND = ("Harbour", "Orchard", "Signal", "Garden", "Ferry", "Lighthouse", "Clock")

FILMS = tuple(f"{first} {second}" for first in _FIRST for second in _SECOND)


def make_log(num_rows: int = 6000, seed: int = 0) -> list[dict[str, str]]:
    """Return rows whose labels depend on user and genre, film, device and age."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(0, 0.8, (200, len(GENRES)))
    fame = rng.normal(0, 0.9, len(FILMS))
    genres_of = [
        rng.choice(len(GENRES), rng.integers(1, 4), replace=False) for _ in FILMS
    ]
    rows = []
    for _ in range(num_rows):
        user, film = min(int(rng.zipf(1.5)), 200) - 1, int(rng.integers(len(FILMS)))
        device, age = int(rng.integers(len(DEVICES))), int(rng.integers(12, 80))
        genres = genres_of[film]
        logit = fame[film] + taste[user][genres].mean() + (age - 45) / 40 - device / 3
        rows.append(
            {
                "watched": "yes"
                if rng.random() < 1 / (1 + np.exp(1 - logit))
                else "no",
                "user": f"u{1000 + user}",
                "film": FILMS[film],
                "device": DEVICES[device] if rng.random() < 0.95 else "",
                "genres": "|".join(GENRES[genre] for genre in sorted(genres)),
                "minutes": str(int(rng.integers(70, 180))),
                "age": str(age),
            }
        )
    return rows


def write_log(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def train_cinema(directory: Path, epochs: int = 3, **settings) -> Path:
    """Train and export the model `cinema`, and return its version's directory.

    The data set is prepared once.
    """
    from pipelines.prepare import prepare
    from tfdlrm.config import OptimizerConfig, PrepareConfig, TrainConfig
    from tfdlrm.config.models import DLRMConfig
    from tfdlrm.train import train

    data_dir = directory / "films"
    if not data_dir.is_dir():
        log = write_log(directory / "films.csv", make_log())
        columns = directory / "columns.yaml"
        columns.write_text(DESCRIPTION)
        prepare([log], data_dir, PrepareConfig(min_frequency=2, columns=columns))
    return train(
        TrainConfig(
            data_dir=data_dir,
            model=DLRMConfig(
                embedding_dim=8, bottom_mlp_units=(16,), top_mlp_units=(16,)
            ),
            optimizer=OptimizerConfig("adagrad", 0.03),
            batch_size=64,
            epochs=epochs,
            export_dir=directory / "cinema",
            **settings,
        )
    )
