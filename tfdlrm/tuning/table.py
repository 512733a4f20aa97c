"""The table of trials: lines as they end, a CSV file, and Markdown."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from tfdlrm.base.plain_text import markdown
from tfdlrm.metrics.binary import measure_text
from tfdlrm.tuning.outcome import FinishedTrial

_MEASURES = ("log loss", "AUC", "steps", "seconds", "end")
_WIDTHS = (8, 7, 9, 8, 8)
_NARROWEST = 8


@dataclass(frozen=True)
class TrialTable:
    """The table of the trials of a search.

    Args:
        names: The dotted names of the settings that are searched.
    """

    names: Sequence[str]

    @property
    def head(self) -> str:
        """The names of the columns, in the line above all others."""
        return self._line(["trial", *_MEASURES, *self._short_names])

    def line(self, trial: FinishedTrial) -> str:
        """Return the line of a trial."""
        line = self._line(self._cells(trial))
        reason = trial.outcome.reason
        return f"{line}\n       {reason}" if reason else line

    def csv(self, trials: Sequence[FinishedTrial]) -> str:
        """Return a file of comma-separated values."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        measures = ("state", "log_loss", "auc", "step", "seconds", "reason")
        writer.writerow(["trial", *measures, *self.names])
        for trial in trials:
            outcome = trial.outcome
            has_result = outcome.state != "failed"
            writer.writerow(
                [
                    trial.number,
                    outcome.state,
                    outcome.log_loss if has_result else "",
                    outcome.auc if has_result else "",
                    outcome.step if has_result else "",
                    round(outcome.seconds, 1),
                    outcome.reason,
                    *(
                        trial.value_in_words(name) if name in trial.values else ""
                        for name in self.names
                    ),
                ]
            )
        return file.getvalue()

    def markdown(self, trials: Sequence[FinishedTrial]) -> str:
        """Return a table in Markdown."""
        lines = [
            ["trial", *_MEASURES, *self.names],
            ["---:"] * (1 + len(_MEASURES) + len(self.names)),
            *map(self._cells, trials),
        ]
        return "\n".join(f"| {' | '.join(map(markdown, cells))} |" for cells in lines)

    @property
    def _short_names(self) -> list[str]:
        """The last parts of the names, unless two have the same."""
        last = [name.rpartition(".")[2] for name in self.names]
        return [
            part if last.count(part) == 1 and part != "name" else name
            for name, part in zip(self.names, last, strict=True)
        ]

    def _cells(self, trial: FinishedTrial) -> list[str]:
        outcome = trial.outcome
        measures = [
            measure_text(outcome.log_loss),
            measure_text(outcome.auc),
            f"{outcome.step:,}",
        ]
        if outcome.state == "failed":
            measures = ["-"] * len(measures)
        end = {"complete": "", "pruned": "pruned", "failed": "failed"}[outcome.state]
        values = [trial.value_in_words(name) for name in self.names]
        return [
            str(trial.number), *measures, f"{outcome.seconds:.1f}", end, *values
        ]  # fmt: skip

    def _line(self, cells: Sequence[str]) -> str:
        widths = [5, *_WIDTHS]
        widths += [max(_NARROWEST, len(name)) for name in self._short_names]
        padded = [f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)]
        return "  ".join(padded).rstrip()
