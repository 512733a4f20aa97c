"""An exported model that scores rows next to the baselines of its training rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from tfdlrm.baselines.fitted import Baselines
from tfdlrm.baselines.measures import Measures, measure_batches
from tfdlrm.exporting.scorer import Scorer
from tfdlrm.exporting.versions import BASELINES_FILE


@dataclass(frozen=True)
class ScorerWithBaselines(Scorer):
    """A scorer that remembers what the baselines say of the rows that it scores.

    Args:
        baselines: The baselines; `None` for models without them.
        batches: Probabilities by baseline, of one batch after the other.
    """

    baselines: Baselines | None = None
    batches: list[dict[str, np.ndarray]] = field(default_factory=list)

    @classmethod
    def of(cls, scorer: Scorer) -> "ScorerWithBaselines":
        """Return the scorer with the baselines of its version."""
        baselines = Baselines.load(scorer.extra_directory / BASELINES_FILE)
        return cls(scorer.path, scorer.schema, scorer.module, baselines)

    def __call__(self, features: dict[str, Any]) -> tf.Tensor:
        if self.baselines is not None:
            self.batches.append(self.baselines.probabilities(features))
        return super().__call__(features)

    def measures(self, labels: Mapping[str, np.ndarray]) -> Measures:
        """Return the measures of the baselines.

        Args:
            labels: Labels by split, of all rows in the order in which they were scored.
        """
        if self.baselines is None:
            return {}
        measures: Measures = {}
        batches = iter(self.batches)
        for split, values in labels.items():
            batches_of_split, num_rows = [], 0
            while num_rows < len(values):
                batches_of_split.append(next(batches))
                num_rows += len(next(iter(batches_of_split[-1].values())))
            measures[split] = measure_batches(values, batches_of_split)
        return measures
