"""The Criteo twin: `python -m pipelines.synthetic` writes rows like Criteo's.

Labels follow a planted model, so that the best possible predictions are known.
"""

import json
import shlex
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pipelines.twin.features import (
    KAGGLE_VOCABULARY_SIZES,
    NUM_DENSE,
    FeatureDistribution,
    Features,
    feature_distribution,
    power_law_ranks,
)
from pipelines.twin.planted import PlantedModel, planted_models
from pipelines.twin.text import format_rows
from pipelines.twin.truth import TRUTH, best_measures, count_range, truth_file, units
from tfdlrm.base import storage
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.errors import require
from tfdlrm.base.output_file import check_output, is_stream, messages_apart, output_file
from tfdlrm.base.parallel import map_in_order

__all__ = [
    "KAGGLE_VOCABULARY_SIZES",
    "NUM_DENSE",
    "Twin",
    "power_law_ranks",
    "write_raw",
]

BLOCK_ROWS = 2**13
"""Rows drawn from one seed: few enough for the processor's cache."""


@dataclass(frozen=True)
class Twin:
    """Settings of the Criteo twin; the same settings make the same bytes.

    Args:
        rows: Number of rows.
        seed: Seed of the features, the planted truth and the rows.
        vocabulary_scale: Factor of Criteo Kaggle's published vocabulary sizes.
        days: Number of equal parts, in the order of the rows, whose planted effects
            drift from one part to the next.
        drift: How much they drift, from 0, not at all, to 1, new effects every day.
    """

    rows: int
    seed: int = 0
    vocabulary_scale: float = 1.0
    days: int = 1
    drift: float = 0.0

    def __post_init__(self) -> None:
        require(self.rows >= 1, "rows", self.rows, ">= 1")
        require(self.seed >= 0, "seed", self.seed, ">= 0")
        scale = self.vocabulary_scale
        require(0 < scale < float("inf"), "vocabulary_scale", scale, "> 0")
        require(1 <= self.days <= self.rows, "days", self.days, "from 1 to rows")
        require(0 <= self.drift <= 1, "drift", self.drift, "from 0 to 1")
        drifts = self.days > 1 or self.drift == 0
        require(drifts, "drift", self.drift, "0 with days 1: raise --days")

    @property
    def day_starts(self) -> list[int]:
        """First row of each day, and the number of all rows at the end."""
        size, remainder = divmod(self.rows, self.days)
        return [day * size + min(day, remainder) for day in range(self.days + 1)]


@dataclass(frozen=True)
class Block:
    """Consecutive rows.

    Args:
        features: Their features.
        truth: Their planted logits and labels, as `pipelines.twin.truth.TRUTH`.
    """

    features: Features
    truth: np.ndarray


def draw_block(
    twin: Twin,
    number: int,
    distribution: FeatureDistribution,
    models: tuple[PlantedModel, ...],
) -> Block:
    """Draw the rows of one block, independently of other blocks.

    Args:
        twin: The settings.
        number: Number of the block, from 0; all but the last have `BLOCK_ROWS` rows.
        distribution: The distributions of the features.
        models: The planted truth of each day.
    """
    rng = np.random.default_rng([twin.seed, 2, number])
    # All rows, even of the last block: a longer file begins with a shorter one's rows.
    features = distribution.draw(BLOCK_ROWS, rng)
    uniform = rng.random(BLOCK_ROWS)
    start = number * BLOCK_ROWS
    stop = min(start + BLOCK_ROWS, twin.rows)
    truth = np.empty(stop - start, TRUTH)
    for model, (day_start, day_end) in zip(
        models, pairwise(twin.day_starts), strict=True
    ):
        rows = slice(max(day_start, start) - start, min(day_end, stop) - start)
        if rows.start >= rows.stop:
            continue
        logits = model.logits(features.rows(rows.start, rows.stop))
        truth["logit"][rows] = units(logits)
        truth["label"][rows] = uniform[rows] < 1 / (1 + np.exp(-logits))
    return Block(features.rows(0, stop - start), truth)


def write_raw(
    path: Path,
    num_rows: int,
    seed: int,
    vocabulary_scale: float = 1.0,
    days: int = 1,
    drift: float = 0.0,
) -> dict[str, float]:
    """Write a Criteo TSV file of synthetic rows, complete or not at all.

    Next to it, `<file>.truth.npy` has the planted logit and the label of each row, for
    `pipelines.prepare`, and `<file>.truth.json` has the settings and the best possible
    measures of each day. A device or pipe has nothing next to it.

    Args:
        path: The file.
        num_rows: Number of rows.
        seed: As in `Twin`; the same arguments write the same files.
        vocabulary_scale: As in `Twin`.
        days: As in `Twin`.
        drift: As in `Twin`.

    Returns:
        The best possible measures of all rows together.

    Raises:
        InputError: If a setting is out of range, or the disk refuses.
    """
    twin = Twin(num_rows, seed, vocabulary_scale, days, drift)
    if is_stream(path):
        with (
            tempfile.TemporaryDirectory(prefix="tfdlrm-") as folder,
            output_file("output", path) as text,
        ):
            truth = Path(folder) / "truth.npy"
            _write_rows(twin, text, truth)
            return _best_measures(truth, 0, num_rows)
    report = path.with_name(f"{path.name}.truth.json")
    with (
        output_file("output", path) as text,
        storage.whole(truth_file(path)) as truth,
        storage.whole(report) as temporary_report,
    ):
        _write_rows(twin, text, truth)
        measures = [_best_measures(truth, *day) for day in pairwise(twin.day_starts)]
        settings = {"settings": asdict(twin), "reachable": measures}
        temporary_report.write_text(
            json.dumps(settings, indent=2) + "\n", encoding="utf-8"
        )
        return _best_measures(truth, 0, num_rows)


def _write_rows(twin: Twin, lines: BinaryIO, truth: Path) -> None:
    header = np.lib.format.header_data_from_array_1_0(np.empty(0, TRUTH))
    with truth.open("wb") as logged:
        np.lib.format.write_array_header_1_0(logged, header | {"shape": (twin.rows,)})
        for block_lines, block_truth in _formatted_blocks(twin):
            lines.write(block_lines)
            logged.write(block_truth.tobytes())


def _best_measures(truth: Path, start: int, stop: int) -> dict[str, float]:
    """Return the best possible measures of the rows from `start` up to `stop`."""
    truths = [np.load(truth, mmap_mode="r")]
    return best_measures(count_range(truths, start, stop))


def _formatted_blocks(twin: Twin) -> Iterator[tuple[bytes, np.ndarray]]:
    """Yield the text and the truth of every block in order; threads draw them."""
    distribution = feature_distribution(twin.seed, twin.vocabulary_scale)
    models = planted_models(twin.seed, distribution, twin.days, twin.drift)

    def draw_and_format(number: int) -> tuple[bytes, np.ndarray]:
        block = draw_block(twin, number, distribution, models)
        return format_rows(block.truth["label"], block.features), block.truth

    yield from map_in_order(draw_and_format, range(-(-twin.rows // BLOCK_ROWS)))


@dataclass(frozen=True, kw_only=True)
class SyntheticCommand(Twin):
    """Write synthetic rows in Criteo's format, with the planted truth next to them.

    Args:
        output: The TSV file to write; `-` for standard output.
    """

    output: Path

    def __post_init__(self) -> None:
        super().__post_init__()
        check_output("output", self.output)


def main() -> None:
    """Write rows as the command line says."""
    command = parse(SyntheticCommand, "pipelines.synthetic")
    with messages_apart(command.output):
        _write(command)


def _write(command: SyntheticCommand) -> None:
    start = time.perf_counter()
    best = write_raw(
        command.output,
        command.rows,
        command.seed,
        command.vocabulary_scale,
        command.days,
        command.drift,
    )
    seconds = time.perf_counter() - start
    print(f"{command.output}: {command.rows:,} rows in {seconds:.1f} s")
    print(f"reachable: AUC {best['auc']:.4f}, log loss {best['log_loss']:.4f}")
    if not is_stream(command.output):
        raw = shlex.quote(str(command.output))
        print(f"\nnext: python -m pipelines.prepare --raw {raw} --output DIR")


if __name__ == "__main__":
    run_command(main)
