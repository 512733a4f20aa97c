"""The Criteo twin: `python -m pipelines.synthetic` writes rows like Criteo's.

Labels follow a planted model, so that the best possible predictions are known.
"""

import json
import shlex
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
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
from pipelines.twin.settings import Twin
from pipelines.twin.text import format_rows
from pipelines.twin.truth import TRUTH, best_measures, count_range, truth_file, units
from pipelines.twin.turnover import identities
from tfdlrm.base import storage
from tfdlrm.base.command_line import parse, run_command
from tfdlrm.base.output_file import check_output, is_stream, messages_apart, output_file
from tfdlrm.base.parallel import map_in_order

__all__ = [
    "KAGGLE_VOCABULARY_SIZES",
    "NUM_DENSE",
    "Twin",
    "power_law_ranks",
    "write_raw",
]

DAY = "{day}"
"""Stands for the number of a day in the name of an output."""

BLOCK_ROWS = 2**13
"""Rows drawn from one seed: few enough for the processor's cache."""


@dataclass(frozen=True)
class Block:
    """Consecutive rows.

    Args:
        features: Their features; the ranks are numbers of the values.
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
    values = features.ranks[:, : stop - start].copy()
    for day, (model, (day_start, day_end)) in enumerate(
        zip(models, pairwise(twin.day_starts), strict=True)
    ):
        rows = slice(max(day_start, start) - start, min(day_end, stop) - start)
        if rows.start >= rows.stop:
            continue
        logits = model.logits(features.rows(rows.start, rows.stop))
        truth["logit"][rows] = units(logits)
        truth["label"][rows] = uniform[rows] < 1 / (1 + np.exp(-logits))
        for feature, size in enumerate(distribution.sizes):
            ranks = values[feature, rows]
            values[feature, rows] = identities(ranks, size, day, twin.turnover)
    return Block(replace(features.rows(0, stop - start), ranks=values), truth)


def write_raw(
    path: Path,
    num_rows: int,
    seed: int,
    vocabulary_scale: float = 1.0,
    days: int = 1,
    drift: float = 0.0,
    turnover: float = 0.0,
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
        turnover: As in `Twin`.

    Returns:
        The best possible measures of all rows together.

    Raises:
        InputError: If a setting is out of range, or the disk refuses.
    """
    twin = Twin(num_rows, seed, vocabulary_scale, days, drift, turnover)
    if is_stream(path):
        with (
            tempfile.TemporaryDirectory(prefix="tfdlrm-") as folder,
            output_file("output_file", path) as text,
        ):
            truth = Path(folder) / "truth.npy"
            _write_rows(twin, range(num_rows), text, truth)
            return _best_measures(truth, 0, num_rows)
    return _write_with_truth(twin, path, range(num_rows), twin.day_starts)


def write_days(path: Path, twin: Twin) -> list[dict[str, float]]:
    """Write a file for each day, whose rows in order are those of `write_raw`.

    Args:
        path: The files, with `{day}` in the name for the number of the day, from 1;
            next to each are its truths, as `write_raw` writes them.
        twin: The settings.

    Returns:
        The best possible measures of each day.

    Raises:
        InputError: If the disk refuses.
    """
    width = len(str(twin.days))
    measures = []
    for day, (start, stop) in enumerate(pairwise(twin.day_starts), start=1):
        file = path.with_name(path.name.replace(DAY, f"{day:0{width}d}"))
        rows = range(start, stop)
        measures.append(_write_with_truth(twin, file, rows, [start, stop]))
    return measures


def _write_with_truth(
    twin: Twin, path: Path, rows: range, day_starts: Sequence[int]
) -> dict[str, float]:
    """Write some rows and their truths, and return their best possible measures."""
    report = path.with_name(f"{path.name}.truth.json")
    with (
        output_file("output_file", path) as text,
        storage.whole(truth_file(path)) as truth,
        storage.whole(report) as temporary_report,
    ):
        _write_rows(twin, rows, text, truth)
        measures = [
            _best_measures(truth, start - rows.start, stop - rows.start)
            for start, stop in pairwise(day_starts)
        ]
        settings = {"settings": asdict(twin), "reachable": measures}
        temporary_report.write_text(
            json.dumps(settings, indent=2) + "\n", encoding="utf-8"
        )
        return _best_measures(truth, 0, len(rows))


def _write_rows(twin: Twin, rows: range, lines: BinaryIO, truth: Path) -> None:
    header = np.lib.format.header_data_from_array_1_0(np.empty(0, TRUTH))
    with truth.open("wb") as logged:
        shape = {"shape": (len(rows),)}
        np.lib.format.write_array_header_1_0(logged, header | shape)
        for block_lines, block_truth in _formatted_blocks(twin, rows):
            lines.write(block_lines)
            logged.write(block_truth.tobytes())


def _best_measures(truth: Path, start: int, stop: int) -> dict[str, float]:
    """Return the best possible measures of the rows from `start` up to `stop`."""
    truths = [np.load(truth, mmap_mode="r")]
    return best_measures(count_range(truths, start, stop))


def _formatted_blocks(twin: Twin, rows: range) -> Iterator[tuple[bytes, np.ndarray]]:
    """Yield the text and the truth of rows, block by block; threads draw them."""
    distribution = feature_distribution(twin.seed, twin.vocabulary_scale)
    models = planted_models(
        twin.seed, distribution, twin.days, twin.drift, twin.turnover
    )

    def draw_and_format(number: int) -> tuple[bytes, np.ndarray]:
        block = draw_block(twin, number, distribution, models)
        start = max(rows.start - number * BLOCK_ROWS, 0)
        stop = min(rows.stop - number * BLOCK_ROWS, len(block.truth))
        features, truth = block.features.rows(start, stop), block.truth[start:stop]
        return format_rows(truth["label"], features), truth

    numbers = range(rows.start // BLOCK_ROWS, -(-rows.stop // BLOCK_ROWS))
    yield from map_in_order(draw_and_format, numbers)


@dataclass(frozen=True, kw_only=True)
class SyntheticCommand(Twin):
    """Write synthetic rows in Criteo's format, with the planted truth next to them.

    Args:
        output_file: The TSV file to write; `-` for standard output. With `{day}` in its
            name, such as day_{day}.txt, a file for each day.
    """

    output_file: Path

    def __post_init__(self) -> None:
        super().__post_init__()
        check_output("output_file", self.output_file)


def main() -> None:
    """Write rows as the command line says."""
    command = parse(
        SyntheticCommand, "pipelines.synthetic", renamed={"output": "output_file"}
    )
    with messages_apart(command.output_file):
        _write(command)


def _write(command: SyntheticCommand) -> None:
    start = time.perf_counter()
    twin = Twin(*(getattr(command, setting.name) for setting in fields(Twin)))
    if DAY in command.output_file.name:
        measures = write_days(command.output_file, twin)
        print(f"{command.output_file}: {command.rows:,} rows in {command.days} files")
        for day, best in enumerate(measures, start=1):
            print(f"day {day}: {_as_text(best)}")
        return
    best = write_raw(command.output_file, *(asdict(twin).values()))
    seconds = time.perf_counter() - start
    print(f"{command.output_file}: {command.rows:,} rows in {seconds:.1f} s")
    print(_as_text(best))
    if not is_stream(command.output_file):
        raw = shlex.quote(str(command.output_file))
        print(f"\nnext: python -m pipelines.prepare --raw {raw} --output DIR")


def _as_text(best: dict[str, float]) -> str:
    return f"reachable: AUC {best['auc']:.4f}, log loss {best['log_loss']:.4f}"


if __name__ == "__main__":
    run_command(main)
