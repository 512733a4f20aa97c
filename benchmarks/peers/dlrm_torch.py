"""A DLRM in PyTorch, written as the reference implementation writes it.

That is github.com/facebookresearch/dlrm: one `EmbeddingBag` with sparse gradients a
feature, a batched matrix product, and the optimizers of `torch.optim`.
"""

import importlib
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.laboratory.machine import memory_gb
from benchmarks.laboratory.measurement import Job, StepTime
from benchmarks.laboratory.timing import time_calls
from benchmarks.workload.criteo_kaggle import (
    BOTTOM_UNITS,
    EMBEDDING_DIM,
    LEARNING_RATE,
    TOP_UNITS,
    Batches,
    interaction_pairs,
)
from pipelines.synthetic import NUM_DENSE

# PyTorch is no requirement of this project: where it is absent, so are its types.
torch: Any = importlib.import_module("torch")
nn: Any = torch.nn
Module: Any = nn.Module


class DLRM(Module):
    """The workload's DLRM.

    Args:
        vocabulary_sizes: Number of ids of each feature.
    """

    def __init__(self, vocabulary_sizes: list[int]) -> None:
        super().__init__()
        self.tables = nn.ModuleList()
        for size in vocabulary_sizes:
            table = nn.EmbeddingBag(size, EMBEDDING_DIM, mode="sum", sparse=True)
            bound = (1 / size) ** 0.5
            nn.init.uniform_(table.weight, -bound, bound)
            self.tables.append(table)
        self.bottom = _mlp((NUM_DENSE, *BOTTOM_UNITS))
        self.bottom.append(nn.ReLU())
        self.top = _mlp((EMBEDDING_DIM + interaction_pairs(), *TOP_UNITS))
        num_vectors = len(vocabulary_sizes) + 1
        self.rows, self.columns = torch.tril_indices(num_vectors, num_vectors, -1)

    def forward(self, dense: Any, ids: Any, offsets: Any) -> Any:
        """Logits `(batch, 1)` of dense features and of ids `(features, batch)`."""
        bottom = self.bottom(dense)
        vectors = [
            table(column, offsets)
            for table, column in zip(self.tables, ids, strict=True)
        ]
        stacked = torch.stack([bottom, *vectors], dim=1)  # (batch, n, dim)
        products = torch.bmm(stacked, stacked.transpose(1, 2))
        pairs = products[:, self.rows, self.columns]
        return self.top(torch.cat([bottom, pairs], dim=1))


def _mlp(widths: tuple[int, ...]) -> Any:
    layers = [nn.Linear(inputs, units) for inputs, units in pairwise(widths)]
    # An activation between every two layers.
    parts = [part for layer in layers for part in (nn.ReLU(), layer)]
    return nn.Sequential(*parts[1:])


def time_step(job: Job, vocabulary_sizes: list[int], batches: Batches) -> StepTime:
    """Train in a plain loop and time its steps."""
    model = DLRM(vocabulary_sizes)
    optimizer_class = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad}
    optimizer = optimizer_class[job.optimizer](model.parameters(), lr=LEARNING_RATE)
    loss_of = nn.BCEWithLogitsLoss()
    dense = torch.from_numpy(batches.dense)
    columns = np.ascontiguousarray(batches.ids.transpose(0, 2, 1), dtype=np.int64)
    ids = torch.from_numpy(columns)  # (batches, features, batch)
    labels = torch.from_numpy(batches.labels)[..., None]
    offsets = torch.arange(job.batch_size)
    loss = torch.zeros(())

    def step(i: int) -> None:
        nonlocal loss
        k = i % len(labels)
        loss = loss_of(model(dense[k], ids[k], offsets), labels[k])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    stopwatch = time_calls(step, job.seconds, job.min_steps)
    return StepTime(stopwatch.ms, stopwatch.steps, loss.item(), memory_gb())
