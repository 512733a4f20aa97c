import math

import optuna
import pytest

from tfdlrm.tuning.sampler import SamplerOfTrials


def draws(num_trials, reopens, seed=0, is_conditional=False):
    """Return the rates that a study draws, whose loss is lowest at 0.01."""
    storage = optuna.storages.InMemoryStorage()
    rates = []
    for number in range(num_trials):
        if number == 0 or reopens:
            study = optuna.create_study(
                storage=storage,
                sampler=SamplerOfTrials(seed, is_conditional),
                study_name="tune",
                load_if_exists=True,
            )
        trial = study.ask()
        rates.append(trial.suggest_float("rate", 1e-4, 1, log=True))
        study.tell(trial, abs(math.log10(rates[-1]) + 2))
    return rates


@pytest.mark.parametrize("is_conditional", [False, True])
def test_a_study_that_is_opened_again_draws_on_as_if_it_had_not_been(is_conditional):
    # The first ten are drawn at random, the rest by those before.
    expected = draws(14, reopens=False, is_conditional=is_conditional)
    assert draws(14, reopens=True, is_conditional=is_conditional) == expected


def test_other_seeds_and_other_trials_draw_other_values():
    rates = draws(12, reopens=False)
    assert len(set(rates)) == 12
    assert not set(rates) & set(draws(12, reopens=False, seed=1))


def test_later_draws_are_near_the_best_of_the_earlier_ones():
    rates = draws(40, reopens=False)
    distances = [abs(math.log10(rate) + 2) for rate in rates[20:]]
    assert sum(distances) / 20 < 0.7  # of draws at random it is 1
