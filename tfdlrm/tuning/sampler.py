"""The sampler of a search, whose draws for a trial depend on its number alone."""

from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState


class SamplerOfTrials(BaseSampler):
    """Optuna's TPE, seeded anew for each trial.

    A sampler that goes on drawing would draw other numbers after a restart. With this
    one a resumed search has the trials that it would have had.

    Args:
        seed: The seed of the search.
        is_conditional: Whether some settings exist in some trials only.
    """

    def __init__(self, seed: int, is_conditional: bool) -> None:
        self._seed = seed
        self._is_conditional = is_conditional
        self._number = -1
        self._sampler = self._new_sampler(0)

    def _of(self, trial: FrozenTrial) -> TPESampler:
        if trial.number != self._number:
            self._number = trial.number
            self._sampler = self._new_sampler(trial.number)
        return self._sampler

    def _new_sampler(self, number: int) -> TPESampler:
        sequence = np.random.SeedSequence([self._seed, number])
        return TPESampler(
            seed=int(sequence.generate_state(1)[0]),
            multivariate=True,
            group=self._is_conditional,
            constant_liar=True,
        )

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._of(trial).sample_independent(
            study, trial, param_name, param_distribution
        )

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._number = -1  # it may be sampled again, after a restart
        self._of(trial).before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Any,
    ) -> None:
        self._of(trial).after_trial(study, trial, state, values)
