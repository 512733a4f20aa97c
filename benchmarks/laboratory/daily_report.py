"""Tables of learning day by day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.laboratory.table import Cell, markdown
from benchmarks.runs.daily_steps import Retrained
from tfdlrm.comparison.runs import Spread

MODELS = ("truth", "warm", "forget", "cold", "frozen")


@dataclass(frozen=True)
class RollingDays:
    """What was measured with one seed.

    Args:
        days: Measures of each model, by its name, on each day; `None` on the first.
        seconds: Time of each day by warm start.
        seconds_forgetting: The same with forgetting.
        ids: Number of ids after each day.
        ids_forgetting: The same with forgetting.
        retrained: Models of all days up to some days.
    """

    days: Sequence[Mapping[str, Any]]
    seconds: Sequence[float]
    seconds_forgetting: Sequence[float]
    ids: Sequence[int]
    ids_forgetting: Sequence[int]
    retrained: Mapping[int, Retrained]


def show_days(seeds: Sequence[RollingDays]) -> str:
    """Return tables of AUC and log loss by day and over days, over seeds."""
    parts = []
    for measure, title in (("auc", "AUC"), ("log_loss", "log loss")):
        num_days = len(seeds[0].days)
        rows: list[list[Cell]] = [
            [str(day + 1), *(_spread(seeds, [day], name, measure) for name in MODELS)]
            for day in range(1, num_days)
        ]
        # On the second day all models but the truth are that of the first day.
        first_day = min(2, num_days - 1)
        later_days = range(first_day, num_days)
        means = [_spread(seeds, later_days, name, measure) for name in MODELS]
        rows.append([f"mean from {first_day + 1}", *means])
        parts.append(f"{title}\n\n{markdown(['day', *MODELS], rows)}")
        differences = [
            f"warm - {name}: {_difference(seeds, later_days, name, measure):+.4f}"
            for name in MODELS
            if name != "warm"
        ]
        parts.append(
            f"{title}, mean from day {first_day + 1}: {'; '.join(differences)}"
        )
    shares = [
        [
            str(day + 1),
            *(_spread(seeds, [day], name, "unknown_share") for name in _KNOWING),
        ]
        for day in range(1, len(seeds[0].days))
    ]
    parts.append(f"unknown values\n\n{markdown(['day', *_KNOWING], shares)}")
    return "\n\n".join(parts)


_KNOWING = MODELS[1:]


def _values(
    seeds: Sequence[RollingDays], days: Sequence[int], name: str, measure: str
) -> list[float]:
    """Return the mean over days of each seed."""
    return [
        sum(seed.days[day][name][measure] for day in days) / len(days) for seed in seeds
    ]


def _spread(
    seeds: Sequence[RollingDays], days: Sequence[int], name: str, measure: str
) -> str:
    return f"{Spread.of(_values(seeds, days, name, measure)):.4f}"


def _difference(
    seeds: Sequence[RollingDays], days: Sequence[int], name: str, measure: str
) -> Spread:
    """Return the difference of warm start to another model, seed by seed."""
    warm, other = (_values(seeds, days, model, measure) for model in ("warm", name))
    return Spread.of([a - b for a, b in zip(warm, other, strict=True)])


def show_times(seed: RollingDays) -> str:
    """Return the time and the ids of each day of one seed."""
    header = (
        "day",
        "s, warm",
        "s, forgetting",
        "s, all days again",
        "ids",
        "ids, forgetting",
        "AUC next day, all days",
        "AUC next day, warm",
    )
    rows: list[list[Cell]] = []
    for day, seconds in enumerate(seed.seconds, start=1):
        retrained = seed.retrained.get(day)
        next_auc = seed.days[day]["warm"]["auc"] if day < len(seed.days) else None
        rows.append(
            [
                str(day),
                seconds,
                seed.seconds_forgetting[day - 1],
                retrained.seconds if retrained else None,
                seed.ids[day - 1],
                seed.ids_forgetting[day - 1],
                f"{retrained.measures['auc']:.4f}" if retrained else "-",
                "-" if next_auc is None else f"{next_auc:.4f}",
            ]
        )
    return markdown(header, rows)
