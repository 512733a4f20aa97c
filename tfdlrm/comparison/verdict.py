"""Which model is best, as far as seeds and test rows show it, in sentences."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tfdlrm.comparison.runs import FinishedRun, Spread, indistinguishable
from tfdlrm.metrics.auc_lead import Lead, auc_lead


def verdict_of(
    contenders: Sequence[Sequence[FinishedRun]],
    num_seeds: int,
    labels: np.ndarray | None = None,
) -> str:
    """Return sentences about which model is best, as far as the measures show it.

    A model is ahead of another one only if its lead exceeds both the spread over seeds
    and what chance in the rows that they were measured on explains.

    Args:
        contenders: For each model and optimizer, one run a seed, without the runs that
            diverged.
        num_seeds: Number of seeds, with those that diverged.
        labels: Labels of the rows that the runs have scores of; `None` if there are no
            scores.
    """
    if num_seeds == 1:
        return "One seed shows no spread, so this is no ranking."
    ranked = {runs[0].label: runs for runs in contenders if len(runs) == num_seeds}
    diverged = [runs[0].label for runs in contenders if len(runs) < num_seeds]
    sentences = [f"Mean ± standard deviation over {num_seeds} seeds."]
    if diverged:
        sentences.append(
            "Some seeds diverged: means leave these seeds out, and the ranking leaves "
            f"out {'; '.join(diverged)}."
        )
    if len(ranked) > 1:
        sentences += _ranking(ranked, labels)
    return " ".join(sentences)


def measure_of(runs: Sequence[FinishedRun], name: str) -> Spread:
    """Return the spread of a measure over seeds."""
    return Spread.of([run.metrics[run.split][name] for run in runs])


def _ranking(
    ranked: Mapping[str, Sequence[FinishedRun]], labels: np.ndarray | None
) -> list[str]:
    spreads = {name: measure_of(runs, "auc") for name, runs in ranked.items()}
    split = next(iter(ranked.values()))[0].split
    if not all(math.isfinite(spread.mean) for spread in spreads.values()):
        return [f"All {split} rows have one label: there is no AUC."]
    best, *rivals = indistinguishable(spreads, highest=True)
    leads = {} if labels is None else _leads(best, ranked, labels)
    by_rows = [
        name for name, lead in leads.items() if name not in rivals and not lead.is_clear
    ]
    num_rows = 0 if labels is None else len(labels)
    sentences = []
    if rivals:
        sentences.append(
            f"By AUC the spread does not distinguish {best} and {', '.join(rivals)}."
        )
    if by_rows:
        listed = "; ".join(f"{name} ({leads[name]})" for name in by_rows)
        sentences.append(
            f"By AUC {best} is ahead of {listed} by more than the spread, but not by "
            f"more than chance in the {num_rows:,} {split} rows explains."
        )
    if not rivals and not by_rows:
        sentences.append(_clear(best, leads, split, labels))
    return sentences


def _clear(
    best: str, leads: Mapping[str, Lead], split: str, labels: np.ndarray | None
) -> str:
    """Return the sentence about a model that is ahead of all others."""
    ahead = f"By AUC {best} is ahead of all others by more than the spread"
    if labels is None:
        return f"{ahead}; what chance in the {split} rows explains is not known."
    name, lead = min(leads.items(), key=lambda item: item[1].difference)
    return (
        f"{ahead}, and by more than chance in the {len(labels):,} {split} rows "
        f"explains: its lead over {name} is {lead}."
    )


def _leads(
    best: str, ranked: Mapping[str, Sequence[FinishedRun]], labels: np.ndarray
) -> dict[str, Lead]:
    """Return the lead of a model over each other one, on the same rows."""
    scores = {
        name: [run.scores for run in runs if run.scores is not None]
        for name, runs in ranked.items()
    }
    return {
        name: auc_lead(labels, scores[best], scores[name])
        for name in ranked
        if name != best
    }
