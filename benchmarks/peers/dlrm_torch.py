"""A DLRM in PyTorch, written as the reference implementation writes it.

That is github.com/facebookresearch/dlrm: one `EmbeddingBag` with sparse gradients a
feature, a batched matrix product, and the optimizers of `torch.optim`. Where PyTorch
has a GPU it trains there, and copies each batch to it when its step begins.
"""

import importlib
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.laboratory.machine import memory_gb
from benchmarks.laboratory.measurement import CPU, Device, Job, StepTime
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


def allow_tf32(is_allowed: bool) -> None:
    """Let products of float32 matrices on a GPU round their factors to TF32, or not."""
    torch.backends.cuda.matmul.allow_tf32 = is_allowed


def used_device() -> Device:
    """Return the first GPU with its peak memory so far, or else the CPU."""
    if not torch.cuda.is_available():
        return CPU
    peak_gb = torch.cuda.max_memory_allocated() / 1e9
    return Device(torch.cuda.get_device_name(), peak_gb)


class DLRM(Module):
    """The workload's DLRM.

    Args:
        vocabulary_sizes: Number of ids of each feature.
        home: Device of the tables and of the ids.
        device: Device of everything else.
    """

    def __init__(self, vocabulary_sizes: list[int], home: Any, device: Any) -> None:
        super().__init__()
        self.tables = nn.ModuleList()
        for size in vocabulary_sizes:
            table = nn.EmbeddingBag(
                size, EMBEDDING_DIM, mode="sum", sparse=True, device=home
            )
            bound = (1 / size) ** 0.5
            nn.init.uniform_(table.weight, -bound, bound)
            self.tables.append(table)
        self.bottom = _mlp((NUM_DENSE, *BOTTOM_UNITS))
        self.bottom.append(nn.ReLU())
        self.top = _mlp((EMBEDDING_DIM + interaction_pairs(), *TOP_UNITS))
        num_vectors = len(vocabulary_sizes) + 1
        self.rows, self.columns = torch.tril_indices(
            num_vectors, num_vectors, -1, device=device
        )
        self.bottom.to(device)
        self.top.to(device)

    def forward(self, dense: Any, ids: Any, offsets: Any) -> Any:
        """Return logits `(batch, 1)` of dense features and ids `(features, batch)`."""
        bottom = self.bottom(dense)
        vectors = [
            table(column, offsets).to(dense.device)
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
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    home = torch.device("cpu") if job.tables == "host" else device
    model = DLRM(vocabulary_sizes, home, device)
    optimizer_class = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad}
    optimizer = optimizer_class[job.optimizer](model.parameters(), lr=LEARNING_RATE)
    loss_of = nn.BCEWithLogitsLoss()
    autocast = torch.autocast(
        device.type, torch.bfloat16, enabled=job.system.endswith("-bf16")
    )
    columns = np.ascontiguousarray(batches.ids.transpose(0, 2, 1), dtype=np.int64)
    arrays = batches.dense, columns, batches.labels[..., None]
    # The ids are (batches, features, batch).
    dense, ids, labels = (_pin(torch.from_numpy(array)) for array in arrays)
    offsets = torch.arange(job.batch_size, device=home)
    loss = torch.zeros((), device=device)

    def step(i: int) -> None:
        nonlocal loss
        k = i % len(labels)
        with autocast:
            logits = model(
                dense[k].to(device, non_blocking=True),
                ids[k].to(home, non_blocking=True),
                offsets,
            )
            loss = loss_of(logits, labels[k].to(device, non_blocking=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    stopwatch = time_calls(step, job.seconds, job.min_steps, wait=lambda: loss.item())
    return StepTime(stopwatch.ms, stopwatch.steps, loss.item(), memory_gb())


def _pin(batches: Any) -> Any:
    """Return the same numbers in memory from which a GPU copies by itself."""
    return batches.pin_memory() if torch.cuda.is_available() else batches
